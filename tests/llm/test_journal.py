"""What is kept on disk: whole lines, before the next question."""

import os

import pytest
from support.asking import grade_of, put, questions, rows

from jaxunlearn.errors import RunError


def test_a_full_disk_is_a_failed_run_with_a_message(serve, tmp_path):
    (tmp_path / "replies.jsonl").mkdir()  # nothing can be appended to it
    with pytest.raises(RunError, match=r"cannot write .*replies\.jsonl"):
        put(questions(1), serve(grade_of), tmp_path)


def test_a_worker_asks_nothing_more_before_its_reply_is_on_the_disk(serve, tmp_path, monkeypatch):
    seen, synced, fsync = [], [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(fsync(number)))

    def behave(text, nth, body):
        path = tmp_path / "replies.jsonl"
        seen.append((len(rows(path)) if path.exists() else 0, len(synced)))
        return grade_of(text)

    put(questions(4), serve(behave), tmp_path, concurrency=1)
    assert seen == [(0, 0), (1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize("cut", [1, 2, 30])
def test_half_of_a_last_line_is_cut_off_and_a_whole_one_without_its_end_kept(serve, tmp_path, cut):
    server = serve(grade_of)
    put(questions(3), server, tmp_path, concurrency=1)
    path = tmp_path / "replies.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    answers = put(questions(3), server, tmp_path)
    assert [v.grade for v in answers.values] == [0, 1, 2]
    assert [server.asked(f"question {i}") for i in range(3)] == [1, 1, 1 if cut == 1 else 2]
    assert len(rows(path)) == 3 and path.read_bytes().endswith(b"}\n")
