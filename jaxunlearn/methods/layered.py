"""Layered Unlearning: fold upon fold of the text is unlearned, while the folds still to come are kept.

The blocks of the text to forget are cut into `folds` runs of equal length. In stage i of as many stages of equal length
the batch has blocks of folds 1 to i to forget; at every other step its text to keep are blocks of the folds after i, so
that what is unlearned later is first held. So relearning one fold does not bring back another. Any method with a term
on text to keep. Source: arXiv 2505.09500. Unclear there, and chosen here: stages of equal length, and turns of text to
keep and folds to come.
"""

import numpy as np

from jaxunlearn.config import Config
from jaxunlearn.methods.base import Method, lacks_forget


def stage(step: int, steps: int, folds: int) -> int:
    """Return how many folds are unlearned at a step (from 0), 1 to `folds`."""
    return min(step * folds // steps, folds - 1) + 1


def parted(blocks: int, folds: int, unlearned: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (rows of the folds that are unlearned, rows of those still kept)."""
    runs = np.array_split(np.arange(blocks), folds)
    return np.concatenate(runs[:unlearned]), np.concatenate([np.arange(0), *runs[unlearned:]])


def keeps_folds(step: int, unlearned: int, folds: int) -> bool:
    """Return whether the text to keep of a step (from 0) is of the folds to come."""
    return unlearned < folds and step % 2 == 1


def faults(config: Config, method: Method, parts: tuple[str, ...]) -> list[str]:
    """Return why folds cannot be unlearned one upon another; parts: those of a batch that the method reads."""
    u, wrong = config.unlearn, []
    if u.folds == 1:
        return wrong
    if why := lacks_forget(method, parts):
        wrong.append(f"unlearn.folds: {method.name} {why}; set unlearn.folds=1")
    elif "retain" not in parts:
        wrong.append("unlearn.folds keeps the folds to come as it keeps text: set unlearn.retain_weight above 0")
    if {"answers", "true"} & set(parts):
        wrong.append(f"unlearn.folds cuts the text to forget into folds; {method.name} learns from questions")
    if u.select.budget:
        wrong.append("unlearn.folds: unlearn.select has one direction for all of the text; leave one out")
    if 0 < u.steps < u.folds:
        wrong.append(f"unlearn.folds = {u.folds} need as many steps at least (unlearn.steps = {u.steps})")
    return wrong
