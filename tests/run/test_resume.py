"""The rules of resuming: what binds the next attempt and what does not; runs of earlier versions go on."""

import dataclasses
import json

import pytest

from jaxunlearn import sealed
from jaxunlearn.cli import main
from jaxunlearn.config import Attack, Config, Run, Unlearn, Whp, to_json
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.run.directory import RunDirectory
from jaxunlearn.run.resume import completed, holds, keep, kept

FLAT = {
    "kinds": [],
    "blind": 36,
    "facts": "",
    "latent": True,
    "near": 0.5,
    "quantise": ["int8"],
    "rtt": 3,
    "shares": [1],
}


def test_a_refused_attempt_does_not_bind_the_corrected_one(world, tmp_path, capsys):
    common = ["pretrain", str(world / "world.py"), f"run.dir={tmp_path}/run", "pretrain.steps=2"]
    assert main([*common, "text.forget=nosuch.txt"]) == 2
    assert main(common) == 0
    assert main([*common, "seed=1"]) == 2 and "seed: 0 -> 1" in capsys.readouterr().err


def test_a_run_of_a_version_without_settings_and_with_flat_attack_keys_goes_on(tmp_path):
    config = Config(name="x", run=Run(dir=str(tmp_path / "run")))
    RunDirectory(config).manifest({})
    (tmp_path / "run" / "unlearned").mkdir()  # so that unlearn.* binds
    path = tmp_path / "run" / "config.json"
    old = json.loads(path.read_text())
    del old["unlearn"]["settings"]
    path.write_text(json.dumps(old | {"attack": FLAT}))
    RunDirectory(config).manifest({})
    assert path.read_text() == to_json(config)
    path.write_text(json.dumps(old | {"attack": FLAT}))
    with pytest.raises(InputError, match=r"unlearn.settings: \[\] -> \['tau=0.5'\]"):
        RunDirectory(Config(name="x", run=config.run, unlearn=Unlearn(settings=("tau=0.5",))))
    RunDirectory(Config(name="x", run=config.run, attack=Attack(seed=1)))  # attacks bind nothing


def test_a_run_of_a_version_with_another_default_update_and_with_moments_beside_the_device_goes_on(tmp_path):
    config = Config(name="x", run=Run(dir=str(tmp_path / "run")))
    RunDirectory(config).manifest({})
    (tmp_path / "run" / "unlearned").mkdir()  # so that reset.* and unlearn.* bind
    path = tmp_path / "run" / "config.json"
    old = json.loads(path.read_text())
    for train in (old["pretrain"], old["unlearn"], old["reset"]["heal"]):
        train |= {"update": "whole", "moment_memory": "device"}
    path.write_text(json.dumps(old))
    RunDirectory(config)
    old["unlearn"]["moment_memory"] = "host"
    path.write_text(json.dumps(old))
    with pytest.raises(InputError, match=r"Changed:\s+unlearn.moment_memory: 'host' -> None$"):
        RunDirectory(config)


def test_labels_of_a_version_without_whp_seen_from_were_made_from_the_anchors_last_token_on(tmp_path):
    config = Config(name="x", run=Run(dir=str(tmp_path / "run")), whp=Whp(seen_from="at"))
    RunDirectory(config).manifest({})
    (tmp_path / "run" / "labels").mkdir()  # so that whp.* binds
    path = tmp_path / "run" / "config.json"
    old = json.loads(path.read_text())
    del old["whp"]["seen_from"]
    path.write_text(json.dumps(old))
    with pytest.raises(InputError, match=r"whp\.seen_from: 'at' -> 'after'"):
        RunDirectory(Config(name="x", run=config.run))
    RunDirectory(config)


def test_a_value_that_became_a_section_is_left_as_it_was():
    now = {"attack": {"blind": {"probes": 36}, "rtt": {"splits": 5}, "near": {"spelling": 0.5}}, "seed": 0}
    before = {"attack": {"blind": 36, "rtt": True, "near": "spelling"}}
    assert completed(before, now) == before | {"seed": 0}


def test_what_was_found_holds_under_its_key_alone(tmp_path):
    path, key = tmp_path / "reference" / "npo_forget.json", {"baseline": "a", "shape": [2, 3]}
    assert not holds(path, key)
    keep(path, key, [1.0, 2.0])
    assert holds(path, key) and kept(path) == [1.0, 2.0] and not holds(path, key | {"baseline": "b"})
    path.write_text(json.dumps(key))  # an earlier form: the key alone, its numbers in a .npy file beside it
    assert not holds(path, key)


def test_who_looks_at_a_run_leaves_its_manifest_alone(tmp_path):
    config = Config(name="x", run=Run(dir=str(tmp_path / "run")))
    folder, looks = RunDirectory(config), RunDirectory(config, looks=True)
    folder.manifest({"text.answers": "a"})
    path = tmp_path / "run" / "manifest.json"
    path.write_text(json.dumps(sealed.sealed(json.loads(path.read_text()) | {"made": "elsewhere"})))
    before = path.read_text()
    assert looks.manifest({"text.answers": "a"})["made"] == "elsewhere" and path.read_text() == before
    with pytest.raises(InputError, match=r"text\.answers"):
        looks.manifest({"text.answers": "b"})
    folder.manifest({"text.answers": "a"})
    assert path.read_text() != before


def test_a_damaged_result_is_made_again_and_that_is_said(tmp_path, capsys):
    path, key = tmp_path / "evals" / "unlearned.json", {"model": "a"}
    keep(path, key, {"accuracy": 0.25})
    whole = path.read_text()
    for damaged in (whole.replace("0.25", "0.75"), whole[: len(whole) // 2], "[" * 5000, "\x00"):
        path.write_text(damaged)
        assert not holds(path, key)
        assert f"{path} is damaged: what it held is made again" in capsys.readouterr().err
    path.write_text(json.dumps({"key": key, "found": 1}))  # of an earlier version
    assert holds(path, key)


def test_prompts_may_change_unless_they_chose_the_step_that_was_kept(tmp_path, capsys):
    config = Config(name="x", run=Run(dir=str(tmp_path / "run")))
    folder = RunDirectory(config)
    folder.manifest({"text.prompts": "a", "text.forget": "a"})
    folder.manifest({"text.prompts": "b", "text.forget": "a"})
    assert "text.prompts changed: what depends on it is measured again" in capsys.readouterr().err
    assert [r["names"] for r in folder.records("inputs", "changed")] == [["text.prompts"]]
    with pytest.raises(InputError, match=r"\['text.forget'\] changed"):
        folder.manifest({"text.prompts": "b", "text.forget": "b"})
    (tmp_path / "run" / "checkpoints" / "unlearn_best").mkdir(parents=True)
    folder.manifest({"text.prompts": "c"})
    chosen = RunDirectory(Config(name="x", run=config.run, unlearn=Unlearn(reach=0.1)))
    with pytest.raises(InputError, match=r"\['text.prompts'\] changed"):
        chosen.manifest({"text.prompts": "d"})
    last = dataclasses.replace(config, unlearn=Unlearn(reach=0.1), whp=Whp(keep="last"))
    RunDirectory(last).manifest({"text.prompts": "d"})  # nothing was chosen by them


def test_a_damaged_manifest_is_named(tmp_path):
    folder = RunDirectory(Config(name="x", run=Run(dir=str(tmp_path / "run"))))
    folder.manifest({"text.answers": "a"})
    path = tmp_path / "run" / "manifest.json"
    path.write_text(path.read_text().replace('"text.answers": "a"', '"text.answers": "b"'))
    with pytest.raises(RunError, match=r"manifest\.json is damaged"):
        folder.manifest({"text.answers": "a"})
