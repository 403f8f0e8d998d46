"""Training state on disk through Orbax: asynchronous, atomic, restored onto whatever mesh is current."""

import logging
import sys
from pathlib import Path
from typing import Any

import jax

from jaxunlearn.errors import RunError


class Checkpoints:
    """The checkpoints of one stage; the newest readable one is where the stage resumes."""

    def __init__(self, directory: Path, keep: int = 2):
        from orbax.checkpoint import v1 as ocp

        logging.getLogger("absl").setLevel(logging.ERROR)
        self._directory = Path(directory).absolute()
        self._directory.mkdir(parents=True, exist_ok=True)
        latest: Any = ocp.training.preservation_policies.LatestN(keep)
        # Any: orbax's annotations refuse its own policies and every pytree.
        self._checkpointer: Any = ocp.training.Checkpointer(str(self._directory), preservation_policy=latest)

    def save(self, step: int, tree) -> None:
        """Store a pytree under a step number, while the caller goes on."""
        if all(c.step != step for c in self._checkpointer.checkpoints):
            self._checkpointer.save_async(step, _flat(tree), force=True)

    def wait(self) -> None:
        """Return when everything that was saved is on disk."""
        self._checkpointer.wait()

    def restore(self, like):
        """Return the newest readable checkpoint, in the structure and shardings of `like`; None if there is none."""
        steps = sorted((c.step for c in self._checkpointer.checkpoints), reverse=True)
        for step in steps:
            try:
                flat = self._checkpointer.load(step, _flat(_abstract(like)))
            except (ValueError, OSError, KeyError) as error:
                fault = f"checkpoint {self._directory}/{step} cannot be read ({type(error).__name__})"
                print(f"{fault}; trying the one before", file=sys.stderr)
                continue
            return jax.tree.unflatten(jax.tree.structure(like), [flat[k] for k in _flat(like)])
        if steps:
            raise RunError(
                f"none of the checkpoints {steps} in {self._directory} can be read; delete the folder to start over"
            )
        return None

    def close(self) -> None:
        self._checkpointer.close()


def _flat(tree) -> dict:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _abstract(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree)
