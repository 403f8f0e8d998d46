"""Sets of questions in a folder: which files there are, and a part of a set that is spread over all of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from jaxunlearn.errors import InputError

T = TypeVar("T")


def set_files(folder: str, names: Mapping[str, Sequence[str]], what: str) -> dict[str, Path]:
    """Return {set: file} of the sets that a folder has; of several names of a set, the first that is there.

    names: {set: names of its file, without .json}; what: whose files they are. Raises InputError where there is none.
    """
    found = {}
    for which, stems in names.items():
        there = [path for stem in stems if (path := Path(folder).expanduser() / f"{stem}.json").is_file()]
        found |= {which: there[0]} if there else {}
    if not found:
        wanted = ", ".join(f"{stems[0]}.json" for stems in names.values())
        raise InputError(f"{folder} holds none of {what}'s files; expected some of {wanted}")
    return found


def spread(items: Sequence[T], most: int) -> list[T]:
    """Return at most `most` items (0: all), evenly spread: the beginning of a file may be of one kind."""
    if not most or most >= len(items):
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, most).round().astype(int)]
