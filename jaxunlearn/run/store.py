"""What a run has on disk: models, labels, results kept under all that they depend on."""

import json
from functools import partial
from pathlib import Path

import jax
import numpy as np

from jaxunlearn.config import Config, Eval, as_dict
from jaxunlearn.files import sha256, sha256_text, write_whole
from jaxunlearn.methods import inference
from jaxunlearn.models import huggingface
from jaxunlearn.parallel import processes
from jaxunlearn.run.directory import RunDirectory
from jaxunlearn.run.variants import Variant, variants

ELSEWHERE = ("every", "at", "relearn_steps", "relearn_blocks", "relearn_rates")  # of Eval; bear on no measurement


def measured_by(e: Eval) -> dict:
    """Return the settings that a measurement depends on."""
    return {k: v for k, v in as_dict(e).items() if k not in ELSEWHERE}


def holds(path: Path, key: dict) -> bool:
    """Whether a file holds what was found under these settings, as the first process sees it."""
    return processes.first(lambda: path.is_file() and json.loads(path.read_text())["key"] == key)


def keep(path: Path, key: dict, found) -> None:
    """Write what was found under these settings; of several processes the first one does."""

    def write():
        path.parent.mkdir(exist_ok=True)
        write_whole(path, json.dumps({"key": key, "found": found}))

    processes.first(write)


def models_of(config: Config, run: RunDirectory) -> dict[str, Path]:
    names = {"baseline": "baseline", "unlearned": "unlearned", "twin": "twin", "reinforced": "reinforced"}
    names["repaired"] = "repaired"
    names |= {v.name: v.folder for v in variants(config)[1:]}
    return {name: run / folder for name, folder in names.items() if run.has(folder)}


UNLISTED = ("completions", "leak_texts", "leak_probabilities", "items", "right", "min_k", "truth_ratios")


def device() -> str:
    """Name the devices of the mesh."""
    d = jax.devices()
    return f"{len(d)} x {d[0].device_kind}" + (f", {jax.process_count()} processes" if jax.process_count() > 1 else "")


def load_model(config: Config, directory: Path, frozen: bool = False):
    """Read a model, or what stands for one at inference time; frozen ones rest in the compute dtype, others in fp32."""
    if inference.is_guided(directory):
        return inference.load(directory, partial(load_model, config, frozen=frozen))
    return huggingface.load(directory, config.compute, config.compute if frozen else "float32", config.remat)


def hash_of(folder: Path) -> str:
    """Return the hash of a model's weights."""
    return processes.first(
        lambda: sha256_text(*[sha256(p) for p in [*sorted(folder.glob("*.safetensors")), *folder.glob(inference.FILE)]])
    )


def read_soft_labels(run: RunDirectory, variant: Variant) -> tuple[np.ndarray, np.ndarray]:
    """Return a variant's stored (ids_NTJ, p_NTJ) of soft labels, memory-mapped."""
    folder = run / "labels" / f"{variant.labels}_soft"
    ids, p = (np.load(folder / f"alpha_{variant.alpha:g}_{kind}.npy", mmap_mode="r") for kind in ("ids", "p"))
    return ids, p


def read_labels(run: RunDirectory, variant: Variant) -> np.ndarray:
    """Return a variant's stored labels_NT (int32, -100 where untrained), memory-mapped."""
    return np.load(run / "labels" / variant.labels / f"alpha_{variant.alpha:g}.npy", mmap_mode="r")
