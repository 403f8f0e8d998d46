"""Training state outside of the run directory: it binds the run, and that of another run is refused."""

import dataclasses

import pytest
from etils.epath import backend
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from support.checkpoints import saved

from jaxunlearn.config import Config, Run
from jaxunlearn.errors import InputError
from jaxunlearn.run.directory import RunDirectory


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


def _with(run, config):
    run.given_state = config.run.checkpoints
    return run
