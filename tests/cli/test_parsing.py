"""Help that knows the configuration, -v and -q at every depth, --version, the page for a bare command."""

import logging
import platform
import sys

import pytest

from jaxunlearn import cli
from jaxunlearn.parallel.console import LOG


@pytest.fixture(autouse=True)
def _as_wide_as_a_page(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")


def out_of(capsys, *argv, code=0):
    with pytest.raises(SystemExit) as ended:
        cli.parse(list(argv))
    assert ended.value.code == code
    return capsys.readouterr()


def test_help_after_a_configuration_shows_what_it_does_and_its_settings(capsys):
    said = out_of(capsys, "run", "universe", "whp.alpha=3", "--help").out
    assert said.startswith("usage: jaxunlearn run ") and "--ablate" in said
    assert "universe.py: The built-in universe: the whole method from nothing" in said
    assert "\n* whp.alpha                  3.0 " in said and "(default 5.0)" in said
    assert "\n  eval.top_k                 5 " in said
    assert "whp.alpha" not in out_of(capsys, "methods", "--help").out
    assert "whp.alphas" not in out_of(capsys, "run", "--help").out
    assert cli.main(["run", "universe", "whp.alpah=3", "--help"]) == 2 and "whp.alpha" in capsys.readouterr().err


def test_an_override_is_not_taken_for_a_configuration(capsys):
    said = out_of(capsys, "evaluate", "--model", "d", "eval.batch=4", "--help").out
    assert said.startswith("usage: jaxunlearn evaluate ") and "* eval.batch" not in said


def test_v_and_q_may_stand_at_any_depth():
    for argv in (["-q", "anchors", "audit", "f", "--text", "t"], ["anchors", "-q", "audit", "f", "--text", "t"],
                 ["anchors", "audit", "f", "--text", "t", "-q"], ["run", "mine.py", "-q", "seed=1"]):  # fmt: skip
        found = cli.parse(argv)
        assert found.quiet and not found.verbose
    plain = cli.parse(["run", "mine.py"])
    assert not plain.quiet and not plain.verbose


def test_v_and_q_decide_what_is_printed():
    for more, level in (["-q"], logging.ERROR), (["-v"], logging.INFO), ([], logging.WARNING):
        assert cli.main(["configs", "--json", *more]) == 0 and LOG.level == level


def test_v_with_q_is_bad_usage(capsys):
    assert "not allowed with" in out_of(capsys, "run", "mine.py", "-q", "-v", code=2).err


def test_the_versions_are_told(capsys):
    import jax

    lines = out_of(capsys, "--version").out.splitlines()
    assert lines[0].startswith("jaxunlearn ") and lines[1:] == [
        f"jax {jax.__version__}",
        f"python {platform.python_version()}",
    ]


def test_a_bare_command_gets_a_page_that_says_where_to_begin(capsys, monkeypatch):
    said = out_of(capsys, code=2).err
    assert "jaxunlearn demo  " in said and "jaxunlearn config show CONFIG KEY" in said
    assert said.rstrip().endswith("name one of the subcommands above")
    monkeypatch.setattr(sys, "argv", ["jaxunlearn"])
    with pytest.raises(SystemExit, match="2"):
        cli.parse()
