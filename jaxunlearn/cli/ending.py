"""How a command ends: one sentence and an exit code for whatever stops it, and no traceback on the screen.

Codes: 0 done, 1 failed, 2 bad usage or input, 75 stopped by SIGTERM, 130 by Ctrl-C, 141 nobody reads its output.
"""

import contextlib
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from jaxunlearn.errors import InputError, RunError, no_disk, no_memory
from jaxunlearn.parallel import preemption, processes

INTERRUPTED, UNREAD = 130, 141
KEPT = "what was finished is kept, the same command goes on"


GRACE = 10.0  # seconds after which a process ends whose library swallowed the interrupt, as imports with `except:` do


class _Interrupt:
    came = False
    last: threading.Timer | None = None


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn the first Ctrl-C into KeyboardInterrupt, and end the process at the second, or where the first is swallowed.

    Only in the main thread.
    """
    plain = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) != signal.SIG_IGN
    if not plain:
        yield
        return
    _Interrupt.came = False
    before, hook = signal.signal(signal.SIGINT, _heard), sys.unraisablehook
    sys.unraisablehook = lambda lost: _end_now() if lost.exc_type is KeyboardInterrupt else hook(lost)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = hook
        if _Interrupt.last:
            _Interrupt.last.cancel()
        _Interrupt.came, _Interrupt.last = False, None


def _end_now() -> None:
    """End the process where the exception is dropped, as in a callback; all that is kept is on the disk."""
    with contextlib.suppress(OSError):
        os.write(2, f"jaxunlearn: interrupted; {KEPT}\n".encode())
    os._exit(INTERRUPTED)


def _heard(number, frame) -> None:
    if _Interrupt.came:
        os._exit(INTERRUPTED)
    _Interrupt.came, _Interrupt.last = True, threading.Timer(GRACE, _end_now)
    _Interrupt.last.daemon = True
    _Interrupt.last.start()
    raise KeyboardInterrupt


def coded(command: Callable[[], int | None]) -> int:
    """Run a command and return its exit code; print one sentence where something stops it."""
    try:
        with interruptible():
            try:
                code = command() or 0
                sys.stdout.flush()
            except preemption.Preempted:
                return failed("stopped by SIGTERM; everything is saved, the same command goes on", preemption.CODE)
            except (KeyboardInterrupt, Exception) as error:
                if _Interrupt.came or isinstance(error, KeyboardInterrupt):  # an import may make another error of it
                    return failed(f"interrupted; {KEPT}", INTERRUPTED)
                return _ended(error)
            return INTERRUPTED if _Interrupt.came else code
    except KeyboardInterrupt:  # between two of the lines above
        return INTERRUPTED


def _ended(error: Exception) -> int:
    """Print why a command ended, and return its exit code."""
    if isinstance(error, BrokenPipeError):
        _forget_output()
        return processes.leave(UNREAD)
    if isinstance(error, InputError):
        return failed(error, 2)
    if isinstance(error, RunError):
        return failed(error, 1)
    if advice := no_memory(error):
        return failed(advice, 1)
    if isinstance(error, OSError) or no_disk(error):
        _forget_output()  # which may be what could not be written
        return failed(f"{_where(error)}; {KEPT}", 1)
    return failed(_unforeseen(error), 1)


def failed(why, code: int) -> int:
    """Print the reason, and which of several processes failed; return the code without waiting for the others."""
    which = f" (process {processes.index()})" if processes.count() > 1 else ""
    with contextlib.suppress(OSError):
        print(f"jaxunlearn{which}: {why}", file=sys.stderr, flush=True)
    return processes.leave(code)


def _where(error: Exception) -> str:
    """Return what an OSError says, with the file's name where there is one."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'an output'}: {error.strerror}"
    return str(error).strip().split("\n")[0][:300]


def _unforeseen(error: Exception) -> str:
    """Return a sentence on an error that is a fault of this program, whose traceback is written to a file."""
    said = f"unexpected {type(error).__name__}: {str(error).strip().split(chr(10))[0][:300]}"
    gone = any(name in str(error) for name in ("Gloo", "NCCL", "coordination service")) and processes.count() > 1
    if gone:
        return f"{said}; another process of this run is gone: look at the end of its output. {KEPT.capitalize()}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "jaxunlearn" in Path(f.filename).parts]
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    try:
        with tempfile.NamedTemporaryFile("w", prefix="jaxunlearn-", suffix=".txt", delete=False) as file:
            file.write("".join(traceback.format_exception(error)))
        where = f"; the traceback is in {file.name}"
    except OSError:
        where = ""
    return f"{said}{place}. This is a fault of jaxunlearn: please report it{where}. {KEPT.capitalize()}"


# ---- standard streams


def open_streams() -> None:
    """Open closed standard streams on /dev/null: else the next file that is opened gets their number and their text."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")


def _forget_output() -> None:
    """Point standard output to /dev/null, so that the interpreter does not fail on it again when it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
