"""Files: text in one encoding and one form, hashes, writes that are whole or not there, data that is shipped."""

import hashlib
import html
import os
import unicodedata
from pathlib import Path
from typing import Any


def read_text(path: Path | str) -> str:
    """Return the text of a UTF-8 file, without the byte-order mark that some editors put first.

    All text that the package reads is read here. Raises OSError and UnicodeDecodeError, which is a ValueError.
    """
    return Path(path).read_text(encoding="utf-8-sig")


def nfc(value: Any) -> Any:
    """Return a text in Unicode's composed form (NFC), and lists and mappings with all texts in them so."""
    if isinstance(value, str):
        return value if value.isascii() else unicodedata.normalize("NFC", value)
    if isinstance(value, dict):
        return {nfc(key): nfc(item) for key, item in value.items()}
    return type(value)(map(nfc, value)) if isinstance(value, list | tuple) else value


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


def markdown_text(value: Any) -> str:
    """Return a value as plain text within a line or a table cell of Markdown: no HTML, no new line, no new cell."""
    return html.escape(" ".join(str(value).split()), quote=False).replace("|", "\\|")


def cache_folder() -> Path:
    """Return the folder in which this program keeps what it can make again ($XDG_CACHE_HOME, or ~/.cache)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxunlearn"


def find_data(path: str) -> Path:
    """Return the path of a data file: an existing path, or the name of a shipped file (oz/dictionary.json)."""
    shipped = Path(__file__).parent / "data" / path
    return shipped if not Path(path).exists() and shipped.exists() else Path(path)
