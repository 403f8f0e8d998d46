"""Unlearning at inference time: method.json says which models to ask and how, in the place of weights.

whp_inference combines the logits of two models while it generates. prompting puts a request to know nothing before each
prompt. An output filter bars tokens of the baseline's output and hides what it knows (a control of the attacks).
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxunlearn import sealed
from jaxunlearn.data.links import inside
from jaxunlearn.errors import InputError, shown
from jaxunlearn.files import json_text, read_json, write_whole
from jaxunlearn.kernels.attention import Cache
from jaxunlearn.methods.base import Method, Setting, Values
from jaxunlearn.models import lora, peft
from jaxunlearn.parallel.sharding import act
from jaxunlearn.whp import equation


def whp_inference(base_V, reinforced_V, alpha=5.0):
    """Return v_base - alpha * ReLU(v_reinforced - v_base), fp32 logits of both models on the same input.

    WHP at inference time: no dictionary, no training, two models in memory. Elementwise, so the logits of any few
    positions will do. Source: the offset of arXiv 2310.02238, eq. 1, used as MUSE's baseline, arXiv 2407.06460.
    """
    base_V, reinforced_V = base_V.astype(jnp.float32), reinforced_V.astype(jnp.float32)
    return equation.generic_logits(base_V, reinforced_V, alpha)


IGNORANCE = (
    "You have never read, seen or heard anything about {subject}. Answer as someone would who does not know it at all, "
    "and do not mention that you were asked to.\n\n"
)


def pretended_ignorance(prompt: str, subject: str, prefix: str = IGNORANCE) -> str:
    """Return the prompt behind a request to know nothing of `subject`: the baseline that trains nothing.

    prefix: any text, with {subject} where the subject is named. Source: after the prompting baseline of Thaker et al.,
    "Guardrail Baselines for Unlearning in LLMs", arXiv 2403.03329, in words of our own.
    """
    return prefix.replace("{subject}", subject) + prompt


FILE = "method.json"
BARRED = 30.0  # nats of logit taken from a barred token: finite, so that the text's perplexity stays a number


def has_weights(model) -> bool:
    """Return whether a model has weights to take gradients of; a Pair or Filtered one has not."""
    return not isinstance(model, Pair | Filtered)


class Pair(nnx.Module):
    """Two models of one shape as one model: hidden states are joined along D, caches along the layers."""

    def __init__(self, base, reinforced, alpha: float):
        self.base, self.reinforced, self.alpha = base, reinforced, alpha
        self.c = dataclasses.replace(base.c, L=2 * base.c.L)  # layers of the cache

    def __call__(self, tokens_BT, positions_BT=None, mask_BTS=None, cache: Cache | None = None, at=0):
        """Return h_BTD of both models, D twice as long; with a cache also the new cache."""
        pair = self.base, self.reinforced
        if cache is None:
            return jnp.concatenate([m(tokens_BT, positions_BT, mask_BTS) for m in pair], axis=-1)
        L = self.base.c.L
        halves = [Cache(*(a[:L] for a in cache)), Cache(*(a[L:] for a in cache))]
        found = [m(tokens_BT, positions_BT, mask_BTS, half, at) for m, half in zip(pair, halves, strict=True)]
        joined = Cache(*(jnp.concatenate([new[n] for _, new in found]) for n in range(2)))
        return jnp.concatenate([h for h, _ in found], axis=-1), joined

    def logits(self, h_BTD):
        """Return v_base - alpha * ReLU(v_reinforced - v_base), fp32."""
        base, reinforced = (
            m.logits(h) for m, h in zip((self.base, self.reinforced), jnp.split(h_BTD, 2, -1), strict=True)
        )
        return whp_inference(base, reinforced, self.alpha)


class Filtered(nnx.Module):
    """A model behind an output filter: barred tokens lose BARRED nats; weights and hidden states do not change."""

    def __init__(self, base, barred: tuple[int, ...]):
        self.base, self.barred, self.c = base, barred, base.c

    def __call__(self, *arguments):
        return self.base(*arguments)

    def logits(self, h_BTD):
        """Return the model's logits less BARRED nats for each barred token, fp32."""
        loss_V = np.zeros(self.c.V, np.float32)
        loss_V[list(self.barred)] = BARRED
        return self.base.logits(h_BTD) - jax.reshard(jnp.asarray(loss_V), act("V"))[None, None]


def is_guided(folder: Path) -> bool:
    """Return whether a folder holds a method at inference time in the place of weights."""
    return (Path(folder) / FILE).is_file()


def save(folder: Path, about: dict) -> None:
    """Write method.json, sealed: the method, its settings, and where the models lie."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / FILE, json_text(about, indent=1))
    sealed.seal(folder)


def save_filter(folder: Path, barred: Sequence[int], of: str) -> None:
    """Write method.json of an output filter over the baseline two folders up; `of`: the hash of its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {"method": "filter", "baseline": "../../baseline", "weights": of, "barred": list(barred)}
    (folder / FILE).write_text(json_text(about))


def load(folder: Path, read):
    """Return the model that a folder's method.json describes; read(directory) -> a model."""
    about = _about(folder)
    base = read(baseline(folder))
    if "barred" in about:
        if max(about["barred"], default=0) >= base.c.V:
            raise InputError(f"{folder / FILE} bars the token {max(about['barred'])}, the model has {base.c.V}")
        return Filtered(base, tuple(about["barred"]))
    if "prefix" in about:
        return base  # a prompt alone: `prefix` is put before what is asked
    if "reinforced" not in about:
        raise InputError(f"{folder / FILE} describes no method that is known: it has {sorted(about)}")
    other = folder / about["reinforced"]
    reinforced = lora.over(base, peft.load(other, base.c)) if peft.is_adapter(other) else read(other)
    return Pair(base, reinforced, about["alpha"])


def baseline(folder: Path) -> Path:
    """Return the folder of the model that a method at inference time asks."""
    return Path(folder) / _about(folder)["baseline"]


def parts(folder: Path) -> list[Path]:
    """Return the folders of the models that a method at inference time asks."""
    about = _about(folder)
    return [Path(folder) / about[name] for name in ("baseline", "reinforced") if name in about]


def prefix(folder: Path) -> str:
    """Return the text that is put before every prompt of a folder's model; "" for a plain model."""
    return _about(folder).get("prefix", "") if is_guided(folder) else ""


def suite(folder: Path, suite):
    """Return the suite with the folder's prefix before every prompt; the same suite where it has none."""
    return dataclasses.replace(suite, prefix=prefix(folder)) if prefix(folder) else suite


def _about(folder: Path) -> dict:
    path, home = inside(folder, FILE), Path(folder).resolve()
    about = read_json(path, dict)
    for name in ("baseline", *{"reinforced"} & about.keys()):
        given = about.get(name)  # ../baseline of unlearned/, ../../baseline of attacks/FILTER/: folders of the same run
        if not isinstance(given, str) or not Path(os.path.normpath(home / given)).is_relative_to(home.parent.parent):
            raise InputError(f"{path} has the {name} {shown(given)}: expected a folder of the same run")
    barred = about.get("barred", [])
    good = isinstance(about.get("prefix", ""), str) and isinstance(about.get("alpha", 0.0), int | float)
    if not good or not isinstance(barred, list) or not all(type(i) is int and i >= 0 for i in barred):
        raise InputError(f"{path} holds a prefix, an alpha or barred tokens of another type; make the model again")
    return about


# ---- the methods


def two_models(load, values: Values) -> dict:
    """Return the content of method.json for WHP at inference time."""
    return {"alpha": values["alpha"], "baseline": "../baseline", "reinforced": "../reinforced"}


def behind_a_prefix(load, values: Values) -> dict:
    """Return the content of method.json for the baseline with a request to know nothing before each prompt."""
    prefix = values["prefix"] + " " if values["prefix"] else IGNORANCE
    said = pretended_ignorance("", values["subject"], prefix)
    return {"subject": values["subject"], "baseline": "../baseline", "prefix": said}


INFERENCE = Method(
    name="whp_inference",
    paper="arXiv 2407.06460",
    summary="WHP's offset on two models' logits while generating; no dictionary",
    card="the offset taken from two models' logits while generating",
    make=two_models,
    at_inference=True,
    settings={"alpha": Setting(default=5.0, least=0, section="whp", why="below 0 the offset would reinforce")},
    reads=(),
    asks=("baseline", "reinforced"),
    first=("reinforced",),
)
PROMPTING = Method(
    name="prompting",
    paper="arXiv 2403.03329",
    summary="a prompt that asks the model to pretend ignorance",
    card="a prompt that asks the baseline to pretend ignorance",
    make=behind_a_prefix,
    at_inference=True,
    settings={"subject": Setting(default=""), "prefix": Setting(default="", optional=True)},
    reads=(),
)
