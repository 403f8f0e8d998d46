"""Trackers get what metrics.jsonl gets; a missing package is reported before any work."""

import json
import struct
import sys
import types

import pytest

from jaxunlearn.cli import main
from jaxunlearn.config import Config, Run
from jaxunlearn.errors import InputError
from jaxunlearn.run.directory import RunDirectory


def scalars(folder):
    """Read TensorBoard's event files of one stage: [(tag, step, value)], later purges applied as TensorBoard does."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    found = []
    for path in sorted(folder.iterdir(), key=lambda p: p.stat().st_mtime_ns):
        data = path.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]
            if event.session_log.status == SessionLog.START and event.step:
                found = [row for row in found if row[1] < event.step]
            found += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
    return found


def config(tmp_path, *track):
    return Config(name="t", run=Run(dir=str(tmp_path / "run"), track=track))


def logged(run):
    with run.stage("unlearn", "two steps"):
        run.record("unlearn", step=1, loss=0.5, gradient_norm=2.0)
        run.record("unlearn", step=2, loss=0.25, gradient_norm=1.0)
        run.record("unlearn", event="eval", step=2, familiarity=0.125, track={"a": {"b": 1.0}})


def test_tensorboard_holds_what_the_metrics_file_holds_and_a_resumed_run_replaces_its_tail(tmp_path):
    run = RunDirectory(config(tmp_path, "tensorboard"))
    logged(run)
    folder = tmp_path / "run" / "tensorboard" / "unlearn"
    found = scalars(folder)
    assert ("loss", 1, 0.5) in found and ("loss", 2, 0.25) in found and ("eval/familiarity", 2, 0.125) in found
    assert not [row for row in found if "track" in row[0]]
    assert [r["loss"] for r in run.records("unlearn") if "loss" in r] == [0.5, 0.25]
    run.rewind("unlearn", 1)
    run.record("unlearn", step=2, loss=0.75)
    run.trackers.finish()
    assert [row for row in scalars(folder) if row[0] == "loss"] == [("loss", 1, 0.5), ("loss", 2, 0.75)]


def test_nothing_but_the_metrics_file_is_written_unless_asked(tmp_path):
    logged(RunDirectory(config(tmp_path)))
    there = sorted(p.name for p in (tmp_path / "run").iterdir())
    assert there == [".jaxunlearn_run.lock", "metrics.jsonl", "metrics.sealed.json"]


class Log(list):
    """Stands in for a library: notes every call and returns itself."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *a, **k: self.append((name, a, k)) or self

    info = types.SimpleNamespace(run_id="seven")


def test_wandb_and_mlflow_go_on_where_they_were(tmp_path, monkeypatch):
    wandb, mlflow = Log(), Log()
    for name, library in {"wandb": wandb, "mlflow": mlflow}.items():
        monkeypatch.setitem(sys.modules, name, library)
    for _ in range(2):
        run = RunDirectory(config(tmp_path, "wandb", "mlflow"))
        logged(run)
        run.trackers.finish()
    starts = [k for name, _, k in wandb if name == "init"]
    assert len(starts) == 2 and starts[0]["id"] == starts[1]["id"] and starts[0]["resume"] == "allow"
    assert ("log", ({"unlearn/loss": 0.5, "unlearn/gradient_norm": 2.0, "unlearn/step": 1},), {}) in wandb
    assert [k for name, _, k in mlflow if name == "start_run"] == [
        {"run_id": None, "run_name": "t"}, {"run_id": "seven", "run_name": None},
    ]  # fmt: skip
    assert ("log_metrics", ({"unlearn/eval/familiarity": 0.125},), {"step": 2}) in mlflow
    assert [name for name, *_ in wandb].count("finish") == [name for name, *_ in mlflow].count("end_run") == 2


def test_what_is_not_installed_is_named_before_any_work(world, tmp_path, monkeypatch, capsys):
    for name in ("wandb", "mlflow", "tensorboardX"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError) as error:
        RunDirectory(config(tmp_path, "wandb", "mlflow", "tensorboard"))
    assert all(f"pip install {p}" in str(error.value) for p in ("wandb", "mlflow", "tensorboardX"))
    given = ["run", str(world / "world.py"), f"run.dir={tmp_path / 'r'}"]
    assert main([*given, "run.track=wandb"]) == 2 and main([*given, "run.track=comet"]) == 2
    assert "pip install wandb" in capsys.readouterr().err and not (tmp_path / "r" / "baseline").exists()


def test_a_run_tracks(world, tmp_path):
    run = tmp_path / "run"
    given = ["pretrain.steps=4", "pretrain.twin=False", "run.track=tensorboard"]
    assert main(["pretrain", str(world / "world.py"), f"run.dir={run}", *given]) == 0
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found = {(step, value) for tag, step, value in scalars(run / "tensorboard" / "baseline") if tag == "loss"}
    assert dict(found) == pytest.approx({r["step"]: r["loss"] for r in lines if "loss" in r}) and len(found) == 4
