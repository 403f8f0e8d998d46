"""Progress on standard error: who prints it, and how it looks elsewhere than on a terminal."""

import contextlib
import logging
import sys
import time

from jaxunlearn.parallel import console, processes


def test_process_0_alone_prints_and_never_on_standard_output(capsys, monkeypatch):
    console.say("loading")
    monkeypatch.setattr(processes, "index", lambda: 1)
    console.say("loading too")
    console.progress("step 1", last=True)
    assert capsys.readouterr() == ("", "loading\n")


def test_a_terminal_shows_steps_in_place_and_a_file_line_by_line(capsys, monkeypatch):
    console.progress("step 1", last=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    console.progress("step 2", last=False)
    console.progress("step 3", last=True)
    assert capsys.readouterr().err == "step 1\n\r\033[Kstep 2\r\033[Kstep 3\n"


def test_a_detail_is_printed_only_where_it_is_asked_for(capsys):
    console.detail("read over")
    console.LOG.setLevel(logging.INFO)
    console.detail("read over, and told")
    console.LOG.setLevel(logging.WARNING)
    assert capsys.readouterr().err == "read over, and told\n"


def test_q_leaves_the_result(capsys):
    console.LOG.setLevel(logging.ERROR)
    console.say("loading")
    console.progress("step 1", last=True)
    console.result("forgotten")
    console.LOG.setLevel(logging.WARNING)
    assert capsys.readouterr().err == "forgotten\n"


def test_long_work_says_what_it_is_at_and_short_work_does_not(capsys):
    with console.alive("evaluate", every=0.05):
        time.sleep(0.01)
        console.say("[evaluate] twin")
        console.doing("evaluate, twin")
        console.part("measuring perplexity")
        time.sleep(0.18)
        console.doing("")  # waiting for somebody
        time.sleep(0.1)
    first, *beats = capsys.readouterr().err.splitlines()
    assert first == "[evaluate] twin" and set(beats) == {"  ... evaluate, twin: measuring perplexity"}
    assert 2 <= len(beats) <= 3  # 0.18 s, from the last line on
    with console.alive("methods", every=0.05):
        pass
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_a_result_is_not_glued_to_a_beat_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with console.alive("evaluate", every=0.05):
        time.sleep(0.08)
    assert capsys.readouterr().err == "  ... evaluate\n"


def test_a_line_does_not_stand_behind_an_open_step(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    console.progress("step 2", last=False)
    console.say("measured")
    assert capsys.readouterr().err == "\r\033[Kstep 2\nmeasured\n"


def test_progress_that_cannot_be_written_stops_nothing(monkeypatch):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        console.say("loading")
        console.progress("step 1", last=True)
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()
