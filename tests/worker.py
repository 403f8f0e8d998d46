"""One process of test_distributed.py: loads, labels, continues, trains, measures and saves; counts what it reads.

Usage: worker.py MODEL_DIR OUT_DIR; process 0 prints what every process found, one JSON list.
"""

import json
import sys
from pathlib import Path

import jax
import numpy as np

from jaxunlearn import convert, distributed, sharding, train, whp
from jaxunlearn.checkpoint import Checkpoints
from jaxunlearn.config import Eval, Train, Whp
from jaxunlearn.evals.measure import Text, block_sums
from jaxunlearn.generate import generate

DRAW = np.random.default_rng(1)
TOKENS, LABELS = (DRAW.integers(0, 64, (24, 16)).astype(np.int32) for _ in range(2))
PASSAGE = whp.Passage(
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
    opened = convert._slice
    convert._slice = lambda *a: Slice(opened(*a))
    baseline = convert.load(folder)
    convert._slice = opened
    start, reinforced = convert.load(folder), jax.tree.map(lambda w: w * 1.5, baseline)
    passage = whp.on_mesh(PASSAGE, np.arange(16))
    labels = sharding.fetch(whp.label(baseline, reinforced, passage, alphas=(5.0,), whp=Whp()))
    new = generate(baseline, [[1, 2, 3], [4], [5, 6], [7], [9]], 5)
    losses, checkpoints, arrays = [], Checkpoints(out / "state"), (Rows(TOKENS), Rows(LABELS))
    state = train.fit(
        train.init_state(start, C),
        train.compiled_step(C),
        lambda n: train.microbatches(C, arrays, ("BT", "BT"), 24, 0, n),
        C,
        checkpoints=checkpoints,
        log=lambda n, values: losses.append([values["loss"], values["gradient_norm"]]),
    )
    checkpoints.close()
    text = Text(tokens_NT=TOKENS, labels_NT=LABELS)
    sums = np.stack(block_sums(state.model, text, Eval(batch=8, blocks=9), 1.0))
    convert.save(state.model, out / "model")
    told = distributed.gather([READ, losses, labels.tolist(), new, sums.tolist()])
    if distributed.index() == 0:
        print(json.dumps(told))


if __name__ == "__main__":
    distributed.start()
    with jax.set_mesh(sharding.make_mesh(fsdp=4)):
        main(*map(Path, sys.argv[1:]))
