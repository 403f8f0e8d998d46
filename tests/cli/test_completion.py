"""Completion, as a real bash does it."""

import shutil
import subprocess
import sys

import pytest

from jaxunlearn import cli
from jaxunlearn.cli.completion import SHELLS

TRY = """
source {script}
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); COMP_LINE="{words}"; COMP_POINT=${{#COMP_LINE}}
_shtab_jaxunlearn jaxunlearn "${{COMP_WORDS[-1]}}"; printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def written(capsys, shell):
    pytest.importorskip("shtab")
    assert cli.main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes_subcommands_options_configurations_and_keys(tmp_path, capsys):
    script = tmp_path / "completion.bash"
    script.write_text(written(capsys, "bash"))
    (tmp_path / "mine.py").write_text("")

    def tried(words):
        done = subprocess.run(
            ["bash", "-c", TRY.format(script=script, words=words)], capture_output=True, text=True, cwd=tmp_path
        )
        return done.stdout.split()

    assert tried("jaxunlearn conf") == ["configs", "config"]
    assert tried("jaxunlearn anchors audit --fi") == ["--fix"]
    assert tried("jaxunlearn export --format g") == ["gguf"]
    assert tried("jaxunlearn run unive") == ["universe"] and tried("jaxunlearn run mi") == ["mine.py"]
    assert tried("jaxunlearn run universe whp.alp") == ["whp.alpha=", "whp.alphas="]
    assert tried("jaxunlearn config show universe eval.relearn_b") == ["eval.relearn_blocks=", "eval.relearn_batch="]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gets_a_script_that_names_all_subcommands(shell, capsys):
    said = written(capsys, shell)
    assert all(name in said for name in ("evaluate", "anchors", "audit", "drop-frequent"))


def test_without_the_library_it_is_said_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert cli.main(["completion", "bash"]) == 1 and "pip install shtab" in capsys.readouterr().err
