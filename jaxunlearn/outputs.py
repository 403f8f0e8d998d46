"""Where a command may write: files of its own alone, no folder of somebody else, and one process at a time.

A folder that a command wrote to holds LEDGER: what each command wrote there, by name, with a mark of the content. A
file that is not in it, or was edited since, is somebody else's.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import socket
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jaxunlearn.errors import InputError
from jaxunlearn.files import json_text, read_json, write_whole

LEDGER = ".jaxunlearn.json"
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # a file system that has none
EDGE = 1 << 20  # bytes at both ends of a file that its mark depends on
PATIENCE = 5.0  # seconds for a process that was killed to let go of its lock


# ---- files that a command wrote


@contextmanager
def taken(folder: Path, names: Iterable[str], *, by: str, force: bool = False) -> Iterator[None]:
    """Refuse to overwrite what is not `by`'s own, then note in the ledger what the block writes.

    names: files of the folder that the block writes. by: the command. force: overwrite whatever has these names.
    Raises InputError as `refuse_foreign` does, and where the folder may not be written. What the block wrote before it
    failed is noted too, so that the same command goes on.
    """
    names = list(names)
    if not force:
        refuse_foreign(folder, names, by=by)
    before = {name: _marked(Path(folder) / name) for name in names}
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSED or str(folder) not in str(error.filename):
            raise
        raise InputError(f"{error.filename} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            note(folder, [n for n in names if _marked(Path(folder) / n) != before[n]], by=by)


def _marked(path: Path) -> str:
    return _mark(path) if path.is_file() else ""


def refuse_foreign(folder: Path, names: Iterable[str], *, by: str) -> None:
    """Raise InputError where a file of these names is in the folder and `by` did not write it, or it was edited."""
    if Path(folder).exists() and not Path(folder).is_dir():
        raise InputError(f"{folder} is a file; give a folder")
    found = sorted(name for name in names if os.path.lexists(Path(folder) / name) and not _own(folder, name, by))
    if found:
        whose = f"`jaxunlearn {by}` did not write there, or that was edited since"
        raise InputError(f"{folder} holds {_some(found)}, which {whose}; give another place, or --force to overwrite")


def refuse_full(folder: Path, *, by: str) -> None:
    """Raise InputError for a folder that holds anything but files that `by` wrote."""
    if not Path(folder).is_dir():
        return refuse_foreign(folder, (), by=by)
    others = [name for name in _files(folder) if not _own(folder, name, by)]
    if others:
        whose = f"which `jaxunlearn {by}` did not write, or which was edited since"
        raise InputError(f"--out {folder} holds {_some(others)}, {whose}; give a new folder, or --force to overwrite")
    return None


def refuse_around(folder: Path, inside: Iterable[Path], what: str = "--out") -> None:
    """Raise InputError for a folder that is one of these, or that holds one, by any link; --force does not help."""
    here = Path(folder).resolve()
    for path in map(Path, inside):
        if here == path.resolve():
            raise InputError(f"{what} {folder} is {path} itself; give another folder")
        if here in path.resolve().parents:
            raise InputError(f"{what} {folder} is a folder around {path}; give another folder")


def note(folder: Path, names: Iterable[str], *, by: str) -> None:
    """Note in the folder's ledger that `by` wrote these files, as far as they are there. Raises OSError."""
    made = {name: _mark(Path(folder) / name) for name in names if (Path(folder) / name).is_file()}
    if made:
        ledger = _ledger(folder)
        ledger[by] = {**ledger.get(by, {}), **made}
        write_whole(Path(folder) / LEDGER, json_text(ledger, indent=1, sort_keys=True) + "\n")


def replace_folder(made: Path, out: Path, *, by: str) -> None:
    """Put the folder `made` in the place of `out`: what `by` wrote there goes, other files stay.

    It is one step where all in `out` is by's own. Raises OSError.
    """
    out = out.resolve()
    others = [name for name in _files(out) if not _own(out, name, by)] if out.is_dir() else []
    if out.is_dir() and not others:
        old = out.with_name(f".{out.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        os.rename(out, old)
        os.rename(made, out)
        shutil.rmtree(old)
    elif out.is_dir():
        names = _files(made)
        # weights that stay would be read with or instead of the new ones
        for name in _files(out):
            if name not in names and (_own(out, name, by) or ".safetensors" in Path(name).suffixes):
                (out / name).unlink()
        for name in names:
            (out / name).parent.mkdir(exist_ok=True)
            os.replace(made / name, out / name)
        shutil.rmtree(made)
    else:
        os.rename(made, out)


def _files(folder: Path) -> list[str]:
    """Return all files and links in a folder and below it, and empty folders, but for the ledger."""
    paths = [p for p in sorted(Path(folder).rglob("*")) if p.is_symlink() or not p.is_dir() or not any(p.iterdir())]
    return [name for name in (p.relative_to(folder).as_posix() for p in paths) if name != LEDGER]


def _own(folder: Path, name: str, by: str) -> bool:
    path, mark = Path(folder) / name, _ledger(folder).get(by, {}).get(name)
    return mark is not None and path.is_file() and not path.is_symlink() and mark == _mark(path)


def _ledger(folder: Path) -> dict[str, dict[str, str]]:
    try:
        found = read_json(Path(folder) / LEDGER, dict)
    except InputError:
        return {}
    return found if all(isinstance(names, dict) for names in found.values()) else {}


def _mark(path: Path) -> str:
    """Return a hash of a file's size and both of its ends: an edit shows, and a large file costs nothing."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(EDGE))
        file.seek(max(size - EDGE, 0))
        digest.update(file.read(EDGE))
    return digest.hexdigest()


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


# ---- one process at a time


class Lock:
    """A lock on a file, which is free again when nobody holds this object, or when the process ends in any way."""

    def __init__(self, file):
        self._file = file

    def __del__(self):
        self._file.close()


_HELD: weakref.WeakValueDictionary[str, Lock] = weakref.WeakValueDictionary()


def lock(path: Path, what: str, patience: float | None = None) -> Lock:
    """Return the lock of a file, which is made; this process may ask for it again.

    what: what is locked, for the message. patience: seconds to wait for another process, PATIENCE if not given. On a
    file system without locks nothing is locked. Raises InputError, which names the holder's pid and host, where another
    process holds it, and OSError where the file cannot be written.
    """
    key = str(Path(path).resolve())
    if (held := _HELD.get(key)) is not None:
        return held
    end = time.monotonic() + (PATIENCE if patience is None else patience)
    while True:
        # closed by Lock
        file = Path(path).open("a+", encoding="utf-8")  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same(file, path):
                break
        except OSError as error:
            if error.errno in NO_LOCKS:
                break
            if not isinstance(error, BlockingIOError) or time.monotonic() > end:
                file.close()
                if not isinstance(error, BlockingIOError):
                    raise
                raise InputError(f"{what} is in use by {_holder(path)}; wait for its end, or give another") from None
        file.close()
        time.sleep(0.1)
    file.seek(0)
    file.truncate()
    file.write(json_text({"pid": os.getpid(), "host": socket.gethostname()}) + "\n")
    file.flush()
    _HELD[key] = found = Lock(file)
    return found


def _same(file, path: Path) -> bool:
    """Return whether an open file still has its name: its holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _holder(path: Path) -> str:
    try:
        found = read_json(path, dict)
        return f"process {found['pid']} on {found['host']}"
    except (InputError, KeyError):
        return "another process"
