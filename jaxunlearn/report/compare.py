"""Several runs in one report: other seeds of one configuration, other methods on one baseline."""

import copy
from pathlib import Path
from typing import Any

from jaxunlearn import sealed
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.estimates import SHARE, over_runs, value_of
from jaxunlearn.files import read_json

FREE = ("seed", "run", "title", "name", "mesh")  # where runs of one configuration may differ; and universe.seed
SAME = ("text.prompts", "text.forget", "text.retain")  # hashes that must agree, or figures cannot be compared
# groups and figures that lie between 0 and 1
SHARES = (
    "accuracy", "leaks", "benchmarks", "benchmarks_normed", "familiarity, probability", "familiarity, inside",
    "rtt, accuracy", "rtt, before",
)  # fmt: skip
ATTACKED = ("relearn_steps", "relearn_blocks", "relearn_batch", "relearn_rates")  # of eval.*, beside attack.*


def read_reports(folders: list[str]) -> list[dict]:
    """Return report.json of each run directory; raises InputError where one has none, RunError where it is damaged."""
    found = []
    for folder in folders:
        path = Path(folder) / "report.json"
        if not path.is_file():
            raise InputError(
                f"{folder} holds no report.json; finish that run first (jaxunlearn run CONFIG run.dir={folder})"
            )
        report = read_json(path, dict)
        if not sealed.intact(report):
            raise RunError(
                f"{path} is not as it was written; run `jaxunlearn run` on its configuration again, which writes it "
                f"anew from the run's files. Where the change was meant, delete its field {sealed.SEAL!r}"
            )
        found.append(sealed.plain(report))
    return found


def over_seeds(reports: list[dict]) -> dict[str, Any]:
    """Return {"runs", "seeds", "models": {model: {"group, measure": figure over the runs}}}.

    A figure is an estimate as JSON, of the models and measures that all runs have. Raises InputError where the runs
    differ in more than their seed, also in their prompts and texts unless they invented worlds of their own, and where
    two have the same seed and so are not independent.
    """
    seeds = [_seed(r) for r in reports]
    if len(set(map(str, seeds))) < len(seeds):
        raise InputError(f"the runs have the seeds {seeds}, expected different seeds; give one run per seed")
    first = _settings(reports[0])
    for report in reports[1:]:
        other = _settings(report)
        changed = sorted(k for k in {*first, *other} if first.get(k) != other.get(k))
        if changed:
            raise InputError(
                f"the runs differ in more than their seed: {', '.join(changed)}; give runs of one configuration"
            )
        if _seed(report)[1] == _seed(reports[0])[1] and (odd := _other_inputs(reports[0], report)):
            raise InputError(f"the runs have different {', '.join(odd)}; give runs on one set of prompts and texts")
    models = {}
    for name in reports[0].get("models") or {}:
        figures = [_figures((r.get("models") or {}).get(name) or {}) for r in reports]
        shared = [key for key in figures[0] if all(key in f for f in figures)]
        if shared:
            models[name] = {key: over_runs([f[key] for f in figures], _range(key)) for key in shared}
    return {"runs": len(reports), "seeds": seeds, "models": models}


def _range(key: str) -> tuple[float, float] | None:
    """Return the range of a figure that is a share, None for others."""
    group = key.partition(",")[0]
    return SHARE if group in SHARES or key in SHARES else None


def _seed(report: dict) -> Any:
    config = report.get("config") or {}
    return config.get("seed"), (config.get("universe") or {}).get("seed")


def _settings(report: dict) -> dict[str, Any]:
    config = {k: v for k, v in (report.get("config") or {}).items() if k not in FREE}
    if isinstance(config.get("universe"), dict):
        config["universe"] = {k: v for k, v in config["universe"].items() if k != "seed"}
    if isinstance(config.get("eval"), dict):  # whether a run was allowed to go on changes no figure
        config["eval"] = {k: v for k, v in config["eval"].items() if k != "allow_unknown"}
    return config


def _figures(measures: dict) -> dict[str, float]:
    """Return {"group, measure": value} of every figure of a model that is an estimate."""
    found = {}
    for group, inner in measures.items():
        for key, figure in inner.items() if isinstance(inner, dict) else ():
            if isinstance(figure, dict) and (value := value_of(figure)) is not None:
                found[f"{group}, {key.replace('_', ' ')}"] = value
    return found


def beside(report: dict, others: list[dict]) -> dict:
    """Return the report with each other run's `unlearned`, and its results, under the name of its method.

    "rivals" lists the names. Raises InputError where a run has a different baseline, twin, prompts or texts, or was
    attacked with other rates, steps or data, and where two models would have the same name.
    """
    made, names = copy.deepcopy(report), [method_of(other) for other in others]
    for name in names:
        own = name in report.get("models", {}) and name not in report.get("rivals", ())
        if own or names.count(name) > 1:
            raise InputError(
                f"two models would be called {name!r}; give one run per method, and no method that this run has"
            )
    made["rivals"] = sorted({*report.get("rivals", ()), *names})
    for name, other in zip(names, others, strict=True):
        _refuse(made, other, name)
        made["models"][name] = other["models"]["unlearned"]
        # Both runs share the baseline and the twin that these are from (`_refuse`).
        own = [d | {"to": name} for d in other.get("differences") or () if d.get("to") == "unlearned"]
        made["differences"] = [*(made.get("differences") or ()), *own]
        made["columns"] = (other.get("columns") or {}) | (made.get("columns") or {})
        for key in ("relearn", "costs"):
            _copy(made.setdefault(key, {}), other.get(key), name)
        _copy(made.setdefault("rtt", {}).get("models"), (other.get("rtt") or {}).get("models"), name)
        for kind, found in (other.get("attacks") or {}).items():
            mine = made.setdefault("attacks", {}).get(kind)
            by_model = isinstance(found, dict) and "models" in found
            _copy(*(((mine or {}).get("models"), found["models"]) if by_model else (mine, found)), name)
        for mine, theirs in zip(made.get("completions") or (), other.get("completions") or (), strict=False):
            for key in ("texts", "grades", "evidence") if mine.get("prompt") == theirs.get("prompt") else ():
                _copy(mine.get(key), theirs.get(key), name)
        if other.get("curve"):
            made.setdefault("curves", {})[name] = other["curve"]
    return made


def method_of(report: dict) -> str:
    """Return the name of the method that made a run's `unlearned`."""
    config = report.get("config") or {}
    return (config.get("unlearn") or {}).get("method") or config.get("name") or "rival"


def _copy(mine: Any, found: Any, name: str) -> None:
    if isinstance(mine, dict) and isinstance(found, dict) and "unlearned" in found:
        mine[name] = found["unlearned"]


def _attacked(report: dict) -> dict[str, Any]:
    """Return the settings that an attack's strength follows from; rates that are not given follow from the training's.

    A setting whose attack was not run is left out.
    """
    config = report.get("config") or {}
    e, a = config.get("eval") or {}, config.get("attack") or {}
    own = {k: (config.get(k) or {}).get("learning_rate") for k in ("unlearn", "reinforce")}
    found: dict[str, Any] = {}
    if report.get("relearn"):
        found |= {f"eval.{key}": e.get(key) for key in ATTACKED} | {"attack.shares": a.get("shares")}
        found["eval.relearn_rates"] = e.get("relearn_rates") or own
        u = config.get("unlearn") or {}
        found |= {f"unlearn.{key}": u.get(key) for key in ("optimiser", "moment_dtype")}  # the attacker's too
    if report.get("rtt"):
        rtt = dict(a.get("rtt") or {})
        found["attack.rtt"] = rtt | {"rates": rtt.get("rates") or own["unlearn"]}
    if report.get("attacks"):
        found |= {f"attack.{key}": a.get(key) for key in ("seed", "probes", "context", "quantise")}
        for key in (set(a) & set(report["attacks"])) - {"context", "quantise"}:
            found[f"attack.{key}"] = a[key] | ({"rates": a[key]["rates"] or own} if "rates" in a[key] else {})
    return found


def _refuse(report: dict, other: dict, name: str) -> None:
    if "unlearned" not in (other.get("models") or {}):
        raise InputError(f"the run of {name!r} has no unlearned model; finish that run first")
    if odd := _other_inputs(report, other):
        raise InputError(f"the run of {name!r} has a different {', '.join(odd)}, so its figures cannot be compared")
    attacked = [_attacked(r) for r in (report, other)]
    both = [key for key in attacked[0] if key in attacked[1]]
    if odd := [key for key in both if attacked[0][key] != attacked[1][key]]:
        raise InputError(
            f"the run of {name!r} was attacked with other settings ({', '.join(odd)}), so what came back cannot be "
            "compared; attack both alike: jaxunlearn attack CONFIG run.dir=DIR with these settings given"
        )
    for model in ("baseline", "twin"):
        first, second = (r["models"].get(model) or {} for r in (report, other))
        if odd := [group for group in ("familiarity", "perplexity") if first.get(group) != second.get(group)]:
            raise InputError(
                f"the run of {name!r} has a different {model}, by its {odd[0]}; start both runs from one model, or "
                "from one seed, with a twin in both or in neither"
            )


def _other_inputs(report: dict, other: dict) -> list[str]:
    """Return the prompts and texts, by name, whose hashes two runs do not share."""
    ours, theirs = ((r.get("manifest") or {}).get("hashes") or {} for r in (report, other))
    return [key for key in SAME if ours.get(key) != theirs.get(key)]
