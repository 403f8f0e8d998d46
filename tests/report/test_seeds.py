"""Runs of several seeds put together; report.json as documented."""

import json
import re

import pytest
from support.paths import ROOT

from jaxunlearn import cli
from jaxunlearn.errors import InputError
from jaxunlearn.report.compare import over_seeds
from jaxunlearn.report.page import page


def run_of(seed, familiarity, **config):
    figure = {"value": familiarity, "low": 0.0, "high": 1.0, "n": 4}
    models = {"unlearned": {"familiarity": {"probability": figure}, "track": {}}, f"only {seed}": {}}
    return {"models": models, "config": {"seed": seed, "unlearn": {"steps": 3}, "run": {"dir": f"{seed}"}} | config}


def test_each_run_is_one_item():
    found = over_seeds([run_of(0, 0.1), run_of(1, 0.2), run_of(2, 0.3)])
    assert found["runs"] == 3 and set(found["models"]) == {"unlearned"}
    figure = found["models"]["unlearned"]["familiarity, probability"]
    assert figure["value"] == pytest.approx(0.2) and figure["n"] == 3 and figure["low"] < 0.2 < figure["high"]
    alone = over_seeds([run_of(0, 0.1)])["models"]["unlearned"]["familiarity, probability"]
    assert alone["low"] is None and "one run" in alone["note"]


def test_runs_that_do_not_belong_together_are_refused():
    with pytest.raises(InputError, match="more than their seed: unlearn"):
        over_seeds([run_of(0, 0.1), run_of(1, 0.2, unlearn={"steps": 4})])
    with pytest.raises(InputError, match="different seeds"):
        over_seeds([run_of(0, 0.1), run_of(0, 0.1)])


def test_report_takes_other_runs(tmp_path, capsys):
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        (tmp_path / str(seed) / "report.json").write_text(json.dumps(run_of(seed, 0.1 + seed / 10)))
    assert cli.main(["report", str(tmp_path / "0"), "--seeds", str(tmp_path / "1")]) == 0
    assert "Over 2 runs of different seeds" in (tmp_path / "0" / "report.html").read_text()
    assert json.loads((tmp_path / "0" / "report.json").read_text())["seeds"]["runs"] == 2
    assert cli.main(["report", str(tmp_path / "0"), "--seeds", str(tmp_path / "9")]) == 2
    assert "finish that run first" in capsys.readouterr().err


def test_every_key_that_a_report_is_given_is_documented():
    code = (ROOT / "jaxunlearn" / "stages" / "summary.py").read_text()
    body = code.partition("def assemble(")[2].partition("\ndef ")[0]
    keys = set(re.findall(r'"(\w+)":', body.partition("] = {")[2])) | {"seeds"}
    documented = (ROOT / "docs" / "report.md").read_text()
    assert len(keys) > 15 and not [key for key in keys if f"`{key}`" not in documented]


def test_a_page_has_no_script_and_no_address_outside():
    html = page(run_of(0, 0.1) | {"seeds": over_seeds([run_of(0, 0.1), run_of(1, 0.2)])})
    assert "<script" not in html and not re.search(r'(?:src|href)="https?:', html)
