"""Several runs that differ in their seed alone, put together: each run is one item, the interval is over runs."""

import json
from pathlib import Path
from typing import Any

from jaxunlearn.errors import InputError
from jaxunlearn.estimates import value_of
from jaxunlearn.evals.statistics import over_runs

FREE = ("seed", "run", "title", "name", "mesh")  # what runs may differ in; universe.seed beside them
GROUPS = ("familiarity", "accuracy", "perplexity", "leaks", "rtt", "benchmarks", "memorisation", "muse", "membership")


def read_reports(folders: list[str]) -> list[dict]:
    """Read report.json of each run directory; InputError for one that is not there."""
    found = []
    for folder in folders:
        path = Path(folder) / "report.json"
        if not path.is_file():
            raise InputError(f"{folder} holds no report.json: finish that run first")
        found.append(json.loads(path.read_text(encoding="utf-8")))
    return found


def over_seeds(reports: list[dict]) -> dict[str, Any]:
    """Return {"runs", "seeds", "models": {model: {"group, measure": figure over the runs}}}.

    Only models and measures that all runs have. InputError where the runs differ in more than their seed, or one seed
    stands twice: its results are no second sample.
    """
    seeds = [_seed(r) for r in reports]
    if len(set(map(str, seeds))) < len(seeds):
        raise InputError(f"the runs have the seeds {seeds}: give runs of different seeds, each once")
    first = _settings(reports[0])
    for report in reports[1:]:
        other = _settings(report)
        changed = sorted(k for k in {*first, *other} if first.get(k) != other.get(k))
        if changed:
            raise InputError(f"the runs differ in more than their seed: {', '.join(changed)}")
    models = {}
    for name in reports[0].get("models") or {}:
        figures = [_figures((r.get("models") or {}).get(name) or {}) for r in reports]
        shared = [key for key in figures[0] if all(key in f for f in figures)]
        if shared:
            models[name] = {key: over_runs([f[key] for f in figures]) for key in shared}
    return {"runs": len(reports), "seeds": seeds, "models": models}


def _seed(report: dict) -> Any:
    config = report.get("config") or {}
    return config.get("seed"), (config.get("universe") or {}).get("seed")


def _settings(report: dict) -> dict[str, Any]:
    config = {k: v for k, v in (report.get("config") or {}).items() if k not in FREE}
    if isinstance(config.get("universe"), dict):
        config["universe"] = {k: v for k, v in config["universe"].items() if k != "seed"}
    return config


def _figures(measures: dict) -> dict[str, float]:
    found = {}
    for group in GROUPS:
        inner = measures.get(group)
        for key, figure in inner.items() if isinstance(inner, dict) else ():
            if (value := value_of(figure)) is not None:
                found[f"{group}, {key.replace('_', ' ')}"] = value
    return found
