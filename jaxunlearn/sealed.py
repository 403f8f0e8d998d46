"""What is saved is hashed, what is loaded is checked: a flipped bit never ends in other figures.

A folder (a model, its tokenizer and configuration) has sealed.json with the SHA-256 of each of its files. A JSON object
(a measurement, a line of metrics.jsonl) has a field SEAL with the SHA-256 of the rest of it. Both are made by the same
functions here. What has no seal is taken as it is: it is of an earlier version, or a person removed the seal.

Hashing takes about a second a GiB, and each file is hashed once a process. Size and time of change alone would not do:
a failing disk alters neither.
"""

import hashlib
from pathlib import Path
from typing import Any

from jaxunlearn.errors import InputError, RunError
from jaxunlearn.files import json_text, parse_json, read_json, sha256, write_whole

FILE, SEAL = "sealed.json", "seal"
READ = (".json", ".safetensors", ".model", ".jinja", ".txt", ".npy")  # suffixes of files that a loader may read


def digest(path: Path) -> str:
    """Return files.sha256 of a file (its name and content); it is read once a process unless it changes."""
    path = Path(path)
    stat = path.stat()  # of the file itself: by another link, or in a folder that was renamed, it is not read again
    key = (path.name, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    if key not in _KNOWN:
        _KNOWN[key] = sha256(path)
    return _KNOWN[key]


_KNOWN: dict[tuple, str] = {}


# ---- folders

BELOW = "additional_chat_templates/"  # the only folder below a model from which a loader reads


def seal(folder: Path) -> None:
    """Write sealed.json with the hash of every file in a folder and below it."""
    found = {name: digest(folder / name) for name in _files(folder)}
    write_whole(folder / FILE, json_text(sealed({"files": found}), indent=1) + "\n")


def is_sealed(folder: Path) -> bool:
    """Return whether a folder has hashes to check it by."""
    return (Path(folder) / FILE).is_file()


def check(folder: Path, how: str = "") -> None:
    """Raise RunError, naming the file, where a sealed folder does not hold what was saved there.

    how: what to do to go on; by default to delete the folder, so that it is made again.
    """
    if found := fault(folder):
        how = how or f"put the file back, or delete {folder}: what was there is then made again"
        raise RunError(f"{found}; {how}. Where the change was meant, delete {Path(folder) / FILE}")


def fault(folder: Path) -> str:
    """Return what a sealed folder holds that was not saved there, "" where all is as it was or there is no seal."""
    folder = Path(folder)
    if not is_sealed(folder):
        return ""
    listed, there = _listed(folder / FILE), _files(folder)
    if listed is None:
        return f"{folder / FILE} is damaged, so that the files beside it cannot be checked"
    for name in listed:
        if name not in there:
            return f"{folder / name} is missing"
        if digest(folder / name) != listed[name]:
            return f"{folder / name} is not what was saved there: its SHA-256 is another"
    more = [
        name for name in there if name not in listed and name.endswith(READ) and name.startswith(BELOW) == ("/" in name)
    ]
    return f"{folder / more[0]} was added to what was saved there" if more else ""


def _listed(path: Path) -> dict[str, str] | None:
    """Return {file: hash} of sealed.json; None where it is damaged itself."""
    try:
        found = read_json(path, dict)
    except InputError:
        return None
    whole = SEAL in found and intact(found) and isinstance(found.get("files"), dict)
    return found["files"] if whole else None


def _files(folder: Path) -> list[str]:
    """Return the files in a folder and below it; hidden ones, which no loader reads, are left out."""
    paths = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != FILE and not p.name.endswith(".writing"))
    names = (p.relative_to(folder).as_posix() for p in paths)
    return [name for name in names if not any(part.startswith(".") for part in name.split("/"))]


# ---- JSON objects


def sealed(content: dict) -> dict:
    """Return a JSON object, as it will be read back, with its own hash in the field SEAL."""
    written = parse_json(json_text(content), "what is saved", dict)  # keys are texts then, halves of characters "?"
    return written | {SEAL: _of(written)}


def intact(content: Any) -> bool:
    """Return whether a JSON object is as it was sealed; True where it has no seal."""
    return not isinstance(content, dict) or SEAL not in content or content[SEAL] == _of(content)


def plain(content: dict) -> dict:
    """Return a JSON object without its seal."""
    return {key: value for key, value in content.items() if key != SEAL}


def _of(content: dict) -> str:
    return hashlib.sha256(json_text(plain(content), sort_keys=True).encode()).hexdigest()
