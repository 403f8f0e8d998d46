"""metrics.jsonl: altered and lost lines are found and named; what a kill leaves is dropped."""

import json

import pytest

from jaxunlearn.errors import RunError
from jaxunlearn.run.metrics import Metrics

ROWS = [{"stage": "unlearn", "step": n, "loss": 1 / (n + 1)} for n in range(4)]


@pytest.fixture
def metrics(tmp_path):
    made = Metrics(tmp_path)
    for row in ROWS:
        made.append(row)
    made.seal()
    return made


def test_rows_come_back_and_rows_of_earlier_versions_have_no_seal(metrics, tmp_path):
    assert metrics.rows() == ROWS
    metrics.check()
    with metrics.path.open("a") as file:
        file.write(json.dumps({"stage": "old", "step": 1}) + "\n")
    metrics.check()
    assert Metrics(tmp_path).rows() == [*ROWS, {"stage": "old", "step": 1}]


def test_what_earlier_versions_left_is_read_as_they_read_it(tmp_path):
    """They wrote NaN, and a line that a kill tore and the next one made longer was passed over."""
    metrics = Metrics(tmp_path)
    old = '{"stage": "unlearn", "step": 1, "perplexity": NaN, "low": -Infinity}\n{"stage": "unl{"stage": "a"}\n'
    metrics.path.write_text(old)
    row = {"stage": "unlearn", "step": 1, "perplexity": None, "low": None}
    assert metrics.rows() == [row]
    metrics.replace([row])
    metrics.path.write_text(old)  # a kill between the hash and the rows
    Metrics(tmp_path).check()


def test_a_byte_that_is_no_text_is_found(metrics, tmp_path):
    data = bytearray(metrics.path.read_bytes())
    data[3] ^= 128
    metrics.path.write_bytes(data)
    with pytest.raises(RunError, match=r"metrics\.jsonl is damaged: line 1 is not as it was written"):
        Metrics(tmp_path).check()


def test_each_flipped_bit_is_found_or_changes_nothing(metrics, tmp_path):
    whole = metrics.path.read_bytes()
    for place in range(0, len(whole), 3):
        data = bytearray(whole)
        data[place] ^= 1
        metrics.path.write_bytes(data)
        with pytest.raises(RunError, match=r"metrics\.jsonl is damaged: (line \d|lines of finished stages)"):
            Metrics(tmp_path).check()


def test_lines_that_are_lost_from_a_finished_stage_are_missed(metrics, tmp_path):
    lines = metrics.path.read_text().splitlines(keepends=True)
    metrics.path.write_text("".join(lines[:-1]))
    with pytest.raises(RunError, match="lines of finished stages are missing"):
        Metrics(tmp_path).check()
    metrics.path.unlink()
    with pytest.raises(RunError, match="are missing"):
        Metrics(tmp_path).check()


def test_a_torn_last_line_is_dropped_and_the_next_row_begins_a_line_of_its_own(metrics, tmp_path):
    with metrics.path.open("a") as file:
        file.write('{"stage": "twin", "st')
    again = Metrics(tmp_path)
    again.check()
    assert again.rows() == ROWS
    again.append({"stage": "twin", "step": 1})
    assert again.rows() == [*ROWS, {"stage": "twin", "step": 1}]


def test_a_kill_while_rows_are_written_anew_leaves_the_old_or_the_new_ones_right(metrics, tmp_path, monkeypatch):
    before = metrics.path.read_bytes()
    metrics.replace(ROWS[:2])
    metrics.check()
    assert metrics.rows() == ROWS[:2]
    metrics.path.write_bytes(before)  # as a kill between hash and rows leaves it
    metrics.check()


def test_a_damaged_seal_is_named(metrics, tmp_path):
    path = tmp_path / "metrics.sealed.json"
    path.write_text(path.read_text().replace("bytes", "bites", 1))
    with pytest.raises(RunError, match=r"metrics\.sealed\.json is damaged"):
        metrics.check()
    path.unlink()
    metrics.check()
