"""Save training state with Orbax: asynchronous and atomic; restore it onto the current mesh.

The folder may be anything that etils.epath opens: a path, or gs:// and s3:// where their libraries are installed.
"""

import contextlib
import logging
import queue
import threading
from pathlib import Path
from typing import Any

import jax
from etils import epath

from jaxunlearn import sealed
from jaxunlearn.errors import Diverged, InputError, RunError
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.console import say


class Checkpoints:
    """The checkpoints of one stage. The stage resumes from the newest readable one.

    Half-written checkpoints of a killed attempt are deleted. Each of several processes writes and reads its own shards.
    Process 0 seals each (sealed.py) in the background as soon as it is on disk, and checks it before it is read; not in
    an object store (gs://, s3://), which checks what it stores by itself.
    keep: how many of the newest checkpoints stay on disk; two, so that a damaged one is not the only one.

    As a context it is closed at the end, also of a training that diverged: that all processes see. Another error may be
    one process's own, and closing would wait for the others; then only the seals come to an end, by themselves.
    """

    def __init__(self, directory: epath.PathLike, keep: int = 2):
        from orbax.checkpoint import v1 as ocp

        logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax also raises what it logs
        self._directory = whole_path(directory)
        self._directory.mkdir(parents=True, exist_ok=True)
        processes.first(self._clear)
        latest: Any = ocp.training.preservation_policies.LatestN(keep)
        # Typed as Any, because Orbax's annotations refuse its own policies and every pytree.
        self._checkpointer: Any = ocp.training.Checkpointer(
            self._directory, preservation_policy=latest, cleanup_tmp_directories=True
        )
        self._damaged: set[int] = set()
        # A daemon: a process that is told to end does not wait for seals. A checkpoint without one is taken as it is.
        self._saved: queue.SimpleQueue = queue.SimpleQueue()
        self._sealer = threading.Thread(target=self._seal_all, daemon=True)
        if processes.index() == 0 and "://" not in str(directory):
            self._sealer.start()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None or issubclass(kind, Diverged):
            self.close()
        else:
            self._saved.put(None)

    def _clear(self) -> None:
        """Delete half-written checkpoints.

        Orbax deletes them in the background, and `close` does not wait for that.
        """
        for left in self._directory.glob("*.orbax-checkpoint-tmp*"):
            with contextlib.suppress(OSError):  # Orbax tries again, and its next save raises the reason
                left.rmtree()

    def save(self, step: int, tree) -> None:
        """Store a pytree under a step number in the background; a readable checkpoint of that step stays."""
        if step in self._damaged or all(c.step != step for c in self._checkpointer.checkpoints):
            saving = self._checkpointer.save_async(step, _flat(tree), force=True, overwrite=step in self._damaged)
            self._damaged.discard(step)
            if self._sealer.is_alive():
                self._saved.put((step, saving))

    def _seal_all(self) -> None:
        """Seal each checkpoint once it is saved; one that failed or that is deleted meanwhile has no seal."""
        while (one := self._saved.get()) is not None:
            step, saving = one
            with contextlib.suppress(Exception):  # why a save failed is raised by `wait` and by the next save
                saving.result()
                if self._local(step).is_dir():  # a newer one may have taken its place
                    sealed.seal(self._local(step))

    def _local(self, step: int) -> Path:
        return Path(self._directory / str(step))

    def wait(self) -> None:
        """Wait until everything that was saved is on disk; seals come in the background, up to `close`."""
        self._checkpointer.wait()

    def restore(self, like, only: int | None = None):
        """Return the newest readable checkpoint in the structure and shardings of `like`; None where there is none.

        The arrays of `like` are deleted where there is one, before it is read: a device that holds one state has no
        room for two. only: the step that is wanted, where no other will do. Raises InputError for a checkpoint of
        another model or optimiser, and RunError where none is readable.
        """
        steps = processes.first(lambda: sorted((c.step for c in self._checkpointer.checkpoints), reverse=True))
        if only is not None and only not in steps:
            raise RunError(f"{self._directory} lacks the checkpoint of step {only}; {self._again()}")
        steps = steps if only is None else [only]
        wanted = _flat(_abstract(like))
        for leaf in jax.tree.leaves(like) if steps else ():
            leaf.delete()
        for step in steps:
            flat, fault = self._load(step, wanted)
            fault = next((f for f in processes.gather(fault) if f), "")  # all processes go back to the same step
            if not fault:
                return jax.tree.unflatten(jax.tree.structure(like), [flat[k] for k in wanted])
            self._damaged.add(step)
            if only is not None:
                raise RunError(f"checkpoint {self._directory}/{step} cannot be read ({fault}); {self._again()}")
            say(f"checkpoint {self._directory}/{step} cannot be read ({fault}); trying the one before")
        if steps:
            raise RunError(
                f"none of the checkpoints {steps} in {self._directory} can be read; delete the folder to start over"
            )
        return None

    def _again(self) -> str:
        """Return what to do where the one checkpoint that will do is lost: the weights of the best measured step."""
        stage = str(self._directory).removesuffix("_best")
        return f"no other step will do. Delete {self._directory} and {stage}: this stage is then trained again"

    def _load(self, step: int, like: dict) -> tuple[dict, str]:
        """Return ({path: leaf}, ""), or ({}, the fault) where the checkpoint cannot be read."""
        # before any call of Orbax, where processes wait for each other
        if found := processes.first(lambda: sealed.fault(self._local(step)) if self._sealer.is_alive() else ""):
            return {}, found
        try:
            there = self._checkpointer.metadata(step).metadata
            self._same_model(step, {k: tuple(v.shape) for k, v in there.items()}, like)
            return self._checkpointer.load(step, like), ""
        except InputError:
            raise
        except (ValueError, OSError, KeyError, AttributeError, TypeError) as error:
            return {}, type(error).__name__

    def _same_model(self, step: int, there: dict, like: dict) -> None:
        """Raise InputError where the shapes of a checkpoint are not those of `like`."""
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
        """Wait for seals and close Orbax's threads; nothing can be saved afterwards."""
        if self._sealer.is_alive():
            self._saved.put(None)
            self._sealer.join()
        processes.first(lambda: None)  # the others have nothing to do meanwhile, and limits of time elsewhere
        self._checkpointer.close()


def whole_path(directory: epath.PathLike) -> epath.Path:
    """Return a local path made absolute, as Orbax requires; a path with a scheme (gs://) is not changed."""
    path = epath.Path(directory)
    return path if "://" in str(directory) else path.absolute()


def _flat(tree) -> dict:
    """Return {path: leaf}: a dictionary by names outlives changes of the classes that a tree is made of."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _abstract(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree)
