"""SHA-256 of files as `sha256sum` prints it, and the list of a certificate's own files (SHA256SUMS)."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxunlearn import sealed
from jaxunlearn.errors import InputError
from jaxunlearn.files import read_text, write_whole

SUMS = "SHA256SUMS"
ASIDE = (".jaxunlearn.json", sealed.FILE)  # beside a model, no part of it


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content alone, so that any other program finds the same."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(path: Path, prefix: str = "") -> list[dict[str, Any]]:
    """Return {"name", "digest": {"sha256"}} of a file, or of every file in a folder: in-toto's ResourceDescriptors.

    Hidden files and seals are left out. Raises InputError where there is none.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; give a model's folder or a .gguf file")
    inside = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    names = [(p, p.relative_to(path).as_posix() if path.is_dir() else p.name) for p in inside]
    kept = [(p, n) for p, n in names if n not in ASIDE and not any(part.startswith(".") for part in n.split("/"))]
    if not kept:
        raise InputError(f"{path} holds no file")
    return [{"name": f"{prefix}{n}", "digest": {"sha256": sha256_of(p)}} for p, n in kept]


def write_sums(folder: Path, names: Sequence[str]) -> None:
    """Write SHA256SUMS of files of a folder, in the form that `sha256sum -c` reads."""
    write_whole(folder / SUMS, "".join(f"{sha256_of(folder / name)}  {name}\n" for name in names))


def read_sums(folder: Path) -> dict[str, str]:
    """Return {file: SHA-256} of SHA256SUMS. Raises InputError where there is none, or it is not in that form."""
    path = folder / SUMS
    if not path.is_file():
        raise InputError(f"{folder} is no certificate: it has no {SUMS}")
    rows = [line.split("  ", 1) for line in read_text(path).splitlines() if line.strip()]
    if any(len(row) != 2 or len(row[0]) != 64 or "/" in row[1] for row in rows):
        raise InputError(f"{path} is damaged: expected lines of a SHA-256, two spaces and a file's name")
    return {name: digest for digest, name in rows}
