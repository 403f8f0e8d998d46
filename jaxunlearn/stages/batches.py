"""What a method's step is given: its data and frozen models brought together, one batch a step.

methods/ holds the losses; here is where their arrays come from. Reference log-probabilities of the fixed forget set
are computed once and stored under reference/, so that one model is in memory where a loss asks for no more.
"""

import json
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxunlearn.config import Config, Unlearn
from jaxunlearn.data.blocks import IGNORE, PAD_ID
from jaxunlearn.errors import InputError
from jaxunlearn.files import write_whole
from jaxunlearn.methods import steps
from jaxunlearn.methods.answers import load_questions, replacements
from jaxunlearn.methods.settings import ANSWERS, GENERIC, recipe_of
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.sharding import fetch, put
from jaxunlearn.run.directory import RunDirectory
from jaxunlearn.run.store import hash_of, load_model
from jaxunlearn.training.loop import microbatches
from jaxunlearn.training.step import compiled_step
from jaxunlearn.whp.labels import LETTERS, Passage


class Plan(NamedTuple):
    """How a method trains: batch(step) -> arrays of the step function, and the step function itself."""

    batch: Any
    step: Any


def plan(config: Config, run: RunDirectory, x, variant, name: str, frozen: dict, labels=None, soft=None) -> Plan:
    """Bring together a method's data: `frozen` models by name, `labels` or `soft` outcomes as the label pass stored."""
    c, recipe = config.unlearn, recipe_of(config, name, variant.alpha)
    rows, seed = x.forget_split[0], config.seed
    tokens = x.forget.tokens_NT[rows]
    parts: dict[str, tuple] = {}  # name: (arrays, letters, seed)
    if name in GENERIC or name == "whp_averaged":
        if labels is not None:
            parts["labels"] = ((tokens, labels[rows]), ("BT", "BT"), seed)
        elif soft is not None:
            trained = np.asarray(x.passage(variant).trained_BT)[rows]
            parts["soft"] = ((tokens, soft[0][rows], soft[1][rows], trained), ("BT", "BTJ", "BTJ", "BT"), seed)
        else:
            count = int(recipe["translations"]) if name == "whp_averaged" else 1
            passages = [x.passage(variant, n).rows(rows) for n in range(count)]
            parts |= {f"passage {n}": (p, LETTERS, seed) for n, p in enumerate(passages)}
    elif name in ANSWERS:
        parts |= _answers(config, x, name)
    elif name != "retain_only":
        parts["forget"] = (x.training("forget"), ("BT", "BT"), seed)
    if recipe["retain_weight"] or name == "retain_only":
        parts["retain"] = (x.training("retain"), ("BT", "BT"), seed + 1)
    for key in {"npo": ("forget",), "dpo": ("answers", "true")}.get(name, ()):
        (sequences, marked), letters, s = parts[key]
        logp = reference(config, run, x, f"{name}_{key}", sequences, marked, frozen)
        parts[key] = (sequences, marked, logp), (*letters, "B"), s

    def batch(n):
        return [frozen, _batch(c, parts, n)]

    return Plan(batch, compiled_step(c, steps.step, recipe=recipe))


def _batch(c: Unlearn, parts: dict, n: int) -> dict:
    """Return step n's microbatches of every part, as steps.py wants them."""
    made: dict[str, Any] = {}
    for name, (arrays, letters, seed) in parts.items():
        found = microbatches(c, arrays, letters, len(arrays[0]), seed, n)
        if name.startswith("passage"):
            made["passages"] = (*made.get("passages", ()), Passage(*found))
        elif letters[-1] == "B":
            made[name] = tuple(found[:-1])
            made.setdefault("reference", {})[name] = found[-1]
        else:
            made[name] = tuple(found)
    return made


# ---- data


def _answers(config: Config, x, name: str) -> dict[str, tuple]:
    """Return the sequences to learn from questions: "answers", and for dpo "true", in the same order."""
    questions = load_questions(x.find(config.text.answers))
    rows = replacements(name, questions, config.seed)
    wanted = {"answers": [(q, taught) for q, taught, _ in rows]}
    if name == "dpo":
        wanted["true"] = [(q, true) for q, _, true in rows]
    width = max(len(_sequence(x.tokenizer, *pair)[0]) for pairs in wanted.values() for pair in pairs)
    if width > config.text.context:
        raise InputError(f"{config.text.answers}: a question has {width} tokens, text.context is {config.text.context}")
    return {
        key: (_padded([_sequence(x.tokenizer, *p) for p in pairs], width), ("BT", "BT"), config.seed)
        for key, pairs in wanted.items()
    }


def _sequence(tokenizer, question: str, answer: str) -> tuple[list[int], int]:
    """Return (BOS, question and answer as tokens, where the answer's first token stands)."""
    ids, ends = tokenizer.encode(f"{question} {answer}")
    first = min(int(np.sum(ends <= len(question) + 1)), len(ids) - 1)
    return [tokenizer.needed_bos_id(), *map(int, ids)], first + 1


def _padded(sequences: list[tuple[list[int], int]], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (tokens_NT, labels_NT): each position's next token where that is part of the answer."""
    width = -(-width // 32) * 32
    tokens_NT = np.full((len(sequences), width), PAD_ID, np.int32)
    labels_NT = np.full((len(sequences), width), IGNORE, np.int32)
    for n, (ids, first) in enumerate(sequences):
        tokens_NT[n, : len(ids)] = ids
        labels_NT[n, first - 1 : len(ids) - 1] = ids[first:]
    return tokens_NT, labels_NT


def reference(config: Config, run: RunDirectory, x, name: str, tokens_NT, labels_NT, frozen: dict) -> np.ndarray:
    """Return the baseline's logp_N of every sequence, computed once and kept in reference/NAME.npy."""

    path, about = run / f"reference/{name}.npy", run / f"reference/{name}.json"
    key = {
        "baseline": hash_of(run / "baseline"),
        "inputs": x.hashes,
        "shape": list(tokens_NT.shape),
        "seed": config.seed,
    }
    if processes.first(lambda: path.is_file() and about.is_file() and json.loads(about.read_text()) == key):
        return np.load(path)
    model = frozen.get("baseline") or load_model(config, run / "baseline", frozen=True)
    logp_N = all_logp(model, tokens_NT, labels_NT, config.whp.label_batch)

    def keep():
        path.parent.mkdir(exist_ok=True)
        np.save(path, logp_N)
        write_whole(about, json.dumps(key))

    processes.first(keep)
    return logp_N


def all_logp(model, tokens_NT, labels_NT, batch: int) -> np.ndarray:
    """Return logp_N in nats of the labels of every sequence, in batches of one shape."""
    parts = []
    for start in range(0, len(tokens_NT), batch):
        rows = np.minimum(np.arange(start, start + batch), len(tokens_NT) - 1)
        logp_B = _logp(model, put(tokens_NT[rows], "BT"), put(labels_NT[rows], "BT"))
        parts.append(fetch(logp_B)[: len(tokens_NT) - start])
    return np.concatenate(parts).astype(np.float32)


_logp = jax.jit(steps.sequence_logp)


def mean_kl(teacher, model, tokens_NT, labels_NT, batch: int) -> float:
    """Return the mean KL(teacher || model) in nats a token: the gap that KGA aligns to, measured once."""
    total = count = 0.0
    for start in range(0, len(tokens_NT), batch):
        rows = np.arange(start, start + batch)
        real = np.minimum(rows, len(tokens_NT) - 1)
        labels = np.where((rows < len(tokens_NT))[:, None], labels_NT[real], IGNORE).astype(np.int32)
        sums = _kl(teacher, model, put(tokens_NT[real], "BT"), put(labels, "BT"))
        total, count = total + float(sums[0]), count + float(sums[1])
    return total / max(count, 1)


@jax.jit
def _kl(teacher, model, tokens_BT, labels_BT):
    scene = steps.Scene(model, {}, {"text": (tokens_BT, labels_BT)}, steps.Recipe("kl_retain", ()))
    return steps.kl_to(scene, teacher, "text")
