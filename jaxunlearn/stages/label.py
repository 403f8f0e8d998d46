"""The label pass: generic labels of every block, hard or soft, written as they are made so that a kill loses little."""

import dataclasses
import json
import time
from pathlib import Path

import numpy as np

from jaxunlearn.config import Config, as_dict
from jaxunlearn.files import write_whole
from jaxunlearn.methods.settings import GENERIC
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.console import duration, progress
from jaxunlearn.parallel.sharding import fetch
from jaxunlearn.run.directory import RunDirectory
from jaxunlearn.run.inputs import Inputs
from jaxunlearn.run.store import hash_of
from jaxunlearn.run.variants import variants
from jaxunlearn.stages.fit import frozen_models
from jaxunlearn.whp import labels as whp
from jaxunlearn.whp.labels import Passage, on_mesh
from jaxunlearn.whp.soft import soft_labels


def label(config: Config, run: RunDirectory, x: Inputs) -> None:
    """Store the generic labels that the variants need: one pass a translation, all its alphas at once."""
    wanted = {}
    for v in variants(config):
        if v.method in GENERIC and (v.method == "whp" or config.whp.top):
            wanted.setdefault((v.labels, v.method == "whp_soft"), []).append(v)
    for (name, soft), group in wanted.items():
        more = config.whp.alphas if name == "translated" and not soft else ()
        alphas = tuple(dict.fromkeys([*[v.alpha for v in group], *more]))
        folder = run / f"labels/{name}{'_soft' if soft else ''}"
        if not processes.first(lambda folder=folder, alphas=alphas: _labels_done(folder, alphas)):
            with run.stage(
                "label", f"{len(x.forget.tokens_NT):,} blocks, {name} context, alpha {', '.join(map(str, alphas))}"
            ):
                _label_pass(config, run, x, x.passage(group[0]), folder, alphas, soft)


def _labels_done(folder: Path, alphas) -> bool:
    path = folder / "provenance.json"
    done = json.loads(path.read_text()) if path.is_file() else {}
    return bool(done.get("complete")) and set(alphas) <= set(done["alphas"])


def _label_pass(config: Config, run: RunDirectory, x: Inputs, passage, folder: Path, alphas, soft=False) -> None:
    """Write labels/NAME/alpha_A.npy (soft: _ids.npy and _p.npy) block by block; a kill loses at most one batch."""
    shape = x.forget.tokens_NT.shape
    provenance = {
        "alphas": list(alphas), "shape": list(shape), "complete": False, "blocks_done": 0, "whp": as_dict(config.whp),
        "baseline": hash_of(run / "baseline"), "reinforced": hash_of(run / "reinforced"), "inputs": x.hashes,
    }  # fmt: skip
    kinds = {"_ids": np.int32, "_p": np.float16} if soft else {"": np.int32}
    files = {folder / f"alpha_{a:g}{kind}.npy": dtype for a in alphas for kind, dtype in kinds.items()}
    size = (*shape, config.whp.top) if soft else shape
    provenance["blocks_done"] = first = processes.first(lambda: _begun(folder, provenance, files, size))
    models, began = frozen_models(config, run), time.monotonic()
    for start, stop, arrays in (_softened if soft else labelled)(config, models, passage, alphas, first):
        provenance["blocks_done"] = stop
        if processes.index() == 0:
            _keep(folder, provenance, files, start, arrays)
        _label_progress(start, stop, shape, began, first)
    done = json.dumps(provenance | {"complete": True}, indent=1)
    processes.first(lambda: write_whole(folder / "provenance.json", done))


def _begun(folder: Path, provenance: dict, files: dict, size: tuple[int, ...]) -> int:
    """Return how many blocks an earlier attempt with the same provenance labelled; make the files where none did."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "provenance.json"
    before = json.loads(path.read_text()) if path.is_file() else {}
    if all(before.get(k) == provenance[k] for k in ("alphas", "shape", "whp", "baseline", "reinforced", "inputs")):
        return before["blocks_done"]
    for name, dtype in files.items():
        np.lib.format.open_memmap(name, "w+", dtype, size).flush()
    return 0


def _keep(folder: Path, provenance: dict, files: dict, start: int, arrays) -> None:
    """Write labels from block `start` on, then how far they go."""
    for name, found in zip(files, arrays, strict=True):
        file = np.lib.format.open_memmap(name, "r+")
        file[start : start + len(found)] = found
        file.flush()
    write_whole(folder / "provenance.json", json.dumps(provenance, indent=1))


def _label_progress(start: int, stop: int, shape, began: float, first: int) -> None:
    """Print about ten lines a pass, with the rate and the time left."""
    blocks, context = shape
    if stop < blocks and 10 * start // blocks == 10 * stop // blocks:
        return
    rate = (stop - first) / (time.monotonic() - began)
    left = duration((blocks - stop) / rate)
    progress(f"  label {stop}/{blocks} blocks  {rate * context:,.0f} tokens/s  {left} left", last=stop == blocks)


def labelled(config: Config, models, passage: Passage, alphas, done: int = 0):
    """Yield (first block, block after the last, labels_ABT) from block `done` on, in batches of one shape."""
    for start, stop, part in _parts(config, passage, done):
        labels_ABT = whp.label(*models[:2], part, *models[2:], alphas=tuple(alphas), whp=label_settings(config))
        yield start, stop, fetch(labels_ABT)[:, : stop - start]


def _softened(config: Config, models, passage: Passage, alphas, done: int = 0):
    """Yield (first block, block after the last, ids and probabilities of each alpha) of soft labels."""
    settings = dataclasses.replace(label_settings(config), top=config.whp.top)
    for start, stop, part in _parts(config, passage, done):
        found = []
        for alpha in alphas:
            found += soft_labels(*models[:2], part, *models[2:], alpha=alpha, whp=settings)
        yield start, stop, [fetch(a)[: stop - start] for a in found]


def _parts(config: Config, passage: Passage, done: int):
    size, blocks = config.whp.label_batch, len(passage.tokens_BT)
    for start in range(done, blocks, size):
        rows = np.minimum(np.arange(start, start + size), blocks - 1)
        yield start, min(start + size, blocks), on_mesh(passage, rows)


def label_settings(config: Config):
    """Keep only what the label program depends on, so that it is compiled once."""
    w = config.whp
    return type(w)(seen_translation=w.seen_translation, seen_penalty=w.seen_penalty, offset_context=w.offset_context)
