"""Assemble the report of a run from its measurements, attacks and files."""

import re
from pathlib import Path
from typing import Any

from jaxunlearn import sealed
from jaxunlearn.attacks import about
from jaxunlearn.evals.differences import differences
from jaxunlearn.evals.measure import raw, titles
from jaxunlearn.evals.perplexity import at_bound
from jaxunlearn.files import read_json
from jaxunlearn.kernels.linear_cross_entropy import IGNORE
from jaxunlearn.methods import cost
from jaxunlearn.parallel.sharding import device_names
from jaxunlearn.report.claim import claim
from jaxunlearn.report.findings import NEXT_WORD, RELEARNED, most_relearned
from jaxunlearn.run import Run
from jaxunlearn.run.store import has_labels, read_labels, stored_parts
from jaxunlearn.run.variants import Variant, variants
from jaxunlearn.stages.known import set_apart
from jaxunlearn.stages.label import own_shares
from jaxunlearn.stages.pretrain import STAGE_OF, needed_by
from jaxunlearn.stages.repair import verdict


def assemble(run: Run, models: dict, attacked: dict) -> dict:
    """Return the report of a run, as report.json holds it (report/schema.py).

    models: {name: figures} from `evaluate`. attacked: what attacks.attack and judge_too return, joined.
    """
    t = run.translation
    listed = {n: {k: v for k, v in m.items() if k not in raw()} for n, m in models.items()}
    for name, figures in attacked.get("models", {}).items():
        listed[name] = _with_attacks(listed.get(name, {}), figures)
    curves = {v.name: _curve(run, v) for v in variants(run.config)}
    relearned, items = by_item(attacked, models)
    report: dict[str, Any] = {
        "title": run.config.title or run.config.name, "name": run.config.name,
        "device": device_names(),
        "seconds": run.folder.seconds(), "config": read_json(run / "config.json", dict),
        "manifest": sealed.plain(read_json(run / "manifest.json", dict)),
        "models": listed, "columns": titles(listed),
        "curve": curves.pop("unlearned"), "curves": {k: v for k, v in curves.items() if v},
        "costs": costs(run), "differences": differences(models, items),
        "relearn": relearned,
        "attacks": attacked.get("attacks", {}), "attack_about": attacked.get("attack_about") or about(()),
        "judge": attacked.get("judge", {}),
        "rtt": attacked.get("rtt", {}),
        "completions": _side_by_side(models), "leak_probes": _leaks(run, models),
        "labels": _label_figures(run), "dictionary": {"terms": len(run.inputs.dictionary), "anchors": t.anchors},
        "notes": [
            f"prompts: the {run.config.eval.split!r} split",
            f"text to forget: {run.inputs.forget.summary()}",
            f"labels: {t.summary()}",
        ],
    }  # fmt: skip
    report["notes"] += set_apart(run)
    if not run.config.run.full_paths:
        report["config"] = without_places(report["config"])
    if changed := run.folder.records("inputs", "changed"):
        names = sorted({name for row in changed for name in row["names"]})
        report["notes"].append(
            f"{', '.join(names)} changed after the run had begun: curves over steps may be of the earlier ones, all "
            "other figures are of the present ones"
        )
    if ended := [name for name, found in models.items() if at_bound(found.get("temperature", 1.0))]:
        report["notes"].append(f"fitted temperatures that ended at their bound, a better one lies beyond: {ended}")
    if "repaired" in models and "unlearned" in models:
        report["notes"].append(verdict(models["unlearned"], models["repaired"]))
    return report | {"claim": claim(report)}


def without_places(content: Any) -> Any:
    """Return JSON values with absolute paths made relative to here, or cut to their last name where they lie elsewhere.

    A report is there to be shared, and the folders of the machine that made it are nobody's business.
    """
    if isinstance(content, dict):
        return {key: without_places(value) for key, value in content.items()}
    if isinstance(content, list):
        return [without_places(value) for value in content]
    if isinstance(content, str) and "data_dir=/" in content:  # tfds:NAME/SPLIT?data_dir=...
        return re.sub(r"data_dir=([^&]+)", lambda found: f"data_dir={without_places(found[1])}", content)
    if not isinstance(content, str) or not content.startswith(("/", "~")):
        return content
    path = Path(content)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name


def by_item(attacked: dict, models: dict) -> tuple[dict, dict]:
    """Return the curves of relearning as report.json has them, and what attacks got of each item, by model and measure.

    Each point of a curve holds the familiarity of each prompt, "items", the last one also which prompts were "asked".
    The point of most familiarity counts. The baseline, which is not relearned, stands beside it as it is.
    """
    items = {name: dict(of) for name, of in attacked.get("items", {}).items()}
    before, curves = models.get("baseline", {}).get("items", {}).get(NEXT_WORD), attacked.get("relearn", {})
    for name, points in curves.items():
        most = most_relearned(points) or {}
        if most.get("items") and "," not in name:  # shares of the text may ask other prompts
            items.setdefault(name, {})[RELEARNED] = {"items": most["items"]}
            if before:
                asked = points[-1].get("asked", range(len(before)))
                items.setdefault("baseline", {})[RELEARNED] = {"items": [before[n] for n in asked]}
    aside = ("items", "asked")
    return {n: [{k: v for k, v in p.items() if k not in aside} for p in points] for n, points in curves.items()}, items


def _with_attacks(measured: dict, figures: dict) -> dict:
    """Return a model's figures with those of an attack added.

    Leak probes and completions both give leaks.explicit; that of the completions is renamed leaks.completions.
    """
    merged = dict(measured)
    for group, inner in figures.items():
        before = dict(merged.get(group) or {}) if isinstance(inner, dict) else {}
        if group == "leaks" and "explicit" in inner and "explicit" in before:
            before["completions"] = before.pop("explicit")
        merged[group] = before | inner if isinstance(inner, dict) else inner
    return merged


def costs(run: Run) -> dict[str, dict]:
    """Return {model: {"seconds", "passes", "share"}}.

    seconds: the time that making it took, with that of the fine-tuned models and labels that it needs, which several
    models may share. passes: forward passes of a block, as methods/cost.py counts them. share: passes over those of
    the baseline's pretraining. Baseline, twin and controls have seconds alone.
    """
    seconds = run.folder.seconds()
    found: dict[str, dict] = {n: {"seconds": seconds[n]} for n in ("baseline", "twin") if n in seconds}
    for v in variants(run.config):
        *before, last = _stages(v)
        if (run / v.folder).exists() and last in seconds:
            found[v.name] = {"seconds": round(seconds[last] + sum(seconds.get(s, 0.0) for s in before), 2)}
    if "unlearned" in found:
        blocks = len(run.inputs.forget.tokens_NT)
        found["unlearned"]["passes"] = cost.method_passes(run.config, blocks)
        if run.config.pretrain.steps:
            found["unlearned"]["share"] = cost.share(run.config, blocks)
    return found


def _stages(v: Variant) -> list[str]:
    """Return the stages that a variant needs, the one that makes it last."""
    found = [*(STAGE_OF[name] for name in needed_by(v)), *["label"] * bool(stored_parts(v))]
    # a control that resets begins with what the method itself made (stages/unlearn.py)
    return [*found, "unlearn", v.healing] if v.healing else [*found, v.stage]


SHOWN = ("baseline", "unlearned", "repaired", "twin")  # models whose texts after leak probes the report quotes


def _curve(run: Run, v: Variant) -> list[dict]:
    return [{k: a for k, a in r.items() if k not in ("stage", "event")} for r in run.folder.records(v.stage, "eval")]


def _side_by_side(models: dict) -> list[dict]:
    shown = {n: m["completions"] for n, m in models.items() if "completions" in m}
    rows = []
    for parts in zip(*shown.values(), strict=True):
        rows.append({
            "prompt": parts[0]["prompt"], "subtlety": parts[0]["subtlety"],
            "texts": {n: p["text"] for n, p in zip(shown, parts, strict=True)},
            "grades": {n: p["grade"] for n, p in zip(shown, parts, strict=True)},
            "evidence": {n: p["evidence"] for n, p in zip(shown, parts, strict=True)},
        })  # fmt: skip
    return rows


def _leaks(run: Run, models: dict) -> list[dict]:
    shown = {n: m for n, m in models.items() if n in SHOWN and "leak_texts" in m}
    return [
        {
            "prompt": p.prompt,
            "kind": p.kind,
            "probability": {n: m["leak_probabilities"][i] for n, m in shown.items()},
            "texts": {n: m["leak_texts"][i] for n, m in shown.items()},
        }
        for i, p in enumerate(run.suite.prompts.leaks)
    ]


def _label_figures(run: Run) -> dict:
    variant, t = variants(run.config)[0], run.translation
    found = {"alpha": variant.alpha, "tokens": run.inputs.forget.tokens, "unaligned_share": t.unaligned_share}
    if not has_labels(run, variant):
        return found
    labels = read_labels(run, variant)
    trained = labels != IGNORE
    found["trained_share"] = float(trained.sum() / run.inputs.forget.valid_NT.sum())
    return found | own_shares(labels, run.inputs.forget, t)
