"""Files of a model directory lie in it: a link to somewhere else would let an export copy any file of the user."""

import os
import stat
from pathlib import Path

from jaxunlearn.errors import InputError, shown

ENDS = (".json", ".safetensors", ".model", ".jinja")  # of the files that are read
FOLDER = "additional_chat_templates"  # the one folder within a model directory that is read


def inside(directory: Path, name: str) -> Path:
    """Return the path of a file of a model directory, which need not exist.

    Raises InputError for a name that leads out of the directory, for a link to a file elsewhere, and for what is no
    file. The blobs to which the snapshots of a hub cache link (snapshots/REVISION/x -> ../../blobs/HASH) belong to it.
    """
    directory, parts = Path(directory), name.split("/")
    if not name or "\0" in name or len(parts) > 2 or any(p in ("", ".", "..") for p in parts) or os.path.isabs(name):
        raise InputError(f"{directory} names the file {shown(name)}: expected the name of a file in it")
    path = directory / name
    try:
        root, target = directory.resolve(), path.resolve()
        kind = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise InputError(f"{path} is a link to nothing; fetch the model again") from None
        return path
    except (OSError, RuntimeError) as error:  # no permission, a name too long, a circle of links
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    cached = root.parent.name == "snapshots" and target.parent == root.parent.parent / "blobs"
    if not cached and not target.is_relative_to(root):
        raise InputError(
            f"{path} is a link to a file outside of the model's directory; what such files hold would be copied into "
            "exports. Put the file itself there"
        )
    if not stat.S_ISREG(kind):
        raise InputError(f"{path} is not a file; fetch the model again")
    return path


def refuse_links(directory: Path) -> None:
    """Raise InputError where a file of a model directory that would be read is not a file that lies in it."""
    directory = Path(directory)
    try:
        names = sorted(os.listdir(directory))
        more = sorted(os.listdir(directory / FOLDER)) if os.path.isdir(directory / FOLDER) else []
    except OSError as error:
        raise InputError(f"{directory} cannot be read: {error.strerror}") from None
    for name in [*names, *(f"{FOLDER}/{one}" for one in more)]:
        if name.endswith(ENDS):
            inside(directory, name)
