"""Configuration: overrides with close names, every shipped file builds."""

import json
import re

import pytest
from support.paths import ROOT

from jaxunlearn.config import Config, find_config, load, load_config, of_method, override, to_json
from jaxunlearn.errors import InputError

BASE = Config(name="x")


def test_overrides_reach_nested_fields_with_their_types():
    c = override(
        BASE, ["whp.alpha=3", "whp.alphas=2.5,10", "text.forget=a.txt,b.txt", "pretrain.twin=False", "run.dir=out"]
    )
    assert (c.whp.alpha, c.whp.alphas, c.text.forget) == (3.0, (2.5, 10.0), ("a.txt", "b.txt"))
    assert (c.pretrain.twin, c.run.dir) == (False, "out")
    assert override(c, ["text.forget="]).text.forget == ()
    for word, meant in {"true": True, "True": True, "false": False, "False": False}.items():
        assert override(BASE, [f"eval.allow_unknown={word}"]).eval.allow_unknown is meant
    assert override(c, []) == c


def test_names_with_commas_are_given_as_json_or_are_there(tmp_path, monkeypatch):
    def forget(value):
        return tuple(load._values(f"text.forget={value}", value))

    monkeypatch.chdir(tmp_path)
    assert forget('["Oz, the book.txt", "b.txt"]') == ("Oz, the book.txt", "b.txt")
    assert forget("Oz, the book.txt") == ("Oz", " the book.txt")
    (tmp_path / "Oz, the book.txt").write_text("")
    assert forget("Oz, the book.txt") == ("Oz, the book.txt",)
    assert forget("[ab]*.txt,c.txt") == ("[ab]*.txt", "c.txt") and forget("[]") == ()  # a glob; no text
    assert tuple(load._values("", "[2.5, 10]")) == ("2.5", "10")
    assert override(BASE, ['text.forget=["Oz, the book.txt"]']).text.forget == ("Oz, the book.txt",)
    with pytest.raises(InputError, match="is not valid JSON"):
        forget('["Oz, the book.txt]')


def test_a_shipped_file_is_found_where_the_folder_configs_is_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = find_config("universe")
    assert [find_config(name) for name in ("configs/universe.py", "./configs/universe.py", "universe.py")] == [
        shipped
    ] * 3
    (tmp_path / "configs").mkdir()
    mine = tmp_path / "configs" / "universe.py"
    mine.write_text("")
    assert find_config("configs/universe.py").resolve() == mine  # one's own comes first
    for name in ("other/universe.py", "configs/unniverse.py", "configs/universe", "configs/../universe.py"):
        with pytest.raises(InputError, match="no configuration"):
            find_config(name)


def test_settings_of_one_method_do_not_hold_for_another():
    mine = override(BASE, ["unlearn.retain_weight=6", "unlearn.retain_loss=kl", "unlearn.steps=7", "unlearn.reach=0.1"])
    assert of_method(mine) == {"retain_weight": 6.0, "retain_loss": "kl"} and of_method(BASE) == {}
    assert override(mine, ["unlearn.method=whp", "whp.alpha=3"]).unlearn == mine.unlearn
    other = override(mine, ["unlearn.method=rmu", "unlearn.layer=3"]).unlearn
    assert (other.retain_weight, other.retain_loss, other.layer) == (None, "own", 3)
    assert (other.steps, other.reach) == (7, 0.1)  # of the run, not of the method
    assert override(mine, ["unlearn.retain_weight=2", "unlearn.method=npo"]).unlearn.retain_weight == 2
    hunted = override(BASE, ["unlearn.adversary.every=24", "unlearn.adversary.rates=1e-4,1e-3"])
    assert hunted.unlearn.adversary.rates == (1e-4, 1e-3) and [*of_method(hunted)] == ["adversary"]
    assert override(hunted, ["unlearn.method=npo"]).unlearn.adversary.every == 0


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
        if config.text.forget or config.universe.people or config.model:  # a run, and no benchmark
            assert config.eval.relearn_steps[-1:] > (1,), f"{file.name} does not measure relearning"
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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import sys\nsys.exit(0)\n", "line 2 calls sys.exit (0)"),
        ("import sys\ndef config():\n    sys.exit('no')\n", "line 3 calls sys.exit (no)"),
        ("def config():\n    return 1 / 0\n", "line 2 raises ZeroDivisionError (division by zero)"),
        ("def config(:\n", "raises SyntaxError"),
        ("import nosuchmodule\n", "line 1 raises ModuleNotFoundError"),
        ("def config():\n    return config()\n", "raises RecursionError"),
        ("def config():\n    return {'name': 'x'}\n", "config() returned a dict, expected a Config"),
        ("def config(name):\n    pass\n", "raises TypeError"),
        ("\0", "raises "),
        ("x = '\udcff'\n", "raises SyntaxError"),
        ("config = 3\n", "defines no config() function"),
        ("from jaxunlearn.config import Config\ndef config():\n    return Config(name=3)\n", "name must be a text"),
        ("from jaxunlearn.config import Config\ndef config():\n    return Config(name='x', attack=None)\n", "attack"),
        (
            "from jaxunlearn.config import Config\ndef config():\n    return Config(name='x', text=3)\n",
            "text must be a Text",
        ),
    ],
)
def test_a_configuration_that_raises_or_exits_is_one_sentence(tmp_path, text, said):
    (tmp_path / "bad.py").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError) as error:
        load_config(str(tmp_path / "bad.py"))
    assert str(tmp_path / "bad.py") in str(error.value) or "cannot run" in str(error.value)
    assert said in str(error.value)


def test_what_a_configuration_prints_stays_out_of_standard_output(tmp_path, capsys):
    (tmp_path / "loud.py").write_text("from jaxunlearn.config import Config\nprint('a')\ndef config():\n"
                                      "    print('b')\n    return Config(name='x')\n")  # fmt: skip
    assert load_config(str(tmp_path / "loud.py")).name == "x"
    assert capsys.readouterr() == ("", "a\nb\n")


def test_names_of_configurations_that_no_file_can_have_are_said_shortly():
    for name in ("n" * 5000, "a\0b", "\udcff"):
        with pytest.raises(InputError, match="no configuration") as error:
            load_config(name)
        assert len(str(error.value).partition(": give")[0]) < 150 and str(error.value).encode()
