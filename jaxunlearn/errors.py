"""The two errors that the command prints without a traceback: bad input (exit code 2), a failed run (exit code 1)."""

import errno
import re


class InputError(ValueError):
    """Bad input; the message says what was given, what was expected and what to do. Exit code 2."""


class RunError(RuntimeError):
    """A run that began with good input and failed, for example by a NaN loss or a full disk. Exit code 1."""


def shown(value: object, most: int = 80) -> str:
    """Return a value that somebody else gave, for a message: on one line, in ASCII, cut after `most` characters."""
    text = ascii(value[: most + 1] if isinstance(value, str) else value)
    return text if len(text) <= most else f"{text[:most]}..."


def named(name: str) -> str:
    """Return a name that somebody else gave, for a message: as it is where it is of ASCII letters, digits, . _ -"""
    plain = name.isascii() and re.sub("[._-]", "", name).isalnum() and len(name) <= 200
    return name if plain else shown(name)


class Diverged(RunError):
    """A run whose numbers are no longer finite: of a setting, a result like any other."""


FULL = ("No space left", "File too large", "Read-only file system", "Disk quota")  # what a disk says
NO_ROOM = (  # what a device or the host says
    "Out of memory", "out of memory", "Cannot allocate memory", "RESOURCE_EXHAUSTED", "Attempting to allocate",
    "Attempting to reserve", "Failed to allocate",
)  # fmt: skip


def no_memory(error: BaseException) -> str:
    """Return what to lower where an error is a lack of memory, of a device or of the host; "" where it is not."""
    said = str(error)
    lacks = isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
    if not lacks and (any(words in said for words in FULL) or not any(words in said for words in NO_ROOM)):
        return ""
    first = f" ({said.strip().split(chr(10))[0][:200]})" if said.strip() else ""
    return (
        f"out of memory{first}. Lower unlearn.batch or reinforce.batch and raise `accumulate` by as much, which "
        "changes no result; lower whp.label_batch or eval.batch; or set compute=bfloat16, reinforce.lora.rank and "
        "unlearn.lora.rank, or mesh.fsdp=-1 over more devices. `jaxunlearn plan CONFIG` says what fits. What was "
        "finished is kept"
    )


def no_disk(error: BaseException) -> bool:
    """Return whether an error is a full or read-only disk; libraries may hide the OSError."""
    if no_memory(error):
        return False
    return isinstance(error, OSError) or any(words in str(error) for words in FULL)
