"""Read what a run has on disk: models, labels, and the settings that a measurement depends on."""

from functools import partial
from pathlib import Path

import numpy as np

from jaxunlearn import sealed
from jaxunlearn.config import Config, Eval, as_dict
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.files import sha256_text
from jaxunlearn.methods import inference, reads
from jaxunlearn.models import hub, huggingface, peft
from jaxunlearn.models.directory import check_model
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.console import part
from jaxunlearn.run import Run
from jaxunlearn.run.variants import Variant, variants

# fields of Eval that are not in a measurement's key
ELSEWHERE = ("every", "at", "allow_unknown", "relearn_steps", "relearn_blocks", "relearn_batch", "relearn_rates")
# fields that came later: in a key only where they are set, so that what was measured before them is kept
LATER = {name: getattr(Eval(), name) for name in ("chat", "context")}


def measured_by(e: Eval) -> dict:
    """Return the settings of eval.* that a measurement depends on, for its key."""
    return {k: v for k, v in as_dict(e).items() if k not in ELSEWHERE and v != LATER.get(k, ...)}


# fields of Eval that no attack looks at
BESIDE = ("members", "benchmarks", "tasks", "tofu", "muse", "items")


def attacked_by(measured: dict) -> dict:
    """Return those of the settings that `measured_by` returns that an attack depends on."""
    return {k: v for k, v in measured.items() if k not in BESIDE}


def models_of(run: Run) -> dict[str, Path]:
    """Return {name in the report: folder} of the models that exist."""
    names = {name: name for name in ("baseline", "unlearned", "twin", "reinforced", "repaired")}
    names |= {v.name: v.folder for v in variants(run.config)[1:]}
    return {name: run / folder for name, folder in names.items() if run.folder.has(folder)}


def load_model(config: Config, directory: Path, frozen: bool = False):
    """Return the model in a directory, also one of a method at inference time (methods/inference.py).

    The matrices of frozen models are stored in the compute dtype, because nothing updates them; all else in fp32.
    Raises RunError for one that is not as it was saved.
    """
    part(f"reading {Path(directory).name}")
    verify(directory)
    if inference.is_guided(directory):
        return inference.load(directory, partial(load_model, config, frozen=frozen))
    return huggingface.load(directory, config.compute, config.compute if frozen else "float32", config.remat)


def found_model(name: str | Path):
    """Return (folder, tokenizer, shape) of the model that a name stands for, before its weights are read.

    name: a folder, a hub name or a .gguf file. Raises InputError where there is none or its tokenizer does not fit,
    RunError for one that is not as it was saved.
    """
    path = hub.find_model(name)
    verify(path)  # a model of a run is what was saved there
    own = inference.baseline(path) if inference.is_guided(path) else path  # the models of such a method are beside it
    tokenizer = load_tokenizer(own)
    return path, tokenizer, check_model(own, tokenizer)


def read_model(path: Path, compute: str = "float32"):
    """Return the model in a folder that found_model gave, also one of a method at inference time."""

    def read(folder):
        return huggingface.load(folder, compute)

    return inference.load(path, read) if inference.is_guided(path) else read(path)


def verify(directory: Path) -> None:
    """Raise RunError, naming the file, for a model that is not as it was saved; each file is hashed once a process."""
    linked = "put the file back, or use another run.dir" if Path(directory).is_symlink() else ""

    def look() -> None:
        sealed.check(directory, linked)  # first: what lies below it is named in its files
        for folder in below(directory):
            sealed.check(folder, linked)

    processes.first(look)


def below(directory: Path) -> list[Path]:
    """Return the folders whose weights a model is made of beside its own: those an adapter or method.json names."""
    if inference.is_guided(directory):
        return inference.parts(directory)
    return [peft.base_of(directory)] if peft.is_adapter(directory) else []


def hash_of(folder: Path) -> str:
    """Return the hash of a model's weights; that of a method at inference time is of the models that it asks, too.

    Raises RunError for a model that is not as it was saved.
    """

    def own(folder: Path) -> str:
        files = [*sorted(folder.glob("*.safetensors")), *folder.glob(inference.FILE)]
        return sha256_text(*map(sealed.digest, files))

    def whole() -> str:
        verify(folder)
        parts = inference.parts(folder) if inference.is_guided(folder) else []
        return sha256_text(own(folder), *map(own, parts)) if parts else own(folder)

    return processes.first(whole)


# ---- labels


def labels_folder(run: Run | Path, variant: Variant) -> Path:
    """Return the folder, in a run or in its directory, of the labels that a variant learns."""
    return _folder(run, variant, soft="soft" in stored_parts(variant))


def _folder(run: Run | Path, variant: Variant, soft: bool) -> Path:
    """Return a folder of labels; its name tells the dictionary, other rules than the run's, and soft labels."""
    return run / "labels" / "_".join(filter(None, (variant.labels, variant.rules, "soft" * soft)))


def stored_parts(variant: Variant) -> tuple[str, ...]:
    """Return the stored labels that a variant learns: ("labels",), ("soft",) or ()."""
    return tuple(part for part in reads(variant.method, variant.config) if part in ("labels", "soft"))


def has_labels(run: Run, variant: Variant) -> bool:
    """Return whether a run holds hard labels by a variant's settings, finished or not."""
    return (_folder(run, variant, soft=False) / f"alpha_{variant.alpha:g}.npy").is_file()


def read_labels(run: Run, variant: Variant) -> np.ndarray:
    """Return a variant's stored labels_NT (int32, -100 where untrained), memory-mapped.

    Raises RunError where they are not as they were saved, as `read_soft_labels` does.
    """
    (labels,) = _arrays(_folder(run, variant, soft=False), f"alpha_{variant.alpha:g}.npy")
    return labels


def read_soft_labels(run: Run, variant: Variant) -> tuple[np.ndarray, np.ndarray]:
    """Return a variant's stored soft labels (ids_NTJ int32, p_NTJ float16), memory-mapped; J: whp.top."""
    a = f"alpha_{variant.alpha:g}"
    ids, p = _arrays(_folder(run, variant, soft=True), f"{a}_ids.npy", f"{a}_p.npy")
    return ids, p


def _arrays(folder: Path, *names: str) -> list[np.ndarray]:
    processes.first(lambda: sealed.check(folder))
    return [np.load(folder / name, mmap_mode="r") for name in names]
