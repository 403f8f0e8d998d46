"""The run directory: whose folder it may be, one process at a time; training state outside of it binds the run too."""

import dataclasses
import json
import os
import socket
import subprocess
import sys

import pytest
from etils.epath import backend
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from support.checkpoints import saved
from support.command import env

from jaxunlearn import outputs
from jaxunlearn.config import Config, Run
from jaxunlearn.config.versions import code
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.parallel.preemption import Preempted
from jaxunlearn.run import directory
from jaxunlearn.run.directory import LOCK, RunDirectory


def test_training_state_may_lie_outside_the_run_directory_and_still_binds_the_run(mesh, tmp_path):
    config = Config(name="x", run=Run(dir=str(tmp_path / "run"), checkpoints=str(tmp_path / "elsewhere")))
    run = RunDirectory(config)
    run.manifest({})
    saved(run.checkpoints("reinforce"), 3)
    assert (tmp_path / "elsewhere" / "reinforce" / "3").is_dir() and not (tmp_path / "run" / "checkpoints").exists()
    other = dataclasses.replace(config, reinforce=dataclasses.replace(config.reinforce, learning_rate=1e-4))
    with pytest.raises(InputError, match=r"reinforce.learning_rate"):
        RunDirectory(other)
    bucket = dataclasses.replace(config, run=Run(dir=str(tmp_path / "run"), checkpoints="gs://bucket/state"))
    assert str(RunDirectory.checkpoints(_with(run, bucket), "unlearn")) == "gs://bucket/state/unlearn"


@pytest.mark.parametrize("given", ["folder", "gs://bucket/state", "s3://bucket/state"])
def test_training_state_of_another_run_is_refused(tmp_path, monkeypatch, given):
    """A bucket is a local folder here, in the place of the one that epath would open by gcsfs or s3fs."""
    local = DirFileSystem(str(tmp_path), LocalFileSystem())
    monkeypatch.setattr(type(backend.fsspec_backend), "_get_filesystem", lambda self, name: local)
    where = str(tmp_path / given) if given == "folder" else given
    mine, other = (Config(name="x", run=Run(dir=str(tmp_path / d), checkpoints=where)) for d in ("mine", "other"))
    run = RunDirectory(mine)
    run.manifest({})
    assert not run.made("checkpoints/unlearn")
    (tmp_path / given / "unlearn" / "3").mkdir(parents=True)
    assert run.made("checkpoints/unlearn") and RunDirectory(mine).begun
    with pytest.raises(InputError, match=r"holds the training state of another run: .*/other has not begun"):
        RunDirectory(other)


@pytest.mark.parametrize("where", ["gs://bucket/state", "nowhere://state"])
def test_a_bucket_that_cannot_be_opened_is_said_before_any_work(tmp_path, monkeypatch, where):
    def missing(self, name):
        raise ImportError(f"Please install {name}fs")

    monkeypatch.setattr(type(backend.fsspec_backend), "_get_filesystem", missing)
    with pytest.raises(InputError, match=f"run.checkpoints={where} cannot be opened .* gs:// with gcsfs"):
        RunDirectory(Config(name="x", run=Run(dir=str(tmp_path / "run"), checkpoints=where)))


@pytest.mark.parametrize(
    "files",
    [{"config.json": '{"name": "web"}'}, {"notes.txt": "mine"}, {"data/saga.txt": "mine"}, {"baseline": "mine"}],
)
def test_a_folder_with_content_that_is_no_runs_is_refused_and_left_as_it_is(tmp_path, files):
    for name, text in files.items():
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_text(text)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=rf"holds {next(iter(files)).split('/')[0]} and is no run's folder"):
        RunDirectory(Config(name="x", run=Run(dir=str(tmp_path / "run"))))
    assert sorted(tmp_path.rglob("*")) == before
    assert {name: (tmp_path / "run" / name).read_text() for name in files} == files


def test_models_that_are_given_and_runs_of_earlier_versions_are_taken(tmp_path):
    config = Config(name="x", run=Run(dir=str(tmp_path / "run")))
    (tmp_path / "run" / "baseline").mkdir(parents=True)
    for name in ("log", "log.txt", "slurm-7.out", "a.err", "mine.log", "lost+found", ".nfs01"):
        (tmp_path / "run" / name).write_text("of a shell, a scheduler, a mount")
    RunDirectory(config).manifest({})
    (tmp_path / "run" / LOCK).unlink()
    (tmp_path / "run" / "notes.txt").write_text("a run is whoever's notes'")
    RunDirectory(config)


@pytest.mark.parametrize("end", [KeyboardInterrupt, Preempted, RuntimeError])
def test_the_seconds_of_a_stage_that_was_stopped_count(tmp_path, end):
    run = RunDirectory(Config(name="x", run=Run(dir=str(tmp_path / "run"))))
    with pytest.raises(end):
        with run.stage("unlearn", "8 steps"):
            raise end
    assert list(run.seconds()) == ["unlearn"]


def test_a_name_that_no_file_can_have_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="cannot be written: File name too long"):
        RunDirectory(Config(name="x", run=Run(dir=str(tmp_path / ("x" * 300)))))


def test_nothing_stays_of_a_folder_whose_inputs_were_refused(tmp_path):
    config = Config(name="x", run=Run(dir=str(tmp_path / "run")))
    run = RunDirectory(config)
    (run / "data").mkdir()
    run.abandon()
    assert not (tmp_path / "run").exists()
    run = RunDirectory(config)
    (run / "anchors").mkdir()  # what was paid for stays
    run.abandon()
    assert (run / "anchors").is_dir()
    RunDirectory(config).manifest({})
    RunDirectory(config).abandon()
    assert (run / "config.json").is_file()


def test_a_process_that_fails_alone_asks_the_others_nothing(tmp_path, monkeypatch):
    run = RunDirectory(Config(name="x", run=Run(dir=str(tmp_path / "run"))))
    monkeypatch.setattr(directory.processes, "first", lambda act: pytest.fail("a message that nobody hears"))
    run.abandon()
    assert not (tmp_path / "run").exists()


HOLD = """
import sys
from jaxunlearn.outputs import lock
held = lock(sys.argv[1], "it")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_run_in_use_by_another_process_is_refused_by_its_pid_and_host_until_it_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "PATIENCE", 0)
    config = Config(name="x", run=Run(dir=str(tmp_path / "run")))
    (tmp_path / "run").mkdir()
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run" / LOCK)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env(),
    )  # fmt: skip
    assert other.stdout.readline() == "held\n"
    with pytest.raises(InputError, match=rf"in use by process {other.pid} on {socket.gethostname()}"):
        RunDirectory(config)
    RunDirectory(config, looks=True)  # reading is free
    other.kill()
    other.communicate()
    one, two = RunDirectory(config), RunDirectory(config)  # its own lock does not stop a process
    assert json.loads((tmp_path / "run" / LOCK).read_text())["pid"] == os.getpid()
    del one, two


def test_a_disk_that_is_full_at_the_manifest_is_one_sentence(tmp_path, monkeypatch):
    def full(path, text):
        raise OSError(28, "No space left on device", str(path))

    run = RunDirectory(Config(name="x", run=Run(dir=str(tmp_path / "run"))))
    monkeypatch.setattr(directory, "write_whole", full)
    with pytest.raises(RunError, match=r"cannot write into .*/run: No space left on device; nothing was begun"):
        run.manifest({})


def test_the_manifest_says_which_code_ran(tmp_path):
    run = RunDirectory(Config(name="x", run=Run(dir=str(tmp_path / "r"))))
    run.manifest({})
    assert json.loads((tmp_path / "r" / "manifest.json").read_text())["code"] == code()


def _with(run, config):
    run.given_state = config.run.checkpoints
    return run
