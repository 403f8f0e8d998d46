"""What a result was made by: the versions of this package and of the libraries, and the commit of a checkout."""

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "transformers", "tokenizers", "numpy")
PACKAGE = Path(__file__).parents[1]
PATIENCE = 10  # seconds for git, which may wait for a slow disk


def versions() -> dict[str, str]:
    """Return the versions that a result depends on; a checkout that was not installed has none of its own."""
    return {"python": platform.python_version()} | {name: version_of(name) for name in ("jaxunlearn", *LIBRARIES)}


def version_of(name: str) -> str:
    """Return the version of a package, "not installed" without one."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


@cache
def code(package: Path = PACKAGE) -> dict[str, Any]:
    """Return {"version", "commit", "dirty"} of the code that runs; the last two where it is a checkout's.

    commit: the hash of HEAD. dirty: whether tracked files of the package or of configs/ differ from it. Without git,
    outside a checkout, and for a package that lies in somebody else's repository, there is the version alone.
    """
    found: dict[str, Any] = {"version": version_of("jaxunlearn")}
    top = package.parent
    root, commit = _git(top, "rev-parse", "--show-toplevel"), _git(top, "rev-parse", "HEAD")
    if root is None or commit is None or Path(root).resolve() != top.resolve():
        return found
    if not _git(top, "ls-files", "--", package.name):
        return found  # beside a repository's files, and none of them
    changed = _git(top, "status", "--porcelain", "--untracked-files=no", "--", package.name, "configs")
    return found | {"commit": commit, "dirty": bool(changed)}


def _git(folder: Path, *asked: str) -> str | None:
    """Return what git says, None where it is missing, slow or refuses."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *asked], capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
