"""Configuration: overrides with close names, values that cannot run, every field read, every shipped file builds."""

import dataclasses
import json
import re

import pytest
from support.paths import ROOT

from jaxunlearn.config import Config, check, find_config, load_config, override, to_json
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


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("whp.alpha=-1", "whp.alpha must be at least 0"),
        ("text.context=2", "text.context must be at least 8"),
        ("text.holdout=1", "text.holdout"),
        ("unlearn.batch=0", "unlearn: steps must be"),
        ("unlearn.learning_rate=5", "unlearn.learning_rate"),
        ("eval.temperature=-1", "eval.temperature"),
        ("attack.probes.temperatures=", "attack.probes.temperatures"),
        ("attack.shares.of=0", "attack.shares.of"),
        ("attack.rtt.pairings=6", "attack.rtt: epochs"),
    ],
)
def test_values_that_cannot_run_are_refused(bad, said):
    with pytest.raises(InputError, match=re.escape(said)):
        check(override(BASE, [bad]))


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


def test_every_field_is_read_by_the_code():
    code = "\n".join(p.read_text() for p in (ROOT / "jaxunlearn").rglob("*.py") if p.parent.name != "config")

    def below(section):
        made = [f.default_factory for f in dataclasses.fields(section) if dataclasses.is_dataclass(f.default_factory)]
        return [section, *[inner for one in made for inner in below(one)]]

    for section in below(Config):
        for field in dataclasses.fields(section):
            assert re.search(rf"\.{field.name}\b", code), f"{section.__name__}.{field.name} is never read"


def test_the_papers_settings():
    c = load_config("llama2_7b")
    assert (c.text.context, c.whp.alpha, c.reinforce.learning_rate, c.unlearn.learning_rate) == (512, 5.0, 3e-6, 1e-6)
    assert (c.unlearn.batch * c.unlearn.accumulate, c.unlearn.steps) == (8 * 16, 120)  # in microbatches of 16
    assert (c.unlearn.b1, c.unlearn.b2, c.unlearn.weight_decay, c.unlearn.schedule, c.unlearn.warmup) == (
        0.9,
        0.98,
        0,
        "linear",
        0,
    )
    assert c.text.holdout == 0.05 and c.whp.keep == "best"
