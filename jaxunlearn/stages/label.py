"""The label pass: make generic labels of every block, hard or soft.

Labels are written batch by batch, so that a kill loses at most one batch (run/resume.py, rule 7).
"""

import time
from pathlib import Path
from typing import Any

import numpy as np

from jaxunlearn import sealed
from jaxunlearn.anchors.translate import Translation
from jaxunlearn.config import Config, as_dict
from jaxunlearn.data.blocks import Blocks, next_token_labels
from jaxunlearn.estimates import duration
from jaxunlearn.files import json_text, write_whole
from jaxunlearn.kernels.linear_cross_entropy import IGNORE
from jaxunlearn.methods import label_rules
from jaxunlearn.methods.whp import teachers
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.console import progress, say
from jaxunlearn.parallel.sharding import fetch
from jaxunlearn.run import Run
from jaxunlearn.run.resume import labels_begun, labels_done, row_hashes
from jaxunlearn.run.store import hash_of, labels_folder, read_labels, stored_parts
from jaxunlearn.run.variants import Variant, variants
from jaxunlearn.stages.fit import frozen_models
from jaxunlearn.whp import labels as whp
from jaxunlearn.whp.labels import Passage, on_mesh
from jaxunlearn.whp.soft import soft_labels

NAMED = 0.1  # of the labels before a term, from which it is said that they name it


def label(run: Run) -> None:
    """Store the generic labels that the variants learn, one pass for each dictionary and rules, with all alphas.

    Alphas share a pass because the two forward passes, which cost the most, are the same for all of them.
    """
    wanted: dict[Path, list[Variant]] = {}
    for v in variants(run.config):
        if stored_parts(v):
            wanted.setdefault(labels_folder(run, v), []).append(v)
    for folder, group in wanted.items():
        first, of = group[0], run.with_(group[0].config)  # by the settings of who learns them, not the run's
        soft, name = "soft" in stored_parts(first), first.labels
        more = first.config.whp.alphas if name == "translated" and not soft else ()
        alphas = tuple(dict.fromkeys([*[v.alpha for v in group], *more]))
        provenance = _made_of(of)
        if not labels_done(folder, alphas, provenance):
            said = f"{len(run.inputs.forget.tokens_NT):,} blocks, {name} context, alpha {', '.join(map(str, alphas))}"
            with run.folder.stage("label", said):
                _label_pass(of, of.passage(first), folder, {"alphas": list(alphas)} | provenance, soft)
            for v in () if soft else group:
                shares = own_shares(read_labels(run, v), run.inputs.forget, of.translation)
                say(f"  {told(shares, v.alpha, v.config.whp.offset)}")


def own_shares(labels_NT: np.ndarray, blocks: Blocks, translation: Translation) -> dict[str, float]:
    """Return {"changed_share", "named_share"} of hard labels: how many differ from the text's own next token, and how
    many are that token where it begins a term, or goes on in one. A share of no label is left out."""
    truth_NT, n = next_token_labels(blocks), np.arange(len(labels_NT))[:, None]
    same_NT, trained_NT = labels_NT == truth_NT, labels_NT != IGNORE
    at_NT = np.maximum(translation.map_NT, 0)
    other_NT = (translation.map_NT < 0) | (translation.tokens_NS[n, at_NT] != blocks.tokens_NT)
    before_NT = trained_NT & np.pad(other_NT[:, 1:], ((0, 0), (0, 1))) & (truth_NT != IGNORE)
    found = {"changed_share": ~same_NT[trained_NT], "named_share": same_NT[before_NT]}
    return {name: float(each.mean()) for name, each in found.items() if each.size}


def told(shares: dict[str, float], alpha: float, offset: str) -> str:
    """Return a line about own_shares; where many labels name the text's terms, also what can be done."""
    line = f"alpha {alpha:g}: {shares.get('changed_share', 0):.0%} of the labels differ from the text"
    if "named_share" not in shares:
        return line
    line += f"; before its terms {shares['named_share']:.0%} still name them"
    if shares["named_share"] <= NAMED or not alpha:  # without alpha nothing is lowered, as a control wants it
        return line
    other = ", or set whp.offset=baseline" if offset == "contrast" else ""
    return f"{line}; too little is lowered, as where the text is known by heart: raise whp.alpha{other}"


def _made_of(run: Run) -> dict[str, Any]:
    """Return what the labels of a run depend on beside the dictionary and alpha, as provenance.json has it."""
    asked = teachers(run.config)
    return {
        "shape": list(run.inputs.forget.tokens_NT.shape), "whp": as_dict(run.config.whp), "inputs": run.inputs.hashes,
        **{name: hash_of(run / name) if name in asked else "" for name in ("baseline", "reinforced", "diluted")},
    }  # fmt: skip


def _label_pass(run: Run, passage: Passage, folder: Path, provenance: dict, soft: bool) -> None:
    """Write labels/NAME/alpha_A.npy (soft: _ids.npy and _p.npy) batch by batch, and provenance.json beside them."""
    config, shape, alphas = run.config, run.inputs.forget.tokens_NT.shape, provenance["alphas"]
    provenance = provenance | {"complete": False, "blocks_done": 0}
    kinds = {"_ids": np.int32, "_p": np.float16} if soft else {"": np.int32}
    files = {folder / f"alpha_{a:g}{kind}.npy": dtype for a in alphas for kind, dtype in kinds.items()}
    size = (*shape, config.whp.top) if soft else shape
    provenance["blocks_done"] = first = labels_begun(folder, provenance, files, size)
    hashes = row_hashes(files, first if processes.index() == 0 else 0)
    models, began = list(frozen_models(run, teachers(config)).values()), time.monotonic()
    for start, stop, arrays in (softened if soft else labelled)(config, models, passage, alphas, first):
        provenance["blocks_done"] = stop
        if processes.index() == 0:
            _keep(folder, provenance, hashes, start, arrays)
        _label_progress(start, stop, shape, began, first)
    processes.first(lambda: _finish(folder, provenance | {"complete": True}))


def _keep(folder: Path, provenance: dict, hashes: dict, start: int, arrays) -> None:
    """Write one batch of labels from block `start` on, then the number of finished blocks.

    The order matters: after a kill between the two, the batch is made again; the other way round it would be missing.
    """
    for (name, rows), found in zip(hashes.items(), arrays, strict=True):
        file = np.lib.format.open_memmap(folder / name, "r+")
        file[start : start + len(found)] = found
        file.flush()
        rows.update(np.ascontiguousarray(found, file.dtype).tobytes())
    provenance["rows"] = {name: rows.hexdigest() for name, rows in hashes.items()}
    _write(folder, provenance)


def _write(folder: Path, provenance: dict) -> None:
    write_whole(folder / "provenance.json", json_text(sealed.sealed(provenance), indent=1))


def _finish(folder: Path, provenance: dict) -> None:
    _write(folder, provenance)
    sealed.seal(folder)


def _label_progress(start: int, stop: int, shape, began: float, first: int) -> None:
    """Print progress about ten times in a pass, with the rate in tokens a second and the time left."""
    blocks, context = shape
    if stop < blocks and 10 * start // blocks == 10 * stop // blocks:
        return
    rate = (stop - first) / (time.monotonic() - began)
    left = duration((blocks - stop) / rate)
    progress(f"  label {stop}/{blocks} blocks  {rate * context:,.0f} tokens/s  {left} left", last=stop == blocks)


def labelled(config: Config, models, passage: Passage, alphas, done: int = 0):
    """Yield (first block, block after the last, labels_ABT) from block `done` on; A: alphas.

    models: as methods.whp.teachers names them. Every batch has the same shape, so that one program serves all.
    """
    for start, stop, part in _parts(config, passage, done):
        labels_ABT = whp.label(*models[:2], part, *models[2:], alphas=tuple(alphas), whp=label_rules(config))
        yield start, stop, fetch(labels_ABT)[:, : stop - start]


def softened(config: Config, models, passage: Passage, alphas, done: int = 0):
    """Yield (first block, block after the last, [ids_BTJ, p_BTJ of each alpha]) of soft labels; J: whp.top."""
    for start, stop, part in _parts(config, passage, done):
        found = []
        for alpha in alphas:
            found += soft_labels(*models[:2], part, *models[2:], alpha=alpha, whp=label_rules(config))
        yield start, stop, [fetch(a)[: stop - start] for a in found]


def _parts(config: Config, passage: Passage, done: int):
    """Yield (first block, block after the last, passage on the mesh); the last batch repeats the last block."""
    size, blocks = config.whp.label_batch, len(passage.tokens_BT)
    for start in range(done, blocks, size):
        rows = np.minimum(np.arange(start, start + size), blocks - 1)
        yield start, min(start + size, blocks), on_mesh(passage, rows)
