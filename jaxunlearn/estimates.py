"""Reading the figures of a report: values, intervals, and whether two intervals meet."""

from typing import Any


def is_number(value: Any) -> bool:
    """Tell a number from anything else, truth values included."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def value_of(estimate: Any) -> float | None:
    """Return the value of an estimate (a dict, or a bare number); None where there is none."""
    value = estimate.get("value") if isinstance(estimate, dict) else estimate
    return value if is_number(value) else None


def known(estimate: Any) -> float:
    """Return the value of an estimate that is known to have one."""
    value = value_of(estimate)
    assert value is not None, "callers look first"
    return value


def bounds(estimate: Any) -> tuple[float | None, float | None]:
    """Return both ends of an estimate's interval, None where it has none."""
    low, high = (value_of(estimate.get(end)) if isinstance(estimate, dict) else None for end in ("low", "high"))
    return low, high


def single(estimate: Any) -> bool:
    """Tell whether an estimate rests on one item, which gives no interval."""
    return isinstance(estimate, dict) and estimate.get("n") == 1 and estimate.get("low") is None


def meet(one: Any, other: Any) -> bool:
    """Tell whether two intervals overlap; figures without one meet nowhere."""
    (a, b), (c, d) = bounds(one), bounds(other)
    return a is not None and b is not None and c is not None and d is not None and a <= d and c <= b


def figure_of(report: dict, name: str, path: tuple[str, ...]) -> Any:
    """Return one model's estimate (a dict with a value, or a bare number), None where it was not measured."""
    found = (report.get("models") or {}).get(name)
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return None if value_of(found) is None else found
