"""The form of report.json: what it takes, what it refuses by name, and that the documentation tells of every key."""

import copy
import json
import re

import pytest
from pydantic import ValidationError
from support.paths import ROOT

from jaxunlearn.attacks import ATTACKS
from jaxunlearn.report.schema import About, Graded, Measures, Point, Report, main

E = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10}
ONE = {"value": 0.5, "low": None, "high": None, "n": 1, "note": "one item only"}
GOOD = {
    "title": "t", "name": "n", "claim": "c", "device": "1 x cpu", "models": {"baseline": {"accuracy": {"general": E}}},
    "curve": [{"step": 0, "familiarity": 0.9}], "curves": {}, "relearn": {"twin": [{"step": 0, "familiarity": 0.1}]},
    "attacks": {"latent": {"twin": {"layers": [E, ONE], "chance": 0.25}}, "unmeasured": ["RTT: no facts"]}, "rtt": {},
    "judge": {}, "differences": [{"measure": "m", "from": "a", "to": "b", "test": "t", "p": 0.5} | E],
    "costs": {"unlearned": {"seconds": 1.0}}, "leak_probes": [], "labels": {"alpha": 5.0}, "dictionary": {"terms": 3},
    "completions": [{"prompt": "p", "subtlety": 1, "texts": {"b": "x"}, "grades": {"b": 3}, "evidence": {"b": ["x"]}}],
    "seconds": {"label": 2}, "notes": [], "config": {}, "manifest": {},
}  # fmt: skip


def changed(path, value):
    report = copy.deepcopy(GOOD)
    *parts, last = path
    node = report
    for part in parts:
        node = node[part]
    node[last] = value
    return report


GENERAL = ("models", "baseline", "accuracy", "general")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (GENERAL, E | {"low": 0.7}, "low is above high"),
        (GENERAL, E | {"high": None}, "both or neither"),
        (GENERAL, E | {"n": 1}, "one item has no interval"),
        (GENERAL, {k: v for k, v in ONE.items() if k != "note"}, "a note that says so"),
        (GENERAL, E | {"value": float("nan")}, "finite"),
        (GENERAL, 0.5, "accuracy.general"),
        (("models", "baseline", "familarity"), {}, "familarity"),
        (("curve", 0, "step"), "first", "curve.0.step"),
        (("rtt",), {"models": {}}, "rtt.Rtt.facts"),
        (("verdicts",), {}, "verdicts"),
    ],
)
def test_what_is_no_report_is_named(path, value, said):
    Report.model_validate(GOOD)
    Report.model_validate(changed(GENERAL, ONE))
    with pytest.raises(ValidationError, match=re.escape(said)):
        Report.model_validate(changed(path, value))


def test_the_command_checks_a_file_and_prints_the_schema(tmp_path, capsys):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(GOOD))
    assert main([str(path)]) == 0 and capsys.readouterr().out == ""
    path.write_text(json.dumps(changed(GENERAL, E | {"low": 0.7})))
    assert main([str(path)]) == 1 and "low is above high" in capsys.readouterr().out
    assert main([]) == 0 and "models" in json.loads(capsys.readouterr().out)["properties"]


def test_every_key_is_documented():
    told = set(re.findall(r'[`"]([a-z_]+)[`"]', (ROOT / "docs" / "report.md").read_text()))
    keys = {key for form in (Report, Measures, Point, About, Graded) for key in form.model_fields}
    keys |= {attack.place[-1] for attack in ATTACKS.values()} | {"unmeasured"}
    assert sorted(keys - told) == []


def test_every_key_that_a_report_is_given_is_documented():
    code = (ROOT / "jaxunlearn" / "stages" / "summary.py").read_text()
    body = code.partition("def assemble(")[2].partition("\ndef ")[0]
    keys = set(re.findall(r'"(\w+)":', body.partition("] = {")[2])) | {"seeds"}
    documented = (ROOT / "docs" / "report.md").read_text()
    assert len(keys) > 15 and not [key for key in keys if f"`{key}`" not in documented]
