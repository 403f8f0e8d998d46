"""`configs` and `config show`."""

import json

import pytest
from support.paths import ROOT

from jaxunlearn.cli import main
from jaxunlearn.cli.configs import shown


@pytest.fixture(autouse=True)
def _as_wide_as_a_page(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")


def test_every_shipped_configuration_is_listed_with_its_first_line(capsys):
    assert main(["configs", "--json"]) == 0
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(found) == {p.stem for p in (ROOT / "configs").glob("[a-z]*.py")}
    assert found["llama2_7b"]["one_line"] == "The paper's run: Llama-2-7b-chat forgets a series of books."
    assert all(len(row["one_line"]) > 20 for row in found.values())
    assert main(["configs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    column = max(map(len, found)) + 2
    assert f"{'llama2_7b':{column}}The paper's run: Llama-2-7b-chat forgets a series of books." in lines


def test_one_setting_is_shown_with_all_that_is_known_of_it(capsys):
    assert main(["config", "show", "universe", "whp.alpha", "whp.alpha=3"]) == 0
    assert capsys.readouterr().out.splitlines()[:4] == [
        "whp.alpha", "  value     3.0", "  default   5.0",
        "  kind      number, at least 0 and at most 1,000,000: below 0 the offset would reinforce",
    ]  # fmt: skip
    assert main(["config", "show", "universe", "name"]) == 0
    assert "default   none, it must be given" in capsys.readouterr().out


def test_a_section_and_all_settings_are_tables(capsys):
    assert main(["config", "show", "universe", "attack.rtt"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("attack.rtt: Retraining on some of the facts")
    assert [line.split()[0] for line in lines if line.startswith("  attack")][:2] == [
        "attack.rtt.facts",
        "attack.rtt.scoring",
    ]
    assert main(["config", "show", "universe", "--changed", "--json"]) == 0
    rows = {row["key"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["text.context"] | {"meaning": ""} == {
        "key": "text.context", "kind": "whole number", "value": 128, "default": 512, "meaning": "",
    }  # fmt: skip
    assert "whp.alpha" not in rows
    assert main(["config", "show", "universe", "--json", "whp"]) == 0  # a key after an option
    assert {row["key"].split(".")[0] for row in json.loads(capsys.readouterr().out)} == {"whp"}


def test_a_wrong_key_names_close_ones(capsys):
    assert main(["config", "show", "universe", "wph.alpha"]) == 2
    assert "no setting 'wph.alpha'; did you mean whp.alpha, " in capsys.readouterr().err
    assert main(["config", "show", "universe", "zzzz"]) == 2
    assert "lists all" in capsys.readouterr().err


def test_values_are_shown_as_an_override_takes_them():
    assert [shown(v) for v in ((), "", (1, 2.5), ("a", "b"), ("a,b", "c"), None)] == [
        "-", "-", "1,2.5", "a,b", '["a,b", "c"]', "None",
    ]  # fmt: skip


def test_a_file_of_ones_own_is_explained_too_and_not_run_for_its_docstring(tmp_path, capsys):
    mine = tmp_path / "mine.py"
    mine.write_text('"""My run."""\nfrom jaxunlearn.config import Config\ndef config(): return Config(name="mine")\n')
    assert main(["config", "show", str(mine), "name"]) == 0 and "value     mine" in capsys.readouterr().out
    mine.write_text("def config(: pass")
    assert main(["config", "show", str(mine), "name"]) == 2 and "SyntaxError" in capsys.readouterr().err
