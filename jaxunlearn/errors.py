"""The two errors that the command prints without a traceback: bad input (exit code 2), a failed run (exit code 1)."""

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
