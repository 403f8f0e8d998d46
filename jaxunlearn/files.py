"""Files: hashes, writes that are whole or not there, data that ships with the package."""

import hashlib
import os
from pathlib import Path


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's name and content, or of the names and contents in a folder, sorted by path."""
    digest = hashlib.sha256()
    for file in sorted(p for p in Path(path).rglob("*") if p.is_file()) if Path(path).is_dir() else [Path(path)]:
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            while part := stream.read(1 << 22):
                digest.update(part)
    return digest.hexdigest()


def sha256_text(*texts: str) -> str:
    """Return the SHA-256 of texts, joined in their order."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode())
    return digest.hexdigest()


def write_whole(path: Path, text: str) -> None:
    """Write a file in one step: a kill leaves the old content or the new one, never a part. Raises OSError."""
    scratch = path.with_name(f".{path.name}.writing")
    with scratch.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(scratch, path)


def cache_folder() -> Path:
    """Return the folder in which this program keeps what it can make again ($XDG_CACHE_HOME, or ~/.cache)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxunlearn"


def find_data(path: str) -> Path:
    """Return the path of a data file: an existing path, or the name of a shipped file (oz/dictionary.json)."""
    shipped = Path(__file__).parent / "data" / path
    return shipped if not Path(path).exists() and shipped.exists() else Path(path)
