"""Configuration: overrides with close names, every shipped file builds."""

import json
import re

import pytest
from support.paths import ROOT

from jaxunlearn.config import Config, find_config, load_config, of_method, override, to_json
from jaxunlearn.errors import InputError

BASE = Config(name="x")


def test_overrides_reach_nested_fields_with_their_types():
    c = override(
        BASE, ["whp.alpha=3", "whp.alphas=2.5,10", "text.forget=a.txt,b.txt", "pretrain.twin=False", "run.dir=out"]
    )
    assert (c.whp.alpha, c.whp.alphas, c.text.forget) == (3.0, (2.5, 10.0), ("a.txt", "b.txt"))
    assert (c.pretrain.twin, c.run.dir) == (False, "out")
    assert override(c, ["text.forget="]).text.forget == ()
    assert override(c, []) == c


def test_settings_of_one_method_do_not_hold_for_another():
    mine = override(BASE, ["unlearn.retain_weight=6", "unlearn.retain_loss=kl", "unlearn.steps=7", "unlearn.reach=0.1"])
    assert of_method(mine) == {"retain_weight": 6.0, "retain_loss": "kl"} and of_method(BASE) == {}
    assert override(mine, ["unlearn.method=whp", "whp.alpha=3"]).unlearn == mine.unlearn
    other = override(mine, ["unlearn.method=rmu", "unlearn.layer=3"]).unlearn
    assert (other.retain_weight, other.retain_loss, other.layer) == (None, "own", 3)
    assert (other.steps, other.reach) == (7, 0.1)  # of the run, not of the method
    assert override(mine, ["unlearn.retain_weight=2", "unlearn.method=npo"]).unlearn.retain_weight == 2


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("whp.alpa=3", "whp.alpha"),
        ("unlearn.stepz=3", "unlearn.steps"),
        ("whp.alpha=high", "could not convert string to float"),
        ("whp.mode=onlin", "'offline'"),
        ("seed=1.5", "invalid literal for int"),
        ("alpha", "is not key=value"),
        ("anchors.extract.name_bar=2.5", "Unrecognized"),  # a setting of earlier versions
        ("attack.samples=4", "attack.samples is a setting of earlier versions; it is now attack.probes.samples"),
        ("attack.shares=0.1", "it is now attack.shares.of"),
        ("attack.facts=a.json", "it is now attack.rtt.facts"),
    ],
)
def test_bad_overrides_say_what_was_meant(bad, said):
    with pytest.raises(InputError, match=re.escape(said)):
        override(BASE, [bad])


def test_every_file_in_configs_builds_and_resolves():
    files = sorted((ROOT / "configs").glob("[a-z]*.py"))
    assert {f.stem for f in files} >= {"universe", "oz_tiny", "llama2_7b"}
    for file in files:
        config = load_config(str(file))
        assert config.name == file.stem
        assert json.loads(to_json(config))["name"] == file.stem
        assert file.read_text().startswith('"""') and "jaxunlearn" in file.read_text().split('"""')[1]
    assert find_config("universe").name == "universe.py"
    with pytest.raises(InputError, match="universe"):
        load_config("nosuch")


@pytest.mark.parametrize(
    ("given", "new"),
    [("Attack(samples=4)", "attack.probes.samples"), ("Attack(shares=(0.1,))", "attack.shares.of"),
     ("dataclasses.replace(Attack(), rates=(1e-3,))", "attack.rtt.rates")],
)  # fmt: skip
def test_a_setting_of_earlier_versions_in_a_file_is_named_with_the_new_one(tmp_path, given, new):
    file = tmp_path / "old.py"
    file.write_text(
        f"import dataclasses\nfrom jaxunlearn.config import *\n\ndef config():\n"
        f"    return Config(name='old', attack={given})\n"
    )
    with pytest.raises(InputError, match=re.escape(f"it is now {new}")):
        load_config(str(file))


def test_a_file_that_is_no_python_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("def config(): ...")
    with pytest.raises(InputError, match=r"notes\.txt is not a Python file"):
        load_config(str(tmp_path / "notes.txt"))
