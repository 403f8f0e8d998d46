"""Progress on standard error; of several processes, process 0 prints it."""

import logging
import sys

from jaxunlearn.parallel import processes

LOG = logging.getLogger("jaxunlearn")  # its level INFO is what -v asks for


def say(line: str) -> None:
    """Print a line of progress on standard error, on process 0 alone."""
    if processes.index() == 0:
        print(line, file=sys.stderr, flush=True)


def detail(line: str) -> None:
    """Print a line that only `-v` asks for."""
    if LOG.isEnabledFor(logging.INFO):
        say(line)


def progress(line: str, last: bool) -> None:
    """Print a step: on a terminal over the line before, until `last`; elsewhere as a line of its own."""
    if sys.stderr.isatty() and processes.index() == 0:
        print(f"\r\033[K{line}", end="\n" if last else "", file=sys.stderr, flush=True)
    else:
        say(line)
