"""How a command ends: codes, sentences, no traceback on the screen, and streams that are closed, full or unread."""

import errno
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

import jax.numpy as jnp
import pytest
from support.command import env

from jaxunlearn import cli
from jaxunlearn.cli import ending
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.parallel import preemption


def full(name=None):
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)


@pytest.fixture
def ended(monkeypatch, capsys, tmp_path):
    """Return ended(act), which runs a subcommand that calls act() and returns (code, standard error)."""
    monkeypatch.setattr(cli, "keep_freed", lambda: None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def run(act):
        monkeypatch.setattr(cli.run, "methods", lambda arguments: act())
        code = cli.main(["methods"])
        captured = capsys.readouterr()
        assert captured.out == "" and "Traceback" not in captured.err
        assert not captured.err or captured.err.startswith("jaxunlearn: ")
        return code, captured.err

    return run


def raiser(error):
    def act():
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError("no such text"), 2, "no such text"),
        (RunError("the disk is full"), 1, "the disk is full"),
        (preemption.Preempted(), 75, "stopped by SIGTERM"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141, ""),
        (full("a/report.html"), 1, "a/report.html: No space left on device"),
        (full(), 1, "an output: No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "a"), 1, "a: Permission denied"),
        (RuntimeError("x\nRESOURCE_EXHAUSTED: [OS error 28: No space left]"), 1, "x; what was finished is kept"),
        (MemoryError(), 1, "out of memory. Lower unlearn.batch"),
        (
            RuntimeError("RESOURCE_EXHAUSTED: Error loading program: Attempting to reserve 12.48G"),
            1,
            "out of memory (R",
        ),
        (RuntimeError("Failed to allocate request for 2.00GiB on device ordinal 0"), 1, "out of memory (Failed"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 1, "Cannot allocate memory). Lower"),
    ],
)
def test_exit_codes(ended, error, code, said):
    found, err = ended(raiser(error))
    assert found == code and said in err and bool(err) == bool(said)


def test_memory_that_the_device_lacks_says_what_to_lower_and_is_no_full_disk(ended):
    code, err = ended(lambda: jnp.zeros((1 << 46,), jnp.int8).block_until_ready())
    assert code == 1 and "out of memory (RESOURCE_EXHAUSTED" in err and "Lower unlearn.batch" in err
    assert "cannot write" not in err


def test_an_error_that_nobody_foresaw_is_one_sentence_and_its_traceback_is_in_a_file(ended):
    code, err = ended(raiser(KeyError("lost")))
    assert code == 1 and "unexpected KeyError: 'lost'" in err and err.count("\n") == 1
    with open(re.search(r"traceback is in (\S+\.txt)", err)[1], encoding="utf-8") as file:
        assert "in act" in file.read()


def test_ctrl_c_that_an_import_makes_another_error_of_is_still_ctrl_c(ended):
    def act():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            raise ImportError("numpy could not be imported") from None

    before = signal.getsignal(signal.SIGINT)
    code, err = ended(act)
    assert code == 130 and "interrupted; what was finished is kept" in err
    assert signal.getsignal(signal.SIGINT) is before

    def swallowed():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)

    assert ended(swallowed)[0] == 130


def test_ctrl_c_while_the_command_is_imported_ends_with_130_and_no_traceback(tmp_path):
    (tmp_path / "argparse.py").write_text("import time; print('importing', flush=True); time.sleep(30)")
    begun = subprocess.Popen(
        [sys.executable, "-m", "jaxunlearn", "methods"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=env(PYTHONPATH=f"{tmp_path}:{env()['PYTHONPATH']}"),
    )  # fmt: skip
    assert begun.stdout.readline() == "importing\n"
    begun.send_signal(signal.SIGINT)
    assert begun.communicate(timeout=20)[1] == "" and begun.returncode == 130


@pytest.mark.parametrize(
    ("streams", "code", "said"),
    [
        ("| true", 141, ""),
        ("> /dev/full", 1, "jaxunlearn: an output: No space left on device; what was finished is kept"),
        (">&-", 0, ""),
        (">&- 2>&-", 0, ""),
        ("<&- | cat", 0, "usage: jaxunlearn"),
    ],
)
def test_output_that_nobody_reads_is_a_clean_end(streams, code, said):
    line = f"{sys.executable} -m jaxunlearn --help {streams}; exit ${{PIPESTATUS[0]}}"
    # argparse hears nothing of a write that fails at once
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=env(PYTHONUNBUFFERED=""))
    assert done.returncode == code and said in done.stdout + done.stderr
    assert bool(said) == bool(done.stdout + done.stderr) and "Traceback" not in done.stderr


def test_a_file_never_gets_the_number_of_a_closed_stream(tmp_path):
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); from jaxunlearn.cli import ending\n"
        "ending.open_streams(); sys.exit(open(sys.argv[2], 'w').fileno())"
    )
    root = env()["PYTHONPATH"]
    script = tmp_path / "code.py"
    script.write_text(code)
    line = f"exec {sys.executable} {script} {root} {tmp_path}/file <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", line]).returncode > 2


def test_a_second_ctrl_c_ends_the_process_at_once():
    code = (
        "import os, signal, time\nfrom jaxunlearn.cli import ending\n"
        "def act():\n    for _ in range(2):\n        try:\n            os.kill(os.getpid(), signal.SIGINT)\n"
        "            time.sleep(9)\n        except KeyboardInterrupt:\n            pass\n    print('here')\n"
        "ending.coded(act)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env())
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
    assert ending.INTERRUPTED == 130


@pytest.mark.parametrize(
    "act",
    [
        # a callback, whose errors Python drops
        "    thing = Thing()\n    ref = weakref.ref(thing, dropped)\n    del thing\n",
        # a library that swallows it
        "    try:\n        dropped(None)\n    except:\n        time.sleep(9)\n",
    ],
)
def test_ctrl_c_that_is_dropped_ends_the_process_all_the_same(act):
    code = (
        "import os, signal, time, weakref\nfrom jaxunlearn.cli import ending\nending.GRACE = 0.2\nclass Thing: pass\n"
        "def dropped(ref):\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(9)\n"
        f"def act():\n{act}    print('here')\nending.coded(act)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env())
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "jaxunlearn: interrupted; what was finished is kept, the same command goes on\n"
