"""The tests that a run fixes at its start: written once, in time or not, and every later change is seen."""

import dataclasses
import hashlib
import json

import pytest

from jaxunlearn.config import Attack, Config, Eval, Run
from jaxunlearn.errors import RunError
from jaxunlearn.run import preregistration
from jaxunlearn.run.directory import RunDirectory
from jaxunlearn.run.preregistration import FILE, changed, read, what_is_tested


def config(folder, **more):
    return Config(name="x", run=Run(dir=str(folder)), **more)


def test_a_run_fixes_its_tests_once_and_before_the_unlearning(tmp_path):
    RunDirectory(config(tmp_path)).manifest({"text.prompts": "a" * 64})
    first, text = read(tmp_path), (tmp_path / FILE).read_text()
    assert first["before_unlearning"] and first["time"].endswith("+00:00")
    assert first["tests"]["files"]["text.prompts"] == "a" * 64 and first["tests"]["eval"]["split"] == "report"
    assert first["tests"]["thresholds"]["share_that_counts_as_none"] == 0.1
    RunDirectory(config(tmp_path)).manifest({"text.prompts": "a" * 64})
    assert (tmp_path / FILE).read_text() == text
    (tmp_path / "late" / "unlearned").mkdir(parents=True)
    (tmp_path / "late" / "config.json").write_text(json.dumps({"name": "x", "whp": {}}))
    RunDirectory(config(tmp_path / "late")).manifest({})  # a run of an earlier version, which goes on
    assert not read(tmp_path / "late")["before_unlearning"]


def test_a_later_change_is_a_line_of_the_metrics_and_so_is_the_way_back(tmp_path):
    first = config(tmp_path)
    RunDirectory(first).manifest({"text.prompts": "a"})
    other = dataclasses.replace(first, eval=Eval(relearn_steps=(0, 1)), attack=Attack(kinds=("relearn",)))
    for now in (other, other, first):
        RunDirectory(now).manifest({"text.prompts": "a"})
    rows = RunDirectory(first).records("preregistration", "changed")
    told = 'attack.kinds: [] -> ["relearn"]'
    assert [len(row["names"]) for row in rows] == [2, 0] and rows[0]["names"][0] == told and rows[0]["time"]
    assert "eval.relearn_steps" in rows[0]["names"][1]


def test_who_looks_at_a_run_registers_nothing(tmp_path):
    RunDirectory(config(tmp_path)).manifest({})
    (tmp_path / FILE).unlink()
    RunDirectory(config(tmp_path), looks=True).manifest({})
    assert not (tmp_path / FILE).exists()


def test_what_changed_is_named_with_both_values():
    before = {"tests": what_is_tested({"seed": 0, "eval": {"n": 1}}, {"text.prompts": "a"})}
    after = what_is_tested({"seed": 0, "eval": {"n": 2, "new": True}}, {"text.prompts": "b"})
    assert changed(before, after) == [
        "eval.n: 1 -> 2", "eval.new: none -> true", 'files.text.prompts: "a" -> "b"',
    ]  # fmt: skip
    assert changed(before, before["tests"]) == []


def test_the_splits_of_a_folder_of_facts_are_fixed_as_a_file_is(tmp_path):
    def fixed(facts):
        return what_is_tested({"attack": {"rtt": {"facts": str(facts)}}}, {})["files"]["attack.rtt.facts"]

    for n in range(2):
        (tmp_path / f"split_{n}.jsonl").write_text(f"{n}\n")
    told = hashlib.sha256(b"split_0.jsonl0\nsplit_1.jsonl1\n").hexdigest()
    assert fixed(tmp_path) == told and fixed(tmp_path / "none") == ""
    assert fixed(tmp_path / "split_1.jsonl") == hashlib.sha256(b"split_1.jsonl1\n").hexdigest()
    (tmp_path / "split_1.jsonl").write_text("2\n")
    assert fixed(tmp_path) != told


def test_a_file_that_was_edited_is_damaged(tmp_path):
    RunDirectory(config(tmp_path)).manifest({})
    path = tmp_path / FILE
    path.write_text(path.read_text().replace("true", "false", 1))
    with pytest.raises(RunError, match=r"preregistration\.json is damaged"):
        preregistration.read(tmp_path)
