"""SIGTERM, the notice before a machine is taken away: a training loop saves and ends, everything else ends at once.

Everything else may end at once because it writes its results as it goes. Exit code 75 (sysexits.h: temporary failure,
try again) tells launchers to start the same command again.
"""

import os
import signal
import threading
from contextlib import contextmanager

from jaxunlearn.parallel import processes

CODE = 75
NOTICE = b"jaxunlearn: SIGTERM; "


class Preempted(BaseException):
    """Raised when everything is saved after SIGTERM; the process then ends with CODE."""


class _Notice:
    came = False
    saving = 0  # how many loops look for the notice and save


@contextmanager
def listening():
    """Handle SIGTERM inside the context; does nothing outside of the main thread, where no handler can be set."""
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
    """Note the first signal for a loop that saves, else end the process.

    It writes to descriptor 2 because a handler can interrupt any code, where print and exceptions are not safe.
    """
    if _Notice.saving and not _Notice.came:
        _Notice.came = True
        os.write(2, NOTICE + b"saving after this step\n")
        return
    os.write(2, NOTICE + b"what was finished is kept, the same command goes on\n")
    os._exit(CODE)


@contextmanager
def saving():
    """Yield asked(step), which returns whether all processes save and stop after this step.

    It serves one loop with checkpoints. Before the loop asks about step n it must read the metrics of step n - 1, which
    exist only when every process has computed its part. Raises Preempted where the loop ends before the agreed step.
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

    A single process stops right away. Of several, the first with the notice posts a stop two steps ahead. No process
    can be past that step yet, and each that reaches it has read metrics that this process took part in after posting.
    """
    if processes.count() == 1:
        return _Notice.came
    if _Notice.came:
        processes.post(key, str(step + 2))
    return processes.posted(key) == str(step)
