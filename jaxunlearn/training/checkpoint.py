"""Training state on disk through Orbax: asynchronous, atomic, restored onto whatever mesh is current.

The folder may be anything that etils.epath opens: a path, or gs:// and s3:// where their libraries are installed.
"""

import contextlib
import logging
from typing import Any

import jax
from etils import epath

from jaxunlearn.errors import InputError, RunError
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.console import say


class Checkpoints:
    """The checkpoints of one stage; the newest readable one is where the stage resumes.

    What a kill left half-written is cleared away. Of several processes each writes and reads its own part.
    """

    def __init__(self, directory: epath.PathLike, keep: int = 2):
        from orbax.checkpoint import v1 as ocp

        logging.getLogger("absl").setLevel(logging.CRITICAL)  # what goes wrong is raised here as well
        self._directory = whole_path(directory)
        self._directory.mkdir(parents=True, exist_ok=True)
        processes.first(self._clear)
        latest: Any = ocp.training.preservation_policies.LatestN(keep)
        # Any: orbax's annotations refuse its own policies and every pytree.
        self._checkpointer: Any = ocp.training.Checkpointer(
            self._directory, preservation_policy=latest, cleanup_tmp_directories=True
        )
        self._damaged: set[int] = set()

    def _clear(self) -> None:
        """Delete what is half-written; Orbax does so as well, but while one goes on, and close does not wait for it."""
        for left in self._directory.glob("*.orbax-checkpoint-tmp*"):
            with contextlib.suppress(OSError):  # Orbax tries again and says at the next save why it cannot be
                left.rmtree()

    def save(self, step: int, tree) -> None:
        """Store a pytree under a step number, while the caller goes on."""
        if step in self._damaged or all(c.step != step for c in self._checkpointer.checkpoints):
            self._checkpointer.save_async(step, _flat(tree), force=True, overwrite=step in self._damaged)
            self._damaged.discard(step)

    def wait(self) -> None:
        """Return when everything that was saved is on disk."""
        self._checkpointer.wait()

    def restore(self, like):
        """Return the newest readable checkpoint, in the structure and shardings of `like`; None if there is none.

        Raises InputError where a checkpoint is of another model, RunError where there are some and none can be read.
        """
        steps = processes.first(lambda: sorted((c.step for c in self._checkpointer.checkpoints), reverse=True))
        for step in steps:
            flat, fault = self._load(step, _flat(_abstract(like)))
            fault = next((f for f in processes.gather(fault) if f), "")  # none goes back by itself
            if not fault:
                return jax.tree.unflatten(jax.tree.structure(like), [flat[k] for k in _flat(like)])
            self._damaged.add(step)
            say(f"checkpoint {self._directory}/{step} cannot be read ({fault}); trying the one before")
        if steps:
            raise RunError(
                f"none of the checkpoints {steps} in {self._directory} can be read; delete the folder to start over"
            )
        return None

    def _load(self, step: int, like: dict) -> tuple[dict, str]:
        """Return (leaves, "") or ({}, what is wrong)."""
        try:
            there = self._checkpointer.metadata(step).metadata
            self._same_model(step, {k: tuple(v.shape) for k, v in there.items()}, like)
            return self._checkpointer.load(step, like), ""
        except InputError:
            raise
        except (ValueError, OSError, KeyError, AttributeError, TypeError) as error:
            return {}, type(error).__name__

    def _same_model(self, step: int, there: dict, like: dict) -> None:
        here = {k: tuple(v.shape) for k, v in like.items()}
        if there == here:
            return
        differ = sorted(k for k in there.keys() | here.keys() if there.get(k) != here.get(k))
        shown = ", ".join(f"{k}: {there.get(k, 'none')} there, {here.get(k, 'none')} here" for k in differ[:3])
        raise InputError(
            f"checkpoint {self._directory}/{step} is of another model or optimiser ({shown}"
            f"{f' and {len(differ) - 3} more' if len(differ) > 3 else ''}); use another run.dir, or delete the folder"
        )

    def close(self) -> None:
        self._checkpointer.close()


def whole_path(directory: epath.PathLike) -> epath.Path:
    """Return a local path made absolute, which Orbax asks for; one with a scheme (gs://) stays as it is."""
    path = epath.Path(directory)
    return path if "://" in str(directory) else path.absolute()


def _flat(tree) -> dict:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _abstract(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree)
