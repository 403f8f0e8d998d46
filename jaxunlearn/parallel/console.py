"""Progress on standard error; of several processes the first one speaks."""

import sys

from jaxunlearn.parallel import processes


def say(line: str) -> None:
    """Print a line of progress on standard error; of several processes the first one does."""
    if processes.index() == 0:
        print(line, file=sys.stderr, flush=True)


def progress(line: str, last: bool) -> None:
    """Show a step: on a terminal in place, elsewhere as a line of its own."""
    if sys.stderr.isatty() and processes.index() == 0:
        print(f"\r\033[K{line}", end="\n" if last else "", file=sys.stderr, flush=True)
    else:
        say(line)
