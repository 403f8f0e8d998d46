"""Differences of two models on the same items: what the verdict decides by, each with a 95% interval.

What the items share cancels, so these intervals are narrower than the models' own intervals suggest. An interval that
holds too few items must not look sure because all of them agree. Two invented items are therefore counted, at the two
ends of what one item could add (Bonett and Price 2012, for right and wrong answers); the quantile is Student's.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxunlearn import intervals
from jaxunlearn.estimates import Estimate, fieller, mcnemar

REFERENCES = ("baseline", "twin")
TARGET = "forget text, perplexity"  # begins the names of measures of the text to forget, by block
RIGHT = "right answers"  # ends the name of a measure whose items are 1 or 0
PAIRED = "paired, Student; two invented items"
MCNEMAR = f"{PAIRED}; p: McNemar, exact"
BLOCKS = "paired over blocks, jackknife and Student on the log scale"
FIELLER = "paired, Fieller; two invented items"
KEPT = f"{FIELLER}; only items nearer to the baseline count"
ROUNDING = 1e-9  # of a share

# {"items": a number or None each, "floor": what guessing gives}, or {"sums", "counts"} of blocks
Items = dict[str, Any]


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
    right, made = measure.endswith(RIGHT), paired(*both)
    entry = {"scale": "difference", "test": MCNEMAR if right else PAIRED} | made.to_json()
    return entry | ({"p": mcnemar(*both)} if right else {})


def _shares(held: dict[str, dict[str, Items]], name: str) -> Iterator[dict[str, Any]]:
    """Yield how far back each measure of what was forgotten stands, from the twin (or guessing) to the baseline.

    Where the items that were kept come to more alone (`kept_alone`), they count alone: less than the twin has on other
    items does not pay for them. Not so of right and wrong answers, which differ from the twin's by guessing. Of the
    perplexity of the text to forget there is a share, in nats, only where the kept blocks count alone: that of all
    blocks follows from the ratios.
    """
    twin = held.get("twin") if name != "twin" else None
    for measure, after in held[name].items():
        if measure.endswith(RIGHT) or ("sums" in after and (twin is None or not measure.startswith(TARGET))):
            continue
        floor, before = after.get("floor") or 0.0, held.get("baseline", {}).get(measure, {})
        if "sums" in after:
            sets = _nats((twin or {}).get(measure, {}), before, after)
        else:
            low = {"items": [floor] * len(after["items"])} if twin is None else twin.get(measure, {})
            sets = _shared(low, before, after)
        made = None if sets is None else _share(*sets)
        if made is not None and ("sums" not in after or made["test"] == KEPT):
            begun = "twin" if twin is not None else "guessing" if floor else "nothing"
            entry = {"measure": measure, "from": begun, "of": "baseline", "to": name, "scale": "share"}
            yield entry | made


def _share(low_N: np.ndarray, high_N: np.ndarray, ours_N: np.ndarray) -> dict[str, Any] | None:
    made = share_of_way(low_N, high_N, ours_N)
    if made is None:
        return None
    answers = np.isin([high_N, ours_N], (0, 1)).all()
    kept = None if answers else share_of_way(low_N, high_N, kept_alone(low_N, high_N, ours_N))
    if kept is not None and kept.value > max(made.value, 0.0) + ROUNDING:
        return {"test": KEPT} | kept.to_json()
    return {"test": FIELLER} | made.to_json()


def _nats(*sets: Items) -> np.ndarray | None:
    """Return [models, N], the log-likelihood of every scored block; None where there are not two, or blocks differ."""
    counts = sets[-1]["counts"]
    if any(one.get("counts") != counts for one in sets):
        return None
    scored_N = np.asarray(counts) > 0
    return -np.asarray([one["sums"] for one in sets], float)[:, scored_N] if scored_N.sum() > 1 else None


def _shared(*sets: Items) -> np.ndarray | None:
    """Return [models, N] of the items that all have; None where there are not two, or the models were asked others."""
    items = [one.get("items") or () for one in sets]
    if len({len(one) for one in items}) > 1:
        return None
    kept = [row for row in zip(*items, strict=True) if None not in row]
    return np.asarray(kept, float).T if len(kept) > 1 else None


# ---- intervals -------------------------------------------------------------------------------------------------------


def paired(before: ArrayLike, after: ArrayLike) -> Estimate:
    """Estimate mean(after - before) over the same items by Student's interval.

    An invented item at either end, as far as an item can change, keeps items that all agree from looking sure: 1, of
    probabilities and of right and wrong answers, or the largest number that there is. On right and wrong answers this
    is Bonett and Price's interval (2012), with Student's quantile.
    """
    change_N = np.subtract(after, before, dtype=float)
    reach = max(1.0, float(np.abs(np.stack([before, after])).max()))
    value, (low, high) = float(change_N.mean()), _student(np.array([*change_N, reach, -reach]))
    return Estimate(value=value, low=min(low, value), high=max(high, value), n=len(change_N))


def paired_ratio(before: ArrayLike, after: ArrayLike, counts: ArrayLike) -> Estimate | None:
    """Estimate exp(sum(after - before) / sum(counts)), a ratio of perplexities.

    before, after: [N], the summed negative log-likelihood of each block in nats; counts: [N], its scored tokens. None
    where there are too few blocks (intervals.of_ratio).
    """
    counts_N = np.asarray(counts, float)
    change_N, scored_N = np.subtract(after, before, dtype=float)[counts_N > 0], counts_N[counts_N > 0]
    ends = intervals.of_ratio(change_N, scored_N)
    if ends is None:
        return None
    value, low, high = (float(np.exp(x)) for x in (change_N.sum() / scored_N.sum(), *ends))
    return Estimate(value=value, low=low, high=high, n=len(scored_N))


def share_of_way(low: ArrayLike, high: ArrayLike, ours: ArrayLike) -> Estimate | None:
    """Estimate mean(ours - low) / mean(high - low) over the same items by Fieller's interval.

    Two invented items, as far from `low` as the largest gap of any item and to either side, keep items that all agree
    from looking sure. None where the gap is not above 0 for sure: the share then has no meaning.
    """
    x_N, y_N = np.subtract(ours, low, dtype=float), np.subtract(high, low, dtype=float)
    if _student(y_N)[0] <= 0:
        return None
    reach, n = float(np.abs(y_N).max()), len(x_N) + 2
    filled_2N = np.array([[*x_N, reach, -reach], [*y_N, y_N.mean(), y_N.mean()]])
    (xx, xy), (_, yy) = np.cov(filled_2N) / n * float(intervals.t_95(n - 1)) ** 2
    ends = fieller(*map(float, (*filled_2N.mean(axis=1), xx, yy, xy)))
    if ends is None:
        return None
    value = float(x_N.mean() / y_N.mean())
    return Estimate(value=value, low=min(ends[0], value), high=max(ends[1], value), n=len(x_N))


def kept_alone(low: ArrayLike, high: ArrayLike, ours: ArrayLike) -> np.ndarray:
    """Return what an item has, [N], with those that are not nearer to `high` than to `low` put at `low`.

    None is above `high`. Items that vary by chance are counted only beyond half of their gap, so that a model that is
    as the twin is stays near a share of 0; cutting all at `low` would count every chance rise and no fall.
    """
    gap_N, back_N = np.subtract(high, low, dtype=float), np.subtract(ours, low, dtype=float)
    kept_N = (gap_N > 0) & (back_N > gap_N / 2)
    return np.asarray(low, float) + np.where(kept_N, np.minimum(back_N, gap_N), 0.0)


def _student(values_N: np.ndarray) -> tuple[float, float]:
    """Return Student's 95% interval of a mean."""
    n = len(values_N)
    low, high = intervals.student(values_N.mean(), values_N.std(ddof=1) / np.sqrt(n), n - 1)
    return float(low), float(high)
