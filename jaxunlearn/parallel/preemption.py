"""SIGTERM, the notice before a machine is taken away: a training loop saves and ends, anything else ends at once.

Everything else may end at once because it keeps what it has as it goes. Exit code 75 (sysexits.h: a temporary failure,
try again) tells launchers that the same command goes on.
"""

import os
import signal
import threading
from contextlib import contextmanager

from jaxunlearn.parallel import processes

CODE = 75
NOTICE = b"jaxunlearn: SIGTERM; "


class Preempted(BaseException):
    """All that is worth keeping is on disk, and the process should end with CODE."""


class _Notice:
    came = False
    saving = 0  # loops that look for the notice and save; 0: nobody does


@contextmanager
def listening():
    """Answer SIGTERM while a command runs (only a process's main thread can)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Notice.came = False
    before = signal.signal(signal.SIGTERM, _heard)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _heard(number, frame) -> None:
    """Leave the rest to a loop that saves, once; a handler may neither print nor raise wherever it happens to be."""
    if _Notice.saving and not _Notice.came:
        _Notice.came = True
        os.write(2, NOTICE + b"saving after this step\n")
        return
    os.write(2, NOTICE + b"what was finished is kept, the same command goes on\n")
    os._exit(CODE)


@contextmanager
def saving():
    """Yield asked(step): whether all processes save and stop after this step; for one loop with a checkpoint.

    The loop must read the metrics of step n - 1, which every process had a part in, before it asks about step n.
    Raises Preempted at the end of a loop that was over before the step agreed on.
    """
    key = f"jaxunlearn/stop/{next(_loops)}"
    _Notice.saving += 1
    try:
        yield lambda step: _asked(key, step)
        if any(processes.gather(_Notice.came)):
            raise Preempted
    finally:
        _Notice.saving -= 1


_loops = iter(range(1 << 62))  # all processes train the same stages in the same order


def _asked(key: str, step: int) -> bool:
    """Return whether to stop after `step`.

    One process alone stops right away. Of several, the first to have the notice asks all to stop two steps on: none
    can be past that yet, and whoever gets there has read metrics to which this process gave its part after asking.
    """
    if processes.count() == 1:
        return _Notice.came
    if _Notice.came:
        processes.post(key, str(step + 2))
    return processes.posted(key) == str(step)
