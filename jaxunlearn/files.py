"""Files: data that ships with the package, whole writes, hashes."""

import hashlib
import os
from pathlib import Path


def sha256(path: Path) -> str:
    """Return the hash of a file, or of a folder's names and files."""
    digest = hashlib.sha256()
    for file in sorted(p for p in Path(path).rglob("*") if p.is_file()) if Path(path).is_dir() else [Path(path)]:
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            while part := stream.read(1 << 22):
                digest.update(part)
    return digest.hexdigest()


def sha256_text(*texts: str) -> str:
    """Return the hash of texts in their order."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode())
    return digest.hexdigest()


def write_whole(path: Path, text: str) -> None:
    """Replace a file in one step, so that a kill leaves the old or the new one."""
    scratch = path.with_name(f".{path.name}.writing")
    with scratch.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(scratch, path)


def find_data(path: str) -> Path:
    """Resolve a data file: a path, or the name of one that ships with the package (oz/dictionary.json)."""
    shipped = Path(__file__).parent / "data" / path
    return shipped if not Path(path).exists() and shipped.exists() else Path(path)
