"""The rules of the architecture: layers, cycles, names, sizes, and tests that mirror modules.

They are checked on the source by ast; no module of the package is imported.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "jaxunlearn"
LAYERS = (  # a package imports from lower rows alone, never from another one of its own row
    ("errors",),
    ("intervals",),
    ("estimates", "files"),
    ("sealed", "outputs"),
    ("config", "parallel", "report"),
    ("kernels", "data", "llm"),
    ("models",),
    ("training", "anchors"),
    ("whp", "evals"),
    ("methods",),
    ("run",),
    ("attacks",),
    ("stages",),
    ("perf", "certificate", "serving"),
    ("cli",),
)
ROW = {name: row for row, names in enumerate(LAYERS) for name in names}
TOP = ("__init__", "__main__")  # they stand above the layers: the names that a fork imports, the command
WITHOUT_JAX = ("config", "data", "llm", "report")
LINES, FUNCTION, POSITIONAL = 350, 60, 6


def modules() -> dict[str, Path]:
    """Return {dotted name below jaxunlearn: file}."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and parts[:-1] else parts)] = path
    return found


MODULES = modules()
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def imports(name: str, tree: ast.AST) -> set[str]:
    """Return the modules of the package that a module imports, lazily or for annotations too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):  # never relative: ruff, TID252
            whole = {f"{node.module}.{a.name}" for a in node.names}
            found |= {full if full.removeprefix("jaxunlearn.") in MODULES else node.module for full in whole}
    ours = {full.removeprefix("jaxunlearn.") for full in found if full and full.split(".")[0] == "jaxunlearn"}
    return ours - {name}


GRAPH = {name: imports(name, tree) for name, tree in TREES.items()}


def test_every_package_has_a_row_and_imports_from_lower_rows_alone():
    wrong = []
    for name, seen in GRAPH.items():
        mine = name.split(".")[0]
        if mine in TOP:
            continue
        assert mine in ROW, f"{mine} stands in no row of LAYERS"
        for other in sorted(seen):
            theirs = other.split(".")[0]
            if theirs != mine and ROW.get(theirs, len(LAYERS)) >= ROW[mine]:
                wrong.append(f"{name} imports {other}")
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_through_others():
    state: dict[str, int] = {}
    cycles = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if state.get(name) == 2:
            return
        if name in path:
            cycles.append(" > ".join((*path[path.index(name) :], name)))
            return
        for other in sorted(GRAPH.get(name, ())):
            visit(other, (*path, name))
        state[name] = 2

    for name in GRAPH:
        if name not in TOP:
            visit(name, ())
    assert not cycles, "\n".join(cycles)


def test_internal_imports_stand_at_the_top_of_a_file():
    """cli/ and the package's own __init__ load what a subcommand needs; everybody else says it up front."""
    lazy = []
    for name, tree in TREES.items():
        if name.split(".")[0] in ("cli", *TOP):
            continue
        for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)):
            lazy += [f"{name}: {function.name}" for other in imports(name, function)]
    assert not lazy, "\n".join(lazy)


def uses_jax(tree: ast.AST) -> bool:
    """Return whether a module imports jax or what builds on it, also inside a function."""
    named = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    named += [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    return any(n.split(".")[0] in ("jax", "flax", "optax", "orbax") for n in named)


JAXED = {name for name, tree in TREES.items() if uses_jax(tree)}


def reached(name: str) -> set[str]:
    """Return a module and all that importing it imports: what it names, and the packages that hold these."""
    found, ahead = set(), [name]
    while ahead:
        one = ahead.pop()
        if one not in found:
            found.add(one)
            ahead += [*GRAPH.get(one, ()), *([one.rpartition(".")[0]] if "." in one else [])]
    return found


@pytest.mark.parametrize("package", WITHOUT_JAX)
def test_packages_that_need_no_accelerator_import_no_jax(package):
    wrong = []
    for name in TREES:
        if name.split(".")[0] != package:
            continue
        wrong += [f"{name} imports jax through {by}" for by in reached(name) if by in JAXED]
    assert not wrong, "\n".join(wrong)


def method_names() -> set[str]:
    """Return the names of the methods: every name=... of a call in methods/."""
    trees = [tree for name, tree in TREES.items() if name.split(".")[0] == "methods"]
    calls = [n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Call)]
    named = [k.value for c in calls if getattr(c.func, "id", "") == "Method" for k in c.keywords if k.arg == "name"]
    return {v.value for v in named if isinstance(v, ast.Constant)}


SECTIONS = ("whp",)  # a section of the configuration that shares its method's name
NAMED = {  # where else a method's name may stand, and why
    "config.training": "the default of unlearn.method",
    "config.fields": "the default of sweep.methods",
}


def test_a_method_is_named_in_its_own_file_alone():
    names = method_names()
    assert len(names) > 20, "the methods are not found"
    wrong = []
    for name, tree in TREES.items():
        if name.split(".")[0] == "methods" or name in NAMED:
            continue
        wrong += [
            f"{name}:{n.lineno}: {n.value!r}"
            for n in ast.walk(tree)
            if isinstance(n, ast.Constant) and n.value in names - set(SECTIONS)
        ]
        wrong += [f"{name}:{n.lineno}: a comparison with {s!r}" for n, s in compared(tree) if s in SECTIONS]
    assert not wrong, "\n".join(wrong)


def compared(tree: ast.AST):
    """Yield (comparison, text) of each comparison of a name or method with a text."""
    for node in (n for n in ast.walk(tree) if isinstance(n, ast.Compare)):
        sides = [node.left, *node.comparators]
        if any(getattr(s, "attr", getattr(s, "id", "")) in ("name", "method") for s in sides):
            yield from ((node, s.value) for s in sides if isinstance(s, ast.Constant))


def test_the_equations_relu_stands_in_one_file():
    """Where labels are made or shown, relu(a - b) and jnp.maximum(a - b, 0) are written in whp/equation.py alone."""
    found = []
    for name, tree in ((n, t) for n, t in TREES.items() if n.split(".")[0] in ("whp", "methods", "stages", "perf")):
        for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)):
            differs = any(isinstance(a, ast.BinOp) and isinstance(a.op, ast.Sub) for a in call.args)
            by_jax = getattr(call.func.value, "id", "") in ("jnp", "nn")
            if by_jax and differs and call.func.attr in ("relu", "maximum", "clip"):
                found.append(name)
    assert found == ["whp.equation"]


def test_no_module_uses_a_private_name_of_another():
    wrong = []
    for name, tree in TREES.items():
        for node in (n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)):
            if (node.module or "").split(".")[0] == "jaxunlearn":
                wrong += [f"{name}: {a.name} of {node.module}" for a in node.names if a.name.startswith("_")]
        local = {a.asname or a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names
                 if f"{n.module}.{a.name}".removeprefix("jaxunlearn.") in MODULES}  # fmt: skip
        for node in (n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr.startswith("_")):
            if isinstance(node.value, ast.Name) and node.value.id in local and not node.attr.startswith("__"):
                wrong.append(f"{name}:{node.lineno}: {node.value.id}.{node.attr}")
    assert not wrong, "\n".join(wrong)


def test_partition_specs_are_written_in_one_file():
    wrong = []
    for name, tree in TREES.items():
        if name != "parallel.sharding":
            nodes = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute | ast.alias)]
            named = [(getattr(n, "attr", getattr(n, "name", "")), n) for n in nodes]
            wrong += [f"{name}:{n.lineno}" for what, n in named if what == "PartitionSpec"]
    assert not wrong, "\n".join(wrong)


def test_files_functions_and_signatures_stay_small():
    wrong = []
    for name, tree in TREES.items():
        lines = len(MODULES[name].read_text(encoding="utf-8").splitlines())
        wrong += [f"{name}: {lines} lines"] if lines > LINES else []
        for f in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)):
            length, taken = f.end_lineno - f.lineno + 1, len(f.args.posonlyargs) + len(f.args.args)
            taken -= [a.arg for a in f.args.args[:1]] in (["self"], ["cls"])
            wrong += [f"{name}: {f.name} has {length} lines"] if length > FUNCTION else []
            wrong += [f"{name}: {f.name} takes {taken} positional arguments"] if taken > POSITIONAL else []
    assert not wrong, "\n".join(wrong)


# ---- tests mirror modules

WHOLE_RUN = "a stage; its tests are whole runs: tests/stages/test_stages.py"
ELSEWHERE = {  # modules without a test file of their name: where they are tested, or why not
    "__init__": "re-exports",
    "__main__": "one call; tests/cli/test_cli.py runs it",
    "attacks.__main__": "one call; tests/attacks/test_main.py runs it",
    **dict.fromkeys(("anchors", "anchors.auditing", "anchors.building", "data", "kernels"), "a docstring"),
    "evals": "METRICS: tests/evals/test_metrics.py",
    **dict.fromkeys(("llm", "models", "parallel", "perf", "report", "serving", "training", "whp"), "a docstring"),
    "cli.model": "tests/stages/test_stages.py (generate, score), tests/stages/test_export.py",
    "cli.perf": "tests/perf/test_bench.py, tests/perf/test_plan.py",
    "config": "re-exports",
    "config.attacks": "fields alone: tests/config/test_fields.py",
    "evals.building": "a docstring",
    "config.training": "fields alone: tests/config/test_fields.py",
    "data.universe.relations": "tables: tests/data/universe/test_general.py, test_vocabulary.py",
    "parallel.preemption": "tests/training/test_loop.py, tests/stages/test_stages.py",
    "certificate": "a docstring",
    **dict.fromkeys(("certificate.certify", "certificate.measured", "cli.audit"), f"{WHOLE_RUN}, certificates"),
    "stages.evaluate": WHOLE_RUN,
}


def places_of(path: Path) -> list[Path]:
    """Return where the tests of a module may stand: those of a package in test_init.py, or under its name."""
    folder = ROOT / "tests" / path.relative_to(PACKAGE).parent
    if path.name != "__init__.py":
        return [folder / f"test_{path.stem}.py"]
    own = f"test_{path.parent.name}.py"
    return [folder / "test_init.py", folder / own, folder.parent / own]


def test_every_module_has_a_test_file_of_its_name():
    unknown = sorted(ELSEWHERE.keys() - MODULES.keys())
    assert not unknown, f"modules that are no more stand among the exceptions: {unknown}"
    lacking = [n for n, path in MODULES.items() if not any(t.is_file() for t in places_of(path))]
    untested = sorted(set(lacking) - ELSEWHERE.keys())
    assert not untested, f"modules without a test file of their name: {untested}"
    assert not ELSEWHERE.keys() - set(lacking), "modules that have a test file of their name need no exception"
