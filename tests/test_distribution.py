"""What is shipped: the wheel and the sdist, built here; the Dockerfile's and the citation's own words."""

import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest
import yaml
from support.paths import ROOT

import jaxunlearn

SOURCES = ("jaxunlearn", "configs", "tests", "docs", "examples", "launch")
BUILD = """
import sys
from setuptools import build_meta
out = sys.argv[1]  # which setuptools takes for its own
print(build_meta.build_wheel(out), build_meta.build_sdist(out))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return (wheel, sdist), built from a copy of the sources, for building leaves files beside them."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")
    kept = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in SOURCES:
        shutil.copytree(ROOT / name, copy / name, ignore=kept)
    for path in (p for p in ROOT.iterdir() if p.is_file() and p.name != ".git"):
        shutil.copy(path, copy)
    done = subprocess.run([sys.executable, "-c", BUILD, out], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [out / name for name in done.stdout.split()[-2:]]


def shipped():
    """Return the files of the package as the wheel should have them."""
    kept = {p.relative_to(ROOT) for p in (ROOT / "jaxunlearn").rglob("*") if p.is_file() and p.suffix != ".pyc"}
    return {p.as_posix() for p in kept} | {f"jaxunlearn/configs/{p.name}" for p in (ROOT / "configs").glob("*.py")}


def test_the_wheel_holds_the_package_with_its_data_and_configurations_and_nothing_else(built):
    with zipfile.ZipFile(built[0]) as wheel:
        names = {n for n in wheel.namelist() if ".dist-info/" not in n}
        told = wheel.read(f"jaxunlearn-{jaxunlearn.__version__}.dist-info/METADATA").decode()
        points = wheel.read(f"jaxunlearn-{jaxunlearn.__version__}.dist-info/entry_points.txt").decode()
    assert names == shipped()
    assert {"jaxunlearn/py.typed", "jaxunlearn/data/oz/prompts.json", "jaxunlearn/configs/universe.py"} <= names
    assert any(n.startswith("jaxunlearn/report/templates/") for n in names)
    for line in ("License-Expression: Apache-2.0", "License-File: LICENSE", "Requires-Python: >=3.11",
                 "Author: The jaxunlearn maintainers", "Classifier: Typing :: Typed",
                 "Description-Content-Type: text/markdown", "Project-URL: Paper, https://arxiv.org/abs/2310.02238",
                 "Provides-Extra: eval"):  # fmt: skip
        assert f"\n{line}\n" in told
    assert "\n# jaxunlearn\n" in told and "example.com" not in told
    assert "[console_scripts]\njaxunlearn = jaxunlearn.__main__:main" in points
    assert "[lm_eval.models]\njaxunlearn = jaxunlearn.cli.harness:JaxUnlearn" in points


def test_the_sdist_holds_what_the_wheel_is_made_of_and_the_tests(built):
    with tarfile.open(built[1]) as sdist:
        names = {n.partition("/")[2] for n in sdist.getnames()}
    sources = {n.removeprefix("jaxunlearn/") if n.startswith("jaxunlearn/configs/") else n for n in shipped()}
    more = {"setup.py", "pyproject.toml", "LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "Makefile",
            "docs/api.md", "examples/quickstart.ipynb", "tests/test_distribution.py"}  # fmt: skip
    assert not (sources | more) - names and not [n for n in names if n.endswith(".pyc")]


def test_the_citation_names_this_version_and_licence():
    told = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= told.keys()
    assert str(told["version"]) == jaxunlearn.__version__ and told["license"] == "Apache-2.0"
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## {re.escape(jaxunlearn.__version__)}\b", changes, re.MULTILINE)


def instructions():
    """Return [(name, arguments)] of the Dockerfile."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(name.upper(), rest) for name, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def test_the_dockerfile_copies_what_is_there_and_what_setup_needs():
    copied = [name for kind, rest in instructions() if kind == "COPY" for name in shlex.split(rest)[:-1]]
    assert all((ROOT / name).exists() for name in copied)
    assert {"setup.py", "pyproject.toml", "README.md", "LICENSE", "jaxunlearn", "configs"} == set(copied)
    mounted = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if '-v "$PWD/' in line]
    assert mounted and all("mkdir -p runs &&" in line for line in mounted), "Docker would make the folder for root"
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert let_in == set(copied)
    stages = {rest.split()[2]: rest.split()[0] for kind, rest in instructions() if kind == "FROM"}
    assert stages == {"source": "python:3.12-slim", "cpu": "source", "cuda": "source"}
    told, installs = (ROOT / "setup.py").read_text(), [rest for _, rest in instructions() if "pip install" in rest]
    extras = [set(re.findall(r"\w+", re.findall(r"'\.\[(.*?)\]'", rest)[0])) for rest in installs]
    assert len(extras) == 2 and all(f'"{name}":' in told for name in extras[0] | extras[1]) and "gpu" in extras[1]
