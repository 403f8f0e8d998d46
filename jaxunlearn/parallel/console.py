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


def duration(seconds: float) -> str:
    """Return 7 s, 3 min 20 s or 2 h 5 min."""
    s = round(seconds)
    if s < 90:
        return f"{s} s"
    return f"{s // 60} min {s % 60} s" if s < 5400 else f"{s // 3600} h {s % 3600 // 60} min"
