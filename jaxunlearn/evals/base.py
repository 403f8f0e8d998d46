"""The record of a metric, and what a metric may ask for beside the model.

A metric is one file of this package and one line in METRICS (evals/__init__). Its refusal, its figures in report.json,
the titles of its columns and its part in what a kept measurement depends on follow from the record.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jaxunlearn.config import Config
from jaxunlearn.data.blocks import Blocks
from jaxunlearn.evals.suite import Suite

Figures = dict[str, Any]  # {group: {name: figure}}; a group may also be a number, a list or one figure
BlockRows = tuple[Blocks, Sequence[int] | np.ndarray]  # blocks, and which of them are meant


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a metric may ask for beside the model; what a run does not have stays at its default.

    suite: the prompts, held-out text, tokenizer, seed and settings (suite.c is eval.*).
    seen, new: blocks that the baseline was trained on, and blocks of the same text that no model saw.
    twin: reads the model that never saw the text; None where there is none, and for the twin itself.
    twin_hash: returns the hash of its weights, "" where there is none. model_hash: that of the model's own weights.
    weights: the model has weights of its own, so that a gradient can be taken.
    folder: where answers that are costly may be kept. found: the figures of the metrics that stand before in METRICS.
    """

    suite: Suite
    seen: BlockRows | None = None
    new: BlockRows | None = None
    twin: Callable[[], Any] | None = None
    twin_hash: Callable[[], str] = str
    model_hash: str = ""
    weights: bool = True
    folder: Path | None = None
    found: Figures = field(default_factory=dict)


def _always(_: Context) -> bool:
    return True


def _no_fault(_: Config, held_out: bool) -> None:
    pass


def _nothing(_: Context) -> str:
    return ""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric: what it is, when it is taken, and how.

    measure: returns figures {group: {name: figure}}, merged into the model's entry. "items" {label: one number an
    item, or {"sums", "counts"} by block} are compared between models (differences.py).
    applies: whether the context has what the metric needs; without it the metric is left out, never 0.
    check: raises InputError, before any work, for a configuration that the metric would fail on; held_out says
    whether text to forget was held out by text.forget_held.
    across: adds figures that compare models to their entries, once all are measured.
    columns: {path in the entry: title} for the page's further columns; the path of a group titles all of the group.
    The suite's columns have fixed places on the page, hence their titles in report/tables.
    raw: groups that are kept in the run's folder and not listed in report.json.
    depends: what a kept measurement hangs on beside eval.*, the prompts and the weights, as a text.
    often: taken at every measurement while a model is trained as well (eval.every); it may need the suite alone.
    """

    name: str
    title: str
    about: str
    measure: Callable[[Any, Context], Figures]
    applies: Callable[[Context], bool] = _always
    check: Callable[[Config, bool], None] = _no_fault
    across: Callable[[dict[str, Figures]], None] | None = None
    columns: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    raw: tuple[str, ...] = ()
    depends: Callable[[Context], str] = _nothing
    often: bool = False


def merge(entry: Figures, figures: Figures) -> None:
    """Add figures to a model's entry; groups of both are joined."""
    for group, found in figures.items():
        both = isinstance(found, dict) and isinstance(entry.get(group), dict)
        entry[group] = entry[group] | found if both else found
