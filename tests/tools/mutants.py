"""Plant each fault of support/mutants.py in a copy of the tree, run the tests that should see it, and print a table.

    python tests/tools/mutants.py [TEXT ...] [--out FILE]     those whose name holds a text; none: all

The checkout is not changed. Ends with 1 where a fault survives; a patch that does not apply is an error beforehand. All
of them take about a quarter of an hour on two idle cores.
"""

import argparse
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
if importlib.util.find_spec("libtpu"):  # as tests/conftest.py has it, which is too late here
    os.environ.setdefault("JAX_PLATFORMS", "cpu")

# Loaded once, before the forks; nothing of the package, and no device is touched.
import flax.nnx  # noqa: F401
import jax.numpy  # noqa: F401
import optax  # noqa: F401
import pydantic  # noqa: F401
import pytest
import tokenizers  # noqa: F401
import tyro  # noqa: F401
from orbax.checkpoint import v1  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support.mutants import MUTANTS, Mutant  # noqa: E402

TREE = ("jaxunlearn", "tests", "configs", "pyproject.toml", "README.md")


def main() -> int:
    """Plant the chosen faults and return 1 where one survives."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="*", help="a part of a fault's name")
    parser.add_argument("--out", type=Path, help="a file for the table, written after every fault")
    given = parser.parse_args()
    chosen = [m for m in MUTANTS if not given.texts or any(text in m.name for text in given.texts)]
    if stale := [f"{m.name}: {n} times in {m.file}" for m in chosen if (n := found(m)) != 1]:
        sys.exit("patches that no longer apply (their text must stand once):\n  " + "\n  ".join(stale))
    lines = ["| planted | where | killed by | seconds |", "|---|---|---|---|"]
    print("\n".join(lines), flush=True)
    survived = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in TREE:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, Path(folder) / name)
        for mutant in chosen:
            began, killer = time.monotonic(), killed_by(mutant, Path(folder))
            survived += not killer
            lines.append(
                f"| {mutant.name} | {mutant.file} | {killer or '**survived**'} | {time.monotonic() - began:.0f} |"
            )
            print(lines[-1], flush=True)
            if given.out:
                given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"\n{len(chosen)} planted, {survived} survived")
    return int(survived > 0)


def found(mutant: Mutant) -> int:
    """Return how often the text of a fault stands in its file."""
    return (ROOT / "jaxunlearn" / mutant.file).read_text(encoding="utf-8").count(mutant.old)


def killed_by(mutant: Mutant, folder: Path) -> str:
    """Return the test that fails with the fault planted, "" where none does."""
    path = folder / "jaxunlearn" / mutant.file
    sound = path.read_text(encoding="utf-8")
    path.write_text(sound.replace(mutant.old, mutant.new), encoding="utf-8")
    code, said = tested(mutant.tests, folder)
    path.write_text(sound, encoding="utf-8")
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+(?: \S+\])?)", said, re.MULTILINE)
    if code not in (0, 1, 2):  # 2: the tests cannot even be collected
        sys.exit(f"{mutant.name}: pytest ended with {code}\n{said[-2000:]}")
    return failed[0].removeprefix("tests/") if code and failed else ""


def tested(tests: tuple[str, ...], folder: Path) -> tuple[int, str]:
    """Return (exit code, output) of pytest on a copy of the tree, in a fork of this process: libraries are loaded."""
    with tempfile.TemporaryFile("w+") as out:
        child = os.fork()
        if not child:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
            os.chdir(folder)
            for name in [n for n in sys.modules if n.split(".")[0] == "support"]:
                del sys.modules[name]
            sys.path[:] = [str(folder), *[p for p in sys.path if not p.startswith(str(ROOT / "tests"))]]
            cache = {"JAXUNLEARN_CACHE": os.environ.get("JAXUNLEARN_CACHE", str(folder / ".jax_cache"))}
            os.environ.update(cache | {"PYTHONPATH": str(folder)})
            code = pytest.main(["-x", "-q", "-n", "0", "-p", "no:cacheprovider", *tests])
            sys.stdout.flush()
            os._exit(int(code))
        status = os.waitpid(child, 0)[1]
        out.seek(0)
        return os.waitstatus_to_exitcode(status), out.read()


if __name__ == "__main__":
    sys.exit(main())
