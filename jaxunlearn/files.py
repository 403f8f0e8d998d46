"""Files: text in one encoding and one form, JSON, hashes, writes that are whole or not there, data that is shipped."""

import contextlib
import hashlib
import html
import json
import math
import os
import re
import stat
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxunlearn.errors import Diverged, InputError

JSON_BYTES = 1 << 26  # of a file at most: twice the largest tokenizer.json
JSON_DEPTH = 100  # of nesting at most; no file of this package or of a model has more than 20
LONE = re.compile(r"\\u[dD][89a-fA-F]")  # half of a pair of escapes; it may lack the other half
HALF = re.compile("[\ud800-\udfff]")


def read_text(path: Path | str) -> str:
    """Return the text of a UTF-8 file, without the byte-order mark that some editors put first.

    All text that the package reads is read here. Raises OSError and UnicodeDecodeError, which is a ValueError.
    """
    return Path(path).read_text(encoding="utf-8-sig")


def read_json(path: Path | str, kind: type = object, pairs: Callable | None = None) -> Any:
    """Return what a UTF-8 JSON file holds; `kind` and `pairs` as in parse_json. All JSON files are read here.

    Raises InputError, with the file's name, where it cannot be read, is too large, or as parse_json says.
    """
    try:
        if (size := os.path.getsize(path)) > JSON_BYTES:
            raise InputError(f"{path} has {size:,} bytes; a JSON file of at most {JSON_BYTES:,} is read")
        text = read_text(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not valid JSON: byte {error.start} is not UTF-8") from None
    return parse_json(text, str(path), kind, pairs)


def parse_json(text: str, where: str, kind: type = object, pairs: Callable | None = None) -> Any:
    """Return the value of a JSON text; `where` names it in errors, `pairs` makes an object of its (name, value) pairs.

    kind: the type expected at the top, dict or list. Raises InputError where the text is no JSON or cut short, for
    another type, NaN, infinities, half a surrogate pair (no text file can hold it), and nesting beyond JSON_DEPTH.
    """
    try:
        value = json.loads(text, parse_constant=_not_finite, parse_float=_finite, object_pairs_hook=pairs)
        if _deeper(value, JSON_DEPTH):
            raise RecursionError
        if LONE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise InputError(f"{where} is not valid JSON here: it is nested deeper than {JSON_DEPTH} levels") from None
    except UnicodeEncodeError:
        raise InputError(f"{where} is not valid JSON: it holds half of a surrogate pair, which is no text") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"{where} is not valid JSON: {place}: {error.msg}") from None
    except ValueError as error:
        raise InputError(f"{where} is not valid JSON: {error}") from None
    if not isinstance(value, kind):
        expected = {dict: "a JSON object", list: "a JSON list"}.get(kind, kind.__name__)
        raise InputError(f"{where} holds a {type(value).__name__}, expected {expected}")
    return value


def _not_finite(name: str):
    raise ValueError(f"it holds {name}, which is no number of JSON")


def _finite(digits: str) -> float:
    return float(digits) if math.isfinite(float(digits)) else _not_finite(digits[:40])


def _deeper(value: Any, most: int) -> bool:
    """Return whether lists and objects stand in each other more than `most` deep."""
    row = [value]
    for _ in range(most + 1):
        holders = [one.values() if isinstance(one, dict) else one for one in row if isinstance(one, dict | list)]
        if not holders:
            return False
        row = [item for holder in holders for item in holder]
    return True


def json_text(value: Any, **form: Any) -> str:
    """Return a value as JSON, in the form that json.dumps' arguments say. All JSON is written here.

    Half of a surrogate pair, which a model may write, becomes "?", so that read_json takes what was written. Raises
    RunError, naming the place, for a number that is NaN or infinite: JSON has neither, and other programs stop at it.
    """
    try:
        text = json.dumps(value, allow_nan=False, **form)
        return json.dumps(_whole(value), **form) if LONE.search(text) or HALF.search(text) else text
    except ValueError:
        if place := next(_infinite(value), None):
            raise Diverged(f"a result is not a finite number: {place}; nothing was written") from None
        raise


def _whole(value: Any) -> Any:
    """Return a text without halves of characters, and lists and mappings with all texts in them so."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list | tuple) else value


def finite(value: Any) -> Any:
    """Return a number, list or mapping with None (JSON's null) in the place of numbers that are NaN or infinite."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _infinite(value: Any, place: str = ""):
    """Yield "place = number" of every number in lists and mappings that is not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{place or 'the value'} = {value}"
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, item in items:
        yield from _infinite(item, f"{place}.{key}" if place else str(key))


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
    try:
        with scratch.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except OSError:
        with contextlib.suppress(OSError):
            scratch.unlink()
        raise


def shared(path: Path) -> Path:
    """Give a file, made by a library for its owner alone (0600), the rights that umask leaves to any new file.

    Return it. Raises OSError.
    """
    probe = path.with_name(f".{path.name}.rights")  # umask itself can only be read by setting it
    probe.unlink(missing_ok=True)
    probe.touch()
    path.chmod(stat.S_IMODE(probe.stat().st_mode))
    probe.unlink()
    return path


def markdown_text(value: Any) -> str:
    """Return a value as plain text within a line or a table cell of Markdown: no HTML, no new line, no new cell."""
    return html.escape(" ".join(str(value).split()), quote=False).replace("|", "\\|")


def cache_folder() -> Path:
    """Return the folder in which this program keeps what it can make again ($XDG_CACHE_HOME, or ~/.cache).

    A user who has no home, as in some containers, gets a folder of their own among the temporary files, and a new one
    where that name is somebody else's: compiled programs are kept there.
    """
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "jaxunlearn"
    try:
        return Path.home() / ".cache" / "jaxunlearn"
    except RuntimeError:
        mine = Path(tempfile.gettempdir()) / f"jaxunlearn-{os.getuid()}"
        with contextlib.suppress(FileExistsError):
            mine.mkdir(mode=0o700)
        seen = mine.lstat()
        safe = seen.st_uid == os.getuid() and stat.S_IMODE(seen.st_mode) == 0o700 and stat.S_ISDIR(seen.st_mode)
        return mine if safe else Path(tempfile.mkdtemp(prefix="jaxunlearn-"))


def find_data(path: str) -> Path:
    """Return the path of a data file: an existing path, or the name of a shipped file (oz/dictionary.json)."""
    shipped = Path(__file__).parent / "data" / path
    return shipped if not Path(path).exists() and shipped.exists() else Path(path)
