"""Checkpoints: moved to another mesh; full disks, torn files, another model, half-written folders, paths."""

import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.checkpoints import opened, saved, tree
from support.mesh import mesh_of
from support.training import SHAPE, C, weights

from jaxunlearn.errors import Diverged, InputError, RunError
from jaxunlearn.models import transformer
from jaxunlearn.training import checkpoint
from jaxunlearn.training.checkpoint import Checkpoints, whole_path
from jaxunlearn.training.step import init_state


def restored(folder, like=None):
    with opened(folder) as checkpoints:
        return checkpoints.restore(tree(0) if like is None else like)


def test_the_last_two_are_kept_and_the_newest_comes_back(mesh, tmp_path):
    saved(tmp_path, 1, 2, 5)
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["2", "5"]
    back = restored(tmp_path)
    assert int(back["step"]) == 5 and (np.asarray(back["w"]) == 5).all()


FILES = ("manifest.ocdbt", "_METADATA", "_sharding", "d/*", "_CHECKPOINT_METADATA")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["truncated", "empty", "gone"])
def test_whatever_file_is_damaged_no_wrong_state_comes_back(mesh, tmp_path, capsys, name, how):
    saved(tmp_path, 1, 2)
    damaged = [p for p in (tmp_path / "2").rglob(name) if p.is_file()]
    assert damaged
    for path in damaged:
        content = path.read_bytes()
        path.unlink()
        if how != "gone":
            path.write_bytes(content[: len(content) // 2] if how == "truncated" else b"")
    back = restored(tmp_path)
    said = capsys.readouterr().err
    assert int(back["step"]) == 1 if "trying the one before" in said else int(back["step"]) == 2
    assert (np.asarray(back["w"]) == int(back["step"])).all()
    if name in ("manifest.ocdbt", "d/*", "_METADATA"):
        assert f"{tmp_path}/2 cannot be read" in said


def test_a_damaged_step_is_written_again_when_the_run_gets_there(mesh, tmp_path, capsys):
    saved(tmp_path, 1, 2)
    for path in (tmp_path / "2").rglob("manifest.ocdbt"):
        path.write_bytes(b"")
    with opened(tmp_path) as checkpoints:
        assert int(checkpoints.restore(tree(0))["step"]) == 1
        checkpoints.save(2, tree(7))
        checkpoints.wait()
    assert int(restored(tmp_path)["step"]) == 7
    capsys.readouterr()


def test_none_readable_is_an_error_and_none_at_all_is_a_beginning(mesh, tmp_path):
    assert restored(tmp_path / "empty") is None
    saved(tmp_path, 1)
    for path in (tmp_path / "1").rglob("manifest.ocdbt"):
        path.write_bytes(b"")
    with pytest.raises(RunError, match=r"none of the checkpoints \[1\]"):
        restored(tmp_path)


def test_another_models_checkpoint_is_refused_by_name(mesh, tmp_path):
    saved(tmp_path, 1)
    with pytest.raises(InputError, match=r"another model or optimiser \(\['w'\]: \(300,\) there, \(8,\) here\)"):
        restored(tmp_path, tree(0, 8))


FULL = """
import resource, signal, sys
import jax, jax.numpy as jnp, pytest
from jaxunlearn.training.checkpoint import Checkpoints

large = jax.block_until_ready({"w": jnp.full(100_000, 2.0), "step": jnp.int32(2)})
checkpoints = Checkpoints(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
with pytest.raises((OSError, ValueError), match="File too large"):
    checkpoints.save(2, large)
    checkpoints.wait()
with pytest.raises(OSError, match="File too large"):
    checkpoints.close()
"""


def test_a_full_disk_leaves_the_checkpoint_before(mesh, tmp_path):
    """A limit on the size of files stands in for a full disk: the same errors at the same places. It ends a process of
    its own, as a full disk does: Orbax writes on for a moment after it has said that it could not."""
    saved(tmp_path, 1)
    done = subprocess.run([sys.executable, "-c", FULL, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(restored(tmp_path)["step"]) == 1
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == ["1"], "what was half-written is cleared away"


def test_what_a_kill_left_half_written_is_gone_once_the_folder_is_open(mesh, tmp_path):
    saved(tmp_path, 1)
    left = tmp_path / "2.orbax-checkpoint-tmp" / "d"
    left.mkdir(parents=True)
    for n in range(300):
        (left / str(n)).touch()
    with opened(tmp_path):
        assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == ["1"]


def test_paths_with_a_scheme_stay_whole_and_others_become_absolute(tmp_path, monkeypatch):
    assert str(whole_path("gs://bucket/run/state")) == "gs://bucket/run/state"
    assert str(whole_path("s3://bucket/run")) == "s3://bucket/run"
    monkeypatch.chdir(tmp_path)
    assert str(whole_path("runs/mine")) == f"{tmp_path}/runs/mine"


def test_a_checkpoint_moves_to_another_mesh_bit_for_bit(tmp_path):
    with jax.set_mesh(mesh_of((1, 4, 2))):
        state = init_state(transformer.init(SHAPE, 0), C)
        saved = weights(state)
        checkpoints = Checkpoints(tmp_path)
        checkpoints.save(1, state)
        checkpoints.wait()
        checkpoints.close()
    with jax.set_mesh(mesh_of((2, 2, 2))):
        again = Checkpoints(tmp_path)
        back = again.restore(init_state(transformer.init(SHAPE, 1), C))
        again.close()
        assert back.model.embed_VD[...].sharding.mesh.shape["data"] == 2
        for a, b in zip(saved, weights(back), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(mesh, tmp_path, capsys):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save(step, {"w": jnp.full(3, float(step))})
    checkpoints.wait()
    checkpoints.close()
    for file in (tmp_path / "2").rglob("*"):
        if file.is_file() and "d" in file.parent.name:
            file.write_bytes(b"")
    again = Checkpoints(tmp_path)
    back = again.restore({"w": jnp.zeros(3)})
    again.close()
    assert float(back["w"][0]) == 1.0
    assert "trying the one before" in capsys.readouterr().err


def flipped(folder):
    """Flip one bit in the middle of the largest file of a checkpoint."""
    path = max((p for p in folder.rglob("d/*") if p.is_file()), key=lambda p: p.stat().st_size)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_flipped_bit_is_found_and_the_step_before_comes_back_with_a_word(mesh, tmp_path, capsys):
    saved(tmp_path, 1, 2)
    flipped(tmp_path / "2")
    assert int(restored(tmp_path)["step"]) == 1
    assert "is not what was saved there" in capsys.readouterr().err


def test_where_one_step_alone_will_do_no_other_takes_its_place(mesh, tmp_path):
    saved(tmp_path, 1, 2)
    with opened(tmp_path) as checkpoints:
        assert int(checkpoints.restore(tree(0), only=1)["step"]) == 1
        with pytest.raises(RunError, match=r"lacks the checkpoint of step 3; no other step will do"):
            checkpoints.restore(tree(0), only=3)
    flipped(tmp_path / "2")
    with opened(tmp_path) as checkpoints:
        with pytest.raises(RunError, match=rf"{tmp_path}/2 cannot be read .* no other step will do\. Delete"):
            checkpoints.restore(tree(0), only=2)


def test_every_process_hears_of_damage_before_it_asks_orbax_where_they_wait_for_each_other(mesh, tmp_path, monkeypatch):
    other = Checkpoints(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.processes, "first", lambda act: "a file is damaged")  # what process 0 found
        patch.setattr(other._checkpointer, "metadata", lambda step: pytest.fail("asked Orbax alone"))
        assert other._load(2, {}) == ({}, "a file is damaged")
    other.close()


def test_seals_keep_nobody_waiting_but_who_closes(mesh, tmp_path, monkeypatch):
    go, sealing = threading.Event(), threading.Event()
    monkeypatch.setattr(checkpoint.sealed, "seal", lambda folder: sealing.set() or go.wait(20))
    kept = Checkpoints(tmp_path)
    assert kept._sealer.daemon  # a process that ends does not wait either
    kept.save(1, {"w": jnp.ones(3)})
    kept.wait()
    assert sealing.wait(20) and not go.is_set()
    np.testing.assert_array_equal(kept.restore({"w": jnp.zeros(3)})["w"], 1)  # without a seal, as it is
    go.set()
    kept.close()
    assert not kept._sealer.is_alive()


def test_a_training_that_diverged_leaves_no_thread_and_one_that_is_stopped_waits_for_none(mesh, tmp_path, monkeypatch):
    with pytest.raises(Diverged), Checkpoints(tmp_path / "diverged") as kept:
        kept.save(1, tree(1))
        raise Diverged("the loss is nan")
    assert not kept._sealer.is_alive() and (tmp_path / "diverged" / "1" / checkpoint.sealed.FILE).is_file()
    go = threading.Event()
    monkeypatch.setattr(checkpoint.sealed, "seal", lambda folder: go.wait(20))
    with pytest.raises(KeyboardInterrupt), Checkpoints(tmp_path / "stopped") as kept:
        kept.save(1, tree(1))
        kept.wait()
        raise KeyboardInterrupt
    assert kept._sealer.is_alive()
    go.set()
    kept._sealer.join(20)
    assert not kept._sealer.is_alive()
