"""Progress on standard error; of several processes, process 0 prints it.

A command that works for long without a word says what it is at: `alive` prints what `doing` named last, after every
BEAT seconds in which nothing else was printed.
"""

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Iterator

from jaxunlearn.parallel import processes

LOG = logging.getLogger("jaxunlearn")  # -v sets its level to INFO, -q to ERROR, every other command to WARNING
BEAT = 8.0  # seconds of silence after which a command says that it is at work


class _Screen:
    """When the screen was last written to, whether its line is open, what goes on and which part of it."""

    lock = threading.RLock()  # a signal handler may print while its own thread does
    written = 0.0
    open = False
    doing, part = "", ""
    since = 0.0


def say(line: str) -> None:
    """Print a line of progress on standard error, on process 0 alone; nothing with -q."""
    if LOG.isEnabledFor(logging.WARNING):
        result(line)


def result(line: str) -> None:
    """Print a line of a command's result on standard error, on process 0 alone; also with -q."""
    if processes.index() == 0:
        with _Screen.lock:
            _print("\n" * _Screen.open + f"{line}\n")
            _Screen.open = False


def detail(line: str) -> None:
    """Print a line that only `-v` asks for."""
    if LOG.isEnabledFor(logging.INFO):
        say(line)


def progress(line: str, last: bool) -> None:
    """Print a step: on a terminal over the line before, until `last`; elsewhere as a line of its own."""
    if not sys.stderr.isatty():
        say(line)
    elif processes.index() == 0 and LOG.isEnabledFor(logging.WARNING):
        with _Screen.lock:
            _print(f"\r\033[K{line}" + "\n" * last)
            _Screen.open = not last


def _print(text: str) -> None:
    """Write to standard error; a log on a full disk, or a reader that is gone, does not stop a run."""
    _Screen.written = time.monotonic()
    with contextlib.suppress(OSError):
        print(text, end="", file=sys.stderr, flush=True)


# ---- what goes on while nothing is printed


def doing(what: str) -> None:
    """Name what goes on from here, for `alive` to print where it takes long; "": nothing does."""
    _Screen.doing, _Screen.part, _Screen.since = what, "", time.monotonic()


def part(what: str) -> None:
    """Name the part of it that goes on from here; "": none."""
    _Screen.part, _Screen.since = what, time.monotonic()


@contextlib.contextmanager
def alive(what: str, every: float = BEAT) -> Iterator[None]:
    """Print, while the block works, what it is at after every so many seconds without a line.

    what: stands for what `doing` has not named yet.
    """
    doing(what)
    _Screen.written = time.monotonic()
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(ended, every), daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()


def _beat(ended: threading.Event, every: float) -> None:
    wait = every
    while not ended.wait(wait):
        now = time.monotonic()
        with _Screen.lock:
            wait = every - (now - _Screen.written)
            if wait <= 0:
                what = ": ".join(filter(None, (_Screen.doing, _Screen.part)))
                if what:
                    spent = f", for {now - _Screen.since:.0f} s" * (now - _Screen.since >= 1)
                    say(f"  ... {what}{spent}")  # closed: results on standard output follow
                wait = every
