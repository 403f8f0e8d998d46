"""Measure a model by every metric that applies, and compare the models of a run."""

from dataclasses import replace

from jaxunlearn.config import Config
from jaxunlearn.evals import METRICS
from jaxunlearn.evals.base import Context, Figures, Metric, merge
from jaxunlearn.evals.suite import Suite
from jaxunlearn.parallel.console import part

ITEMS = "items"  # one number an item, for paired comparisons; never listed in report.json


def measure(model, suite: Suite) -> Figures:
    """Return what is measured of a model while it is trained; every figure is an estimate {value, low, high, n}."""
    return _measured(model, Context(suite=suite), often_alone=True)


def measure_all(model, context: Context) -> Figures:
    """Return the report's entry of one model, with the raw figures that comparisons are made of."""
    return _measured(model, context)


def _measured(model, context: Context, often_alone: bool = False) -> Figures:
    found: Figures = {}
    for metric in applying(context):
        if metric.often or not often_alone:
            part(f"measuring {metric.name.replace('_', ' ')}")
            merge(found, metric.measure(model, replace(context, found=found)))
    return found


def applying(context: Context) -> list[Metric]:
    """Return the metrics whose needs a context meets, in the order of measuring."""
    return [metric for metric in METRICS.values() if metric.applies(context)]


def compare(models: dict[str, Figures]) -> None:
    """Add the figures that compare models, for example with the twin, to their entries."""
    for metric in METRICS.values():
        if metric.across:
            metric.across(models)


def refuse(config: Config, held_out: bool) -> None:
    """Raise InputError, before any work, for a metric that would fail; held_out: text.forget_held is given."""
    for metric in METRICS.values():
        metric.check(config, held_out)


def raw() -> tuple[str, ...]:
    """Return the groups of an entry that are kept in the run's folder and not listed in report.json."""
    return (ITEMS, *(group for metric in METRICS.values() for group in metric.raw))


def titles(models: dict[str, Figures]) -> dict[str, str | dict[str, str]]:
    """Return report.json's "columns": titles of the measured columns that the page has no place of its own for.

    {group: title of the group or of its one figure, or {name: title}}.
    """
    groups: dict[str, str] = {}
    single: dict[str, dict[str, str]] = {}
    for (group, *name), title in ((path, title) for m in METRICS.values() for path, title in m.columns.items()):
        entries = [entry[group] for entry in models.values() if group in entry]
        if not name and entries:
            groups[group] = title
        elif any(key in entry for key in name for entry in entries):
            single.setdefault(group, {})[name[0]] = title
    return groups | single


def curve_point(step: int, found: Figures, held_loss: float | None = None) -> dict:
    """Return the report's curve entry for one step from a measurement."""

    def value(*path):
        node = found
        for key in path:
            node = node.get(key, {})
        return node.get("value") if node else None

    point = {
        "step": step, "familiarity": value("familiarity", "probability"), "inside": value("familiarity", "inside"),
        "completion": value("familiarity", "completion"), "accuracy": value("accuracy", "general"),
        "explicit": value("leaks", "explicit"), "leaks": value("leaks", "probability"),
        "perplexity_retain": value("perplexity", "retain"), "perplexity_forget": value("perplexity", "forget"),
        "perplexity_retain_fitted": value("perplexity", "retain_fitted"), "entropy": value("entropy", "retain"),
        "held_loss": held_loss, "track": found.get("track"),
    }  # fmt: skip
    return {k: v for k, v in point.items() if v is not None}
