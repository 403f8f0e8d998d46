"""Differences of two models on the same items: what the verdict decides by, each with a 95% interval.

What the items share cancels, so these intervals are narrower than the models' own intervals suggest. An interval that
holds too few items must not look sure because all of them agree. Two invented items are therefore counted, at the two
ends of what one item could add (Bonett and Price 2012, for right and wrong answers); the quantile is Student's.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from jaxunlearn.estimates import Estimate, fieller, mcnemar

REFERENCES = ("baseline", "twin")
RIGHT = "right answers"  # ends the name of a measure whose items are 1 or 0
PAIRED = "paired, Student; two invented items"
MCNEMAR = f"{PAIRED}; p: McNemar, exact"
BLOCKS = "paired over blocks, Student on the log scale"
FIELLER = "paired, Fieller; two invented items"

Items = dict[
    str, Any
]  # {"items": a number or None each, "floor": what guessing gives}, or {"sums", "counts"} of blocks


def differences(models: dict[str, dict], attacked: dict[str, dict[str, Items]] | None = None) -> list[dict[str, Any]]:
    """Return what changed from baseline and twin to every other model, on every measure whose items both have.

    models: measurements by model, with "items". attacked: {model: {measure: Items}}, what each attack brought back.
    Entries: {"measure", "from", "to", "scale", "value", "low", "high", "n", "test"}. scale "difference": to less from
    ("p" for right and wrong answers); "ratio": to over from (perplexity); "share": the part of the way from `from`
    (the twin; without one, and for the twin itself, what guessing gives) to "of", the baseline.
    """
    names = [*models, *(name for name in attacked or {} if name not in models)]
    held = {name: items_of(models.get(name, {})) | (attacked or {}).get(name, {}) for name in names}
    found = []
    for name in names:
        for reference in REFERENCES[: REFERENCES.index(name) if name in REFERENCES else None]:
            for measure, before in held.get(reference, {}).items():
                entry = _change(measure, before, held[name].get(measure) or {})
                found += [{"measure": measure, "from": reference, "to": name} | entry] if entry else []
        found += _shares(held, name) if name != "baseline" else []
    return found


def items_of(found: dict) -> dict[str, Items]:
    """Return {measure: Items} of a model's measurements."""
    items = dict(found.get("items") or {})
    if found.get("leak_probabilities"):
        items["leak probes, probability"] = found["leak_probabilities"]
    items |= {f"{name}, {RIGHT}": right for name, right in (found.get("right") or {}).items()}
    return {measure: of if isinstance(of, dict) else {"items": of} for measure, of in items.items()}


# ---- entries of report.json ------------------------------------------------------------------------------------------


def _change(measure: str, before: Items, after: Items) -> dict[str, Any]:
    """Return the entry of a difference or a ratio; {} where there are no two items that both models have."""
    if "sums" in before:
        if before["counts"] != after.get("counts"):
            return {}
        made = paired_ratio(before["sums"], after["sums"], before["counts"])
        return {} if made is None else {"scale": "ratio", "test": BLOCKS} | made.to_json()
    both = _shared(before, after)
    if both is None:
        return {}
    right = measure.endswith(RIGHT)
    made = paired(*both, reach=1.0 if right else float(np.abs(both).max()))
    entry = {"scale": "difference", "test": MCNEMAR if right else PAIRED} | made.to_json()
    return entry | ({"p": mcnemar(*both)} if right else {})


def _shares(held: dict[str, dict[str, Items]], name: str) -> Iterator[dict[str, Any]]:
    """Yield how far back each measure of what was forgotten stands, from the twin (or guessing) to the baseline."""
    twin = held.get("twin") if name != "twin" else None
    for measure, after in held[name].items():
        if measure.endswith(RIGHT) or "sums" in after:
            continue
        floor = after.get("floor") or 0.0
        low = {"items": [floor] * len(after["items"])} if twin is None else twin.get(measure, {})
        sets = _shared(low, held.get("baseline", {}).get(measure, {}), after)
        made = None if sets is None else share_of_way(*sets)
        if made is not None:
            begun = "twin" if twin is not None else "guessing" if floor else "nothing"
            entry = {"measure": measure, "from": begun, "of": "baseline", "to": name, "scale": "share"}
            yield entry | {"test": FIELLER} | made.to_json()


def _shared(*sets: Items) -> np.ndarray | None:
    """Return [models, N] of the items that all have; None where there are not two, or the models were asked others."""
    items = [one.get("items") or () for one in sets]
    if len({len(one) for one in items}) > 1:
        return None
    kept = [row for row in zip(*items, strict=True) if None not in row]
    return np.asarray(kept, float).T if len(kept) > 1 else None


# ---- intervals -------------------------------------------------------------------------------------------------------


def paired(before: ArrayLike, after: ArrayLike, reach: float = 0.0) -> Estimate:
    """Estimate mean(after - before) over the same items by Student's interval.

    reach: the most that one item can change; an invented item at either end keeps items that all agree from looking
    sure. With reach 1 on right and wrong answers this is Bonett and Price's interval (2012), with Student's quantile.
    """
    change_N = np.subtract(after, before, dtype=float)
    filled_N = np.concatenate([change_N, [reach, -reach]]) if reach else change_N
    value, (low, high) = float(change_N.mean()), _student(filled_N)
    return Estimate(value=value, low=min(low, value), high=max(high, value), n=len(change_N))


def paired_ratio(before: ArrayLike, after: ArrayLike, counts: ArrayLike) -> Estimate | None:
    """Estimate exp(sum(after - before) / sum(counts)), a ratio of perplexities; None with fewer than two blocks.

    before, after: [N], the summed negative log-likelihood of each block in nats; counts: [N], its scored tokens. The
    ratio of two sums is linearised, so that long blocks weigh more.
    """
    counts_N = np.asarray(counts, float)
    change_N, scored_N = np.subtract(after, before, dtype=float)[counts_N > 0], counts_N[counts_N > 0]
    n = len(scored_N)
    if n < 2:
        return None
    value = change_N.sum() / scored_N.sum()
    low, high = _student(value + (change_N - value * scored_N) / scored_N.mean())
    return Estimate(value=float(np.exp(value)), low=float(np.exp(low)), high=float(np.exp(high)), n=n)


def share_of_way(low: ArrayLike, high: ArrayLike, ours: ArrayLike) -> Estimate | None:
    """Estimate mean(ours - low) / mean(high - low) over the same items by Fieller's interval.

    Two invented items, as far from `low` as the largest gap of any item and to either side, keep items that all agree
    from looking sure. None where the gap is not above 0 for sure: the share then has no meaning.
    """
    x_N, y_N = np.subtract(ours, low, dtype=float), np.subtract(high, low, dtype=float)
    reach, n = float(np.abs(y_N).max()), len(x_N) + 2
    filled_2N = np.array([[*x_N, reach, -reach], [*y_N, y_N.mean(), y_N.mean()]])
    (xx, xy), (_, yy) = np.cov(filled_2N) / n * float(stdtrit(n - 1, 0.975)) ** 2
    ends = fieller(*map(float, (*filled_2N.mean(axis=1), xx, yy, xy)))
    if ends is None:
        return None
    value = float(x_N.mean() / y_N.mean())
    return Estimate(value=value, low=min(ends[0], value), high=max(ends[1], value), n=len(x_N))


def _student(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Return Student's 95% interval of a mean."""
    n = len(values)
    half = float(stdtrit(n - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(n))
    middle = float(np.mean(values))
    return middle - half, middle + half
