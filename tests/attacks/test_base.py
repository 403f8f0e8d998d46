"""Shared parts of the attacks: the weights behind a model, kept results, and attacks reported as left out."""

import contextlib
import types

import pytest

from jaxunlearn import sealed
from jaxunlearn.attacks import base
from jaxunlearn.attacks.base import FILTER, Target, lacks_facts, lacks_prompts
from jaxunlearn.config import Eval
from jaxunlearn.files import json_text, read_json
from jaxunlearn.parallel import processes
from jaxunlearn.run.store import measured_by


@pytest.fixture
def target(tmp_path, monkeypatch):
    """A target of four models, of which one works at inference time alone, without a run."""
    folders = {name: tmp_path / name for name in ("baseline", "unlearned", FILTER, "prompted")}
    monkeypatch.setattr(base, "models_of", lambda run: folders)
    monkeypatch.setattr(base.inference, "is_guided", lambda folder: folder.name in (FILTER, "prompted"))
    return Target(types.SimpleNamespace())


def test_behind_a_filter_lie_the_baselines_weights_and_guided_models_have_none(target):
    assert target.main() == ["baseline", "unlearned"]  # the run has no twin
    pairs = target.weights("baseline", "unlearned", "twin", FILTER, "prompted")
    assert pairs == [("baseline", "baseline"), ("unlearned", "unlearned"), (FILTER, "baseline")]


def test_what_is_left_out_is_said_once(target, capsys):
    for _ in range(2):
        target.skip("RTT", "no facts")
    assert target.unmeasured == ["RTT: no facts"] and capsys.readouterr().err.count("not measured: RTT") == 1


def test_figures_of_a_model_are_gathered_by_group(target):
    target.add("twin", "leaks", {"explicit": 1})
    target.add("twin", "leaks", {"near": 2})
    assert target.models == {"twin": {"leaks": {"explicit": 1, "near": 2}}}


def test_why_an_attack_cannot_be_tried():
    prompts = [types.SimpleNamespace(position="in")]
    suite = types.SimpleNamespace(prompts=types.SimpleNamespace(probability=prompts))
    run = types.SimpleNamespace(facts=[], suite=suite)
    assert "attack.rtt.facts=FILE" in lacks_facts(run) and "no next-word prompts" in lacks_prompts(run)
    run.facts = [1]
    prompts.append(types.SimpleNamespace(position="out"))
    assert lacks_facts(run) == lacks_prompts(run) == ""


def test_of_several_tries_the_one_that_brings_back_most_is_kept_by_item(target):
    target.pair("twin", "rounding", [[0.1, 0.2], [0.3, None], (), [None, None]], floor=0.25)
    assert target.items == {"twin": {"rounding": {"items": [0.3, None], "floor": 0.25}}}
    target.pair("twin", "nothing", [()])
    assert list(target.items["twin"]) == ["rounding"]


class Run:
    """A run in a folder, as far as `kept` asks for it."""

    config = types.SimpleNamespace(eval=Eval())
    inputs = types.SimpleNamespace(hashes={"text.prompts": "p"})
    folder = types.SimpleNamespace(stage=lambda *_: contextlib.nullcontext())

    def __init__(self, path):
        self.path = path

    def __truediv__(self, name):
        return self.path / name


def test_a_result_of_other_settings_is_kept_beside_and_never_replaced(target, tmp_path, monkeypatch):
    target.run, hashes = Run(tmp_path), {"twin": "a"}
    monkeypatch.setattr(target, "hash", lambda name: hashes[name])
    made = []

    def kept(samples):
        return target.kept("probes", "twin", [samples], lambda: made.append(samples) or {"samples": samples})

    assert [kept(8), kept(4), kept(8), kept(4)] == [{"samples": n} for n in (8, 4, 8, 4)] and made == [8, 4]
    first = tmp_path / "evals" / "attack_probes_twin.json"
    assert '"samples": 8' in first.read_text() and len(list(first.parent.iterdir())) == 2
    hashes["twin"] = "b"  # of another model what was found is of no use
    assert kept(2) == {"samples": 2} and '"samples": 2' in first.read_text()


def test_a_result_stays_where_only_what_no_attack_looks_at_was_set(target, tmp_path, monkeypatch):
    target.run = Run(tmp_path)
    monkeypatch.setattr(target, "hash", lambda name: "a")
    made = []

    def kept(kind, **given):
        target.run.config = types.SimpleNamespace(eval=Eval(**given))
        return target.kept(kind, "twin", [4], lambda: made.append(kind) or {"of": given})

    for given in ({}, {"benchmarks": ("b",), "items": 9}, {"members": 8, "tofu": "t"}):
        assert kept("probes", **given) == {"of": {}}
        assert kept("measure", **given) == {"of": given}  # a model that hides is measured as the others are
    assert kept("probes", temperature=0.5) == {"of": {"temperature": 0.5}}
    assert made == ["probes", *["measure"] * 3, "probes"]
    path = tmp_path / "evals" / "attack_probes_twin.json"  # as an earlier version kept it
    before = read_json(path, dict)
    key = before["key"] | {"eval": measured_by(Eval(temperature=0.5, benchmarks=("old",)))}
    path.write_text(json_text(sealed.sealed({"key": key, "found": before["found"]})))
    assert kept("probes", temperature=0.5, benchmarks=("new",)) == {"of": {"temperature": 0.5}}


def test_a_process_that_sees_no_file_yet_asks_and_hears_what_the_first_one_does(target, tmp_path, monkeypatch):
    """A network file system may show a process late what the first one wrote; the messages must not depend on it."""
    said, inside = [], [False]

    def speaks(act):  # process 0, which is alone inside an act
        if inside[0]:
            return act()
        inside[0] = True
        said.append(act())
        inside[0] = False
        return said[-1]

    def kept(path):
        target.run = Run(path)
        return target.kept("probes", "twin", [4], lambda: pytest.fail("it is there"))

    monkeypatch.setattr(target, "hash", lambda name: "a")
    target.run = Run(tmp_path)
    for samples in (8, 4):
        target.kept("probes", "twin", [samples], lambda n=samples: {"samples": n})
    monkeypatch.setattr(processes, "first", speaks)
    assert kept(tmp_path) == {"samples": 4} and said == [True, True, {"samples": 4}]
    monkeypatch.setattr(processes, "first", lambda act: said.pop(0))
    assert kept(tmp_path / "late") == {"samples": 4} and not said
