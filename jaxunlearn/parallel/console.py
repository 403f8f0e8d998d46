"""Progress on standard error; of several processes, process 0 prints it."""

import contextlib
import logging
import sys

from jaxunlearn.parallel import processes

LOG = logging.getLogger("jaxunlearn")  # its level INFO is what -v asks for


def say(line: str) -> None:
    """Print a line of progress on standard error, on process 0 alone."""
    if processes.index() == 0:
        _print(f"{line}\n")


def detail(line: str) -> None:
    """Print a line that only `-v` asks for."""
    if LOG.isEnabledFor(logging.INFO):
        say(line)


def progress(line: str, last: bool) -> None:
    """Print a step: on a terminal over the line before, until `last`; elsewhere as a line of its own."""
    if sys.stderr.isatty() and processes.index() == 0:
        _print(f"\r\033[K{line}" + "\n" * last)
    else:
        say(line)


def _print(text: str) -> None:
    """Write to standard error; a log on a full disk, or a reader that is gone, does not stop a run."""
    with contextlib.suppress(OSError):
        print(text, end="", file=sys.stderr, flush=True)
