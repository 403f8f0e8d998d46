"""One process of parallel/test_processes.py: loads, labels, continues, trains, measures, saves; counts what it reads.

Usage: worker.py MODEL_DIR OUT_DIR; process 0 prints what every process found, one JSON list.
"""

import json
import sys
from pathlib import Path

import jax
import numpy as np

from jaxunlearn.config import Eval, Train, Whp
from jaxunlearn.models import huggingface
from jaxunlearn.models.generate import generate
from jaxunlearn.models.scoring import Text, block_sums
from jaxunlearn.parallel import processes, sharding
from jaxunlearn.training.checkpoint import Checkpoints
from jaxunlearn.training.loop import fit, microbatches
from jaxunlearn.training.step import compiled_step, init_state
from jaxunlearn.whp.labels import Passage, label, on_mesh

DRAW = np.random.default_rng(1)
TOKENS, LABELS = (DRAW.integers(0, 64, (24, 16)).astype(np.int32) for _ in range(2))
PASSAGE = Passage(
    tokens_BT=TOKENS,
    translation_BS=DRAW.integers(0, 64, (24, 24)).astype(np.int32),
    map_BT=np.sort(DRAW.integers(-1, 24, (24, 16)), 1).astype(np.int32),
    trained_BT=DRAW.random((24, 16)) < 0.9,
    seen_id_BR=DRAW.integers(-1, 64, (24, 4)).astype(np.int32),
    seen_from_BR=DRAW.integers(0, 16, (24, 4)).astype(np.int32),
)
C = Train(steps=3, learning_rate=1e-3, batch=8, accumulate=2)
READ = {"file": 0, "rows": 0}


class Slice:
    """A tensor of a safetensors file that counts the bytes asked of it."""

    def __init__(self, view):
        self.view, self.get_shape, self.get_dtype = view, view.get_shape, view.get_dtype

    def __getitem__(self, index):
        part = self.view[index]
        READ["file"] += part.nbytes
        return part


class Rows:
    """An array that counts the rows asked of it."""

    def __init__(self, array):
        self.array, self.shape = array, array.shape

    def __getitem__(self, index):
        READ["rows"] += len(index)
        return self.array[index]


def main(folder: Path, out: Path) -> None:
    opened = huggingface.slice_of
    huggingface.slice_of = lambda *a: Slice(opened(*a))
    baseline = huggingface.load(folder)
    huggingface.slice_of = opened
    start, reinforced = huggingface.load(folder), jax.tree.map(lambda w: w * 1.5, baseline)
    passage = on_mesh(PASSAGE, np.arange(16))
    labels = sharding.fetch(label(baseline, reinforced, passage, alphas=(5.0,), whp=Whp()))
    new = generate(baseline, [[1, 2, 3], [4], [5, 6], [7], [9]], 5)
    losses, checkpoints, arrays = [], Checkpoints(out / "state"), (Rows(TOKENS), Rows(LABELS))
    state = fit(
        init_state(start, C),
        compiled_step(C),
        lambda n: microbatches(C, arrays, ("BT", "BT"), 24, 0, n),
        C,
        checkpoints=checkpoints,
        log=lambda n, values: losses.append([values["loss"], values["gradient_norm"]]),
    )
    checkpoints.close()
    text = Text(tokens_NT=TOKENS, labels_NT=LABELS)
    sums = np.stack(block_sums(state.model, text, Eval(batch=8, blocks=9), 1.0))
    huggingface.save(state.model, out / "model")
    told = processes.gather([READ, losses, labels.tolist(), new, sums.tolist()])
    if processes.index() == 0:
        print(json.dumps(told))


if __name__ == "__main__":
    processes.start()
    with jax.set_mesh(sharding.make_mesh(fsdp=4)):
        main(*map(Path, sys.argv[1:]))
