"""The names that a program imports: stable, listed, typed and documented; the examples in docstrings hold."""

import ast
import doctest
import inspect
import json
import re
import subprocess
import sys
from importlib import import_module
from pkgutil import iter_modules

import pytest
from support.command import env
from support.paths import ROOT

import jaxunlearn

PAGE = ROOT / "docs" / "api.md"
SOURCE = (ROOT / "jaxunlearn" / "__init__.py").read_text()


LIGHT = (  # a fresh process loads these in a second; the others need jax
    "Config", "InputError", "RunError", "load_config", "load_dictionary", "load_prompts", "load_tokenizer",
    "make_blocks", "read_documents",
)  # fmt: skip


def test_a_name_is_the_same_object_whatever_is_imported_in_between():
    """In a fresh process: a module imported below a package becomes its attribute, and may take a name's place."""
    code = f"""
import importlib, sys, types
import jaxunlearn as j
assert set(j.__all__) <= set(dir(j)) and not set(j.__all__) & vars(j).keys() and "numpy" not in sys.modules
first = {{name: getattr(j, name) for name in {LIGHT}}}
for module in set(j._WHERE.values()) - {{j._WHERE[n] for n in set(j.__all__) - set({LIGHT})}}:
    importlib.import_module("jaxunlearn." + module)
for name in first:
    assert getattr(j, name) is first[name] and not isinstance(first[name], types.ModuleType), name
from jaxunlearn import load_config
assert load_config is j.load_config
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env())
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", jaxunlearn.__all__)
def test_every_name_is_an_object_of_its_module(name):
    vars(jaxunlearn).pop(name, None)
    first = getattr(jaxunlearn, name)
    module = import_module(f"jaxunlearn.{jaxunlearn._WHERE[name]}")
    assert first is getattr(jaxunlearn, name) is getattr(module, name) and not inspect.ismodule(first)


def test_no_module_below_the_package_has_an_exported_name():
    below = {module.name for module in iter_modules(jaxunlearn.__path__)}
    assert {"models", "run", "config"} <= below and not below & set(jaxunlearn.__all__)
    with pytest.raises(AttributeError, match="no attribute 'genrate'; it has METHODS, Batch"):
        jaxunlearn.genrate  # noqa: B018


def test_what_a_type_checker_sees_is_what_is_loaded():
    tree = ast.parse(SOURCE)
    block = next(n for n in tree.body if isinstance(n, ast.If) and getattr(n.test, "id", "") == "TYPE_CHECKING")
    seen = {a.name: n.module.removeprefix("jaxunlearn.") for n in block.body for a in n.names}
    assert seen == jaxunlearn._WHERE and sorted(seen) == sorted(jaxunlearn.__all__)
    assert (ROOT / "jaxunlearn" / "py.typed").is_file()
    written = re.search(r'version="([^"]+)"', (ROOT / "setup.py").read_text())
    assert written and written[1] == jaxunlearn.__version__


def test_a_type_checker_knows_the_names_and_their_types(tmp_path):
    pytest.importorskip("pyrefly")
    (tmp_path / "mine.py").write_text(
        "import jaxunlearn as j\nj.load_config('universe').whp.alpha + 1\nj.load_config(3)\nj.genrate\n"
    )
    (tmp_path / "pyrefly.toml").write_text("")  # without one only the plainest faults are told
    done = subprocess.run(
        [sys.executable, "-m", "pyrefly", "check", "--python-interpreter-path", sys.executable, "--search-path", ROOT,
         "--output-format", "json", tmp_path / "mine.py"], capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    found = [(e["line"], e["name"]) for e in json.loads(done.stdout)["errors"]]
    assert found == [(3, "bad-argument-type"), (4, "missing-attribute")], done.stdout + done.stderr


# ---- what is documented

EXAMPLES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "jaxunlearn").rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_in_docstrings_hold(name, mesh):
    module = import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    cases = [case for case in finder.find(module, name) if case.examples]
    assert cases, f"{name}: an example that doctest does not find"
    runner = doctest.DocTestRunner(verbose=False)
    for case in cases:
        runner.run(case, out=lambda text: pytest.fail(text, pytrace=False))


def test_the_page_lists_every_name_with_its_signature():
    rows = dict(re.findall(r"^\| `(\w+)(?:`|(?=\())([^|]*)\|", PAGE.read_text(), re.MULTILINE))
    assert sorted(rows) == sorted(jaxunlearn.__all__)
    for name, given in rows.items():
        thing = getattr(jaxunlearn, name)
        if inspect.isfunction(thing):
            told = [p.split("=")[0].split(":")[0].strip(" *") for p in given.strip(" `()").split(",")]
            assert [t for t in told if t] == list(inspect.signature(thing).parameters), name
