"""How fast a model learns: the steps until what is measured crosses a bar, at the best of several rates."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field, FiniteFloat

from jaxunlearn.config import Train
from jaxunlearn.errors import Diverged
from jaxunlearn.parallel.console import say
from jaxunlearn.report.schema import Form
from jaxunlearn.training.loop import fit, microbatches
from jaxunlearn.training.step import compiled_step, init_state


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lesson:
    """What is learnt and how it is measured.

    arrays: (tokens_NT, labels_NT). train: a rate -> the training. measure: a model -> a number. bar: where it counts as
    learnt. most: steps at most.
    """

    arrays: tuple[np.ndarray, np.ndarray]
    train: Callable[[float], Train]
    rates: Sequence[float]
    measure: Callable[[Any], float]
    bar: float
    most: int
    seed: int


def grid(most: int) -> list[int]:
    """Return the steps that are measured: 0, 1, 2, 3, 4, 6, 8, 11, 16 and on, a factor of sqrt(2) apart, and `most`."""
    steps = {round(2 ** (n / 2)) for n in range(2 * math.ceil(math.log2(most)) + 1)}
    return sorted({0, most, *(n for n in steps if n < most)})


def crossing(points: Sequence[tuple[int, float]], bar: float) -> float | None:
    """Return the step at which a curve first reaches the bar, straight between its points; None where it does not."""
    before = None
    for step, value in points:
        if value >= bar:
            if before is None:
                return float(step)
            return before[0] + (step - before[0]) * (bar - before[1]) / (value - before[1])
        before = step, value
    return None


def pace(start: Callable[[], Any], what: Lesson) -> dict[str, Any]:
    """Return {"steps", "within", "rate", "curve"}: the fewest steps to the bar over all rates, from `start()`.

    Without "steps" no rate gets there within the given number; "rate" and "curve" are then of the one that came
    farthest. A rate at which the training diverges is left out. Raises Diverged where all do.
    """
    best: tuple[float, float, list] | None = None
    others: list[tuple[float, list]] = []
    for rate in what.rates:
        reach = next(n for n in grid(what.most) if n >= best[0]) if best else what.most
        try:
            points = _curve(start(), what, rate, reach)
        except Diverged as error:
            say(f"  learning at {rate:g} broke the model: {error}")
            continue
        others.append((rate, points))
        at = crossing(points, what.bar)
        if at is not None and (best is None or at < best[0]):
            best = at, rate, points
        if at == 0:
            break  # nothing to learn
    if not others:
        raise Diverged(f"learning broke the model at every rate tried; set rates below {min(what.rates):g}")
    rate, points = best[1:] if best else max(others, key=lambda of: of[1][-1][1])
    found = {"within": what.most, "rate": rate, "curve": [[n, value] for n, value in points]}
    return found | ({"steps": best[0]} if best else {})


def _curve(start, what: Lesson, rate: float, most: int) -> list[tuple[int, float]]:
    """Train at one rate and return (step, value) up to the first measured step that reaches the bar."""
    c, points = what.train(rate), []

    def batch(n):
        return microbatches(c, what.arrays, ("BT", "BT"), len(what.arrays[0]), what.seed, n)

    state = init_state(start, c)
    for step in grid(what.most):
        if step > most:
            break
        if step:
            state = fit(state, compiled_step(c), batch, dataclasses.replace(c, steps=step))
        points.append((step, what.measure(state.model)))
        if points[-1][1] >= what.bar:
            break
    return points


def ratio(ours: Mapping[str, Any], reference: Mapping[str, Any]) -> dict[str, float]:
    """Return {"value": steps of the one over those of the other}.

    Where one of them did not get there the ratio has an end alone, "at_least" or "at_most"; {} where neither did, and
    where the reference has nothing to learn.
    """
    a, b = ours.get("steps"), reference.get("steps")
    if b == 0 or (a is None and b is None):
        return {}
    if b is None:
        return {"at_most": a / reference["within"]}
    return {"at_least": ours["within"] / b} if a is None else {"value": a / b}


def beside(found: Mapping[str, dict[str, Any]], reference: str) -> dict[str, dict[str, Any]]:
    """Return the paces by model, each but the reference's own with its ratio to that one, where it has one."""
    ratios = {name: ratio(of, found[reference]) for name, of in found.items() if name != reference}
    return {name: of | ({"ratio": r} if (r := ratios.get(name)) else {}) for name, of in found.items()}


class Ratio(Form):
    """A ratio of steps, or the end that is known of it."""

    value: FiniteFloat | None = None
    at_least: FiniteFloat | None = None
    at_most: FiniteFloat | None = None


class Pace(Form):
    """Steps until something is learnt; absent where it was not within `within`. The curve is of the best rate.

    curve: [step, value]. ratio: these steps over the reference's.
    """

    steps: FiniteFloat | None = None
    within: int
    rate: FiniteFloat
    curve: list[list[FiniteFloat]]
    ratio: Ratio | None = None


class Paces(Form):
    """The pace of each model, the bar that counts as learnt, and over how many items it was measured."""

    models: dict[str, Pace]
    bar: FiniteFloat
    n: int = Field(ge=1)
    told: bool = False
    facts: str = ""
