"""Reading the run that is certified: what is no finished run, its configuration, its report."""

import dataclasses
import json
from types import SimpleNamespace

import pytest

from jaxunlearn import sealed
from jaxunlearn.certificate import source
from jaxunlearn.certificate.source import Source, config_of, read_report, refuse_unfinished
from jaxunlearn.config import Config, Pretrain, Run, load_config, to_json
from jaxunlearn.errors import InputError, RunError


def test_a_run_that_is_not_finished_is_refused_with_what_it_lacks(tmp_path):
    with pytest.raises(InputError, match=r"is no run: it has no config\.json"):
        refuse_unfinished(tmp_path)
    for name in ("config.json", "manifest.json"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "baseline").mkdir()
    with pytest.raises(InputError, match=r"is not finished, it has no unlearned, report\.json: nothing can be"):
        refuse_unfinished(tmp_path)


@pytest.mark.parametrize("name", ["llama2_7b", "compare_universe"])
def test_a_configuration_is_read_back_from_its_json(tmp_path, name):
    config = dataclasses.replace(load_config(name), run=Run(dir=str(tmp_path)))
    (tmp_path / "config.json").write_text(to_json(config))
    assert config_of(tmp_path) == config


def test_a_configuration_of_an_older_version_lacks_fields_and_has_others(tmp_path):
    raw = json.loads(to_json(Config(name="x", pretrain=Pretrain(steps=7))))
    raw["pretrain"] |= {"moment_memory": "device"}
    raw["eval"] = {"blocks": 3}
    (tmp_path / "config.json").write_text(json.dumps(raw))
    found = config_of(tmp_path)
    assert (found.pretrain.steps, found.eval.blocks, found.eval.batch) == (7, 3, Config(name="x").eval.batch)
    (tmp_path / "config.json").write_text('{"name": "x"}')
    with pytest.raises(InputError, match="is not the configuration of a run"):
        config_of(tmp_path)


def test_a_report_that_was_edited_is_damaged_and_one_without_a_baseline_is_refused(tmp_path):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(sealed.sealed({"models": {"baseline": {}}})))
    assert read_report(tmp_path) == {"models": {"baseline": {}}}
    path.write_text(path.read_text().replace("{}", '{"familiarity": {}}'))
    with pytest.raises(RunError, match="is not as it was written"):
        read_report(tmp_path)
    path.write_text('{"models": {}}')
    with pytest.raises(InputError, match="has no figures of a baseline"):
        read_report(tmp_path)


def source_of(tmp_path, twin=b"twin", rows=()):
    """Return a source of a run that has two models and no more."""
    folders = {}
    for name, weights in (("unlearned", b"weights"), ("twin", twin)):
        folders[name] = tmp_path / name
        folders[name].mkdir(exist_ok=True)
        (folders[name] / "model.safetensors").write_bytes(weights)
    records = SimpleNamespace(records=lambda stage, event: [r for r in rows if r == (stage, event)])
    run = SimpleNamespace(folder=records, config=Config(name="x"))
    return Source(
        run=run, report={"models": {"twin": {}, "unlearned": {}}}, name="unlearned", folders=folders, registered=None,
        changes=[], differs=[], began="",
    )  # fmt: skip


def test_a_twin_that_was_given_or_is_the_model_itself_is_none_of_this_run(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "hash_of", lambda folder: (folder / "model.safetensors").read_bytes())
    found = source.facts(source_of(tmp_path, rows=[("twin", "seconds")]), 400, 900)
    assert found["trained"] and found["own_twin"] and found["windows"] and found["twin"] and not found["shown"]
    found = source.facts(source_of(tmp_path, twin=b"weights"), 2, 900)
    assert not (found["trained"] or found["own_twin"] or found["windows"])
    assert source.facts(source_of(tmp_path), 9, 9)["windows"]  # all that there are


def test_another_number_of_windows_is_a_change_of_the_tests(tmp_path):
    s = source_of(tmp_path)
    assert source.with_windows(s, 2, 900).differs == ["windows of the text, at most: 400 -> 2"]
    assert source.with_windows(s, 400, 900).differs == source.with_windows(s, 24, 9).differs == []


def test_a_certificate_does_not_lie_in_the_folder_of_a_model(tmp_path):
    (tmp_path / "config.json").write_text(to_json(Config(name="x")))
    for name in ("unlearned", "baseline", "bf16"):
        (tmp_path / name).mkdir()
    for out in ("unlearned", "baseline/deep", "bf16"):
        with pytest.raises(InputError, match="is in the folder of a model"):
            source.refuse_models(tmp_path / out, tmp_path, [tmp_path / "bf16"])
    source.refuse_models(tmp_path / "certificate", tmp_path, [tmp_path / "bf16"])


def test_attacks_that_were_added_are_no_change_of_the_tests(tmp_path):
    more, fewer = 'attack.kinds: [] -> ["rtt"]', 'attack.kinds: ["rtt", "latent"] -> ["rtt"]'
    assert source.added(more) and source.added('attack.kinds: ["rtt"] -> ["latent", "rtt"]')
    assert (
        not source.added(fewer) and not source.added("eval.n: 1 -> 2") and not source.added("attack.kinds: none -> []")
    )
    s = source_of(tmp_path)
    for rows, same in (([more], True), ([more, "eval.n: 1 -> 2"], False)):
        s = dataclasses.replace(s, differs=rows, changes=[{"names": rows}])
        assert s.unchanged is same
