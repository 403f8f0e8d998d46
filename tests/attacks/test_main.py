"""`python -m jaxunlearn.attacks FILE` checks the findings of attacks, too."""

import runpy
import sys

import pytest


def test_the_command_names_a_fault_in_the_findings_of_an_attack(tmp_path, monkeypatch, capsys):
    file = tmp_path / "report.json"
    file.write_text('{"attacks": {"quantise": {"unlearned": {"int8": 3}}}}')
    monkeypatch.setattr(sys, "argv", ["attacks", str(file)])
    with pytest.raises(SystemExit, match="1"):
        runpy.run_module("jaxunlearn.attacks", run_name="__main__")
    assert "attacks.quantise.unlearned.int8" in capsys.readouterr().out
