"""The registry: a metric is one record and one line; what is registered has its titles and its documentation."""

import dataclasses
import json

import jax
import pytest
from support.paths import ROOT
from support.reports import Page

from jaxunlearn.config import load_config
from jaxunlearn.errors import InputError
from jaxunlearn.estimates import number
from jaxunlearn.evals import METRICS
from jaxunlearn.evals.base import Metric
from jaxunlearn.models import huggingface, transformer
from jaxunlearn.report.page import write_report
from jaxunlearn.report.schema import Report
from jaxunlearn.report.tables import COLUMNS, FURTHER, LEAKS
from jaxunlearn.run import open_run
from jaxunlearn.stages.evaluate import evaluate
from jaxunlearn.stages.summary import assemble


def size(model, context):
    """Return how many weights there are, a figure, and of how many prompts the suite has, a number."""
    count = float(sum(leaf.size for leaf in jax.tree.leaves(model)))
    weights = {"value": count, "low": None, "high": None, "n": 1, "note": "one model"}
    return {"size": {"weights": weights}, "asked": float(len(context.suite.prompts.probability)), "sizes": [count]}


def halve(models):
    for found in models.values():
        found["size"]["half"] = found["size"]["weights"] | {"value": found["sizes"][0] / 2}


def no_soft_labels(config, held_out):
    if config.whp.labels == "soft":
        raise InputError("size: not with soft labels")


TOY = Metric(
    name="size", title="Size", about="how many weights a model has", measure=size, check=no_soft_labels, across=halve,
    columns={("size",): "Size", ("asked",): "Prompts of the suite"}, raw=("sizes",),
)  # fmt: skip


def test_a_metric_is_one_record_and_one_line(mesh, monkeypatch, world, tmp_path):
    monkeypatch.setitem(METRICS, "size", TOY)
    config = load_config(str(world / "world.py"), [f"run.dir={tmp_path / 'run'}"])
    with pytest.raises(InputError, match="not with soft labels"):
        open_run(dataclasses.replace(config, whp=dataclasses.replace(config.whp, labels="soft")))
    run = open_run(config)
    shape = transformer.Shape(V=32, D=16, L=1, N=2, K=2, H=8, F=16, context=64)
    model = transformer.init(shape, 0)
    huggingface.save(model, run / "baseline", source=run.inputs.tokenizer_dir)
    models = evaluate(run)
    count = sum(leaf.size for leaf in jax.tree.leaves(model))
    assert models["baseline"]["size"]["weights"]["value"] == count and models["baseline"]["asked"] == 2
    stored = json.loads((run / "evals" / "baseline.json").read_text())
    assert stored["found"]["sizes"] == [count] and "size" in stored["key"]["metrics"]
    report = assemble(run, models, {})
    assert "sizes" not in report["models"]["baseline"]  # raw
    assert report["columns"]["size"] == "Size" and report["columns"]["asked"] == "Prompts of the suite"
    write_report(tmp_path, report)
    Report.model_validate_json((tmp_path / "report.json").read_text())
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert all(
        head in page
        for head in ("Empty completions", "Size, weights", "Size, half", "Prompts of the suite", number(count))
    )
    monkeypatch.setitem(METRICS, "size", dataclasses.replace(TOY, measure=never))
    assert evaluate(run) == models  # kept: nothing is measured again ...
    monkeypatch.setitem(METRICS, "second", dataclasses.replace(TOY, name="second"))
    with pytest.raises(RuntimeError, match="measured again"):  # ... until there is one more metric
        evaluate(run)


def never(model, context):
    raise RuntimeError("measured again")


def test_a_column_has_one_title():
    titled = [path for metric in METRICS.values() for path in metric.columns]
    placed = {*COLUMNS, *FURTHER, *LEAKS}
    assert len(titled) == len(set(titled)) and not placed & set(titled)
    groups = {path[0] for path in titled if len(path) == 1}
    assert not groups & {path[0] for path in titled if len(path) == 2}  # a group is titled whole or by name
    assert all(len(path) <= 2 for path in titled)


def test_the_registry_is_keyed_by_name_and_documented():
    text = (ROOT / "docs" / "metrics.md").read_text()
    rows = [f"| `{name}` | {m.title} | {m.about} |" for name, m in METRICS.items()]
    assert all(name == metric.name for name, metric in METRICS.items())
    assert "\n".join(rows) in text
