"""Make the batches of a method's train step: the arrays of each part, and the frozen models.

The losses are in methods/; this module gives them their arrays. The baseline's log-probabilities of fixed sequences are
computed once and kept in reference/. A loss that needs nothing else of the baseline then trains without it in memory.
"""

from typing import Any

import jax
import numpy as np

from jaxunlearn.config import Train
from jaxunlearn.data.blocks import IGNORE, PAD_ID, Rows
from jaxunlearn.errors import InputError
from jaxunlearn.files import find_data
from jaxunlearn.methods import reads, recipe_of, values_of, wrappers
from jaxunlearn.methods.answers import load_questions
from jaxunlearn.methods.base import sequence_logp
from jaxunlearn.methods.step import step
from jaxunlearn.parallel.sharding import fetch, put
from jaxunlearn.run import Run
from jaxunlearn.run.resume import holds, keep, kept, trained_on
from jaxunlearn.run.store import hash_of, load_model, read_labels, read_soft_labels
from jaxunlearn.run.variants import Variant, variants
from jaxunlearn.stages.around import Fed, Folded, Part, own_step, refuse_standing, rows_of, sized
from jaxunlearn.stages.fit import Feed
from jaxunlearn.training.step import compiled_step
from jaxunlearn.whp.labels import LETTERS, Passage


def method_feed(run: Run, variant: Variant, frozen: dict[str, Any]) -> Feed:
    """Return the feed of a variant's method: its compiled step, and batch(n) -> [frozen models, parts of step n].

    frozen: models by name. Parts have a leading axis A of microbatches; that of text to keep has unlearn.retain_batch
    blocks in each. Raises InputError for answers too long.
    """
    method, config = variant.method, variant.config
    c, parts = config.unlearn, {name: _part(run, variant, name) for name in reads(method, config)}
    logp = {name: reference(run, f"{method.name}_{name}", parts[name], frozen) for name in method.stores}
    sizes = {"retain": sized(c, c.retain_batch)} if c.retain_batch else {}
    stored = {name: Part((logp_N,), ("B",), parts[name].seed) for name, logp_N in logp.items()}
    folded = Folded(run, c) if c.folds > 1 else None

    def batch(n: int) -> list:
        now, before = folded.at(n, parts, stored) if folded else (parts, stored)
        made: dict[str, Any] = {
            name: tuple(_passage(c, p, n) for p in part) if name == "passages" else rows_of(sizes.get(name, c), part, n)
            for name, part in now.items()
        }
        for name, part in before.items():
            made.setdefault("reference", {})[name] = rows_of(c, part, n)[0]
        return [frozen, made]

    recipe = recipe_of(method, config)
    if own := own_step(c):
        return own(Fed(run, c, recipe, batch, epoch=_epoch(run, variant)))
    return Feed(compiled_step(c, step, recipe=recipe), batch)


def _epoch(run: Run, variant: Variant) -> int:
    """Return the steps of one pass over what a variant's loss on text to forget reads."""
    c, name = variant.config.unlearn, reads(variant.method, variant.config)[0]
    rows = _answers(run, variant, name)[0] if name in ("answers", "true") else run.forget_split[0]
    return -(-len(rows) // (c.batch * c.accumulate))


def _passage(c: Train, part: Part, n: int) -> Passage:
    return Passage(*rows_of(c, part, n))


# ---- the parts


def _part(run: Run, variant: Variant, name: str) -> Any:
    """Return one part of the batch; "passages" is a list of parts, one for each translation."""
    rows, seed, tokens_NT = run.forget_split[0], run.config.seed, run.inputs.forget.tokens_NT
    if name in ("forget", "retain"):
        return Part(run.training(name), ("BT", "BT"), seed + (name == "retain"))
    if name in ("answers", "true"):
        return Part(_answers(run, variant, name), ("BT", "BT"), seed)
    if name == "labels":
        return Part((tokens_NT[rows], Rows(read_labels(run, variant), rows)), ("BT", "BT"), seed)
    if name == "soft":
        ids, p = (Rows(a, rows) for a in read_soft_labels(run, variant))
        trained_NT = np.asarray(run.passage(variant).trained_BT)[rows]
        return Part((tokens_NT[rows], ids, p, trained_NT), ("BT", "BTJ", "BTJ", "BT"), seed)
    assert name == "passages", f"no part of a batch is called {name!r}"
    count = int(values_of(variant.method, variant.config).get("translations", 1))
    return [Part(tuple(run.passage(variant, n).rows(rows)), LETTERS, seed) for n in range(count)]


def _answers(run: Run, variant: Variant, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (tokens_NT, labels_NT) of the taught answers ("answers") or of the true ones ("true").

    Both have the same order and width, because DPO compares them row by row.
    """
    given, context, tokenizer = run.config.text.answers, run.config.text.context, run.inputs.tokenizer
    assert variant.method.answers is not None, "a method that reads answers says which"
    rows = variant.method.answers(load_questions(find_data(given)), run.config.seed)
    sequences = {"answers": [_sequence(tokenizer, q, taught) for q, taught, _ in rows]}
    if "true" in reads(variant.method, variant.config):
        sequences["true"] = [_sequence(tokenizer, q, true) for q, _, true in rows]
    width = max(len(ids) for made in sequences.values() for ids, _ in made)
    if width > context:
        raise InputError(f"{given}: a question has {width} tokens, text.context is {context}")
    return _padded(sequences[name], width)


def _sequence(tokenizer, question: str, answer: str) -> tuple[list[int], int]:
    """Return (ids, first): question and answer as tokens of a text, and the index of the answer's first token."""
    ids, ends = tokenizer.encode(f"{question} {answer}")
    first = min(int(np.sum(ends <= len(question) + 1)), len(ids) - 1)
    context = tokenizer.before(ids[:first])
    return [*context, *map(int, ids[first:])], len(context)


def _padded(sequences: list[tuple[list[int], int]], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (tokens_NT, labels_NT): labels are the next tokens where these belong to the answer, else IGNORE."""
    width = -(-width // 32) * 32  # few widths, so that few programs are compiled
    tokens_NT = np.full((len(sequences), width), PAD_ID, np.int32)
    labels_NT = np.full((len(sequences), width), IGNORE, np.int32)
    for n, (ids, first) in enumerate(sequences):
        tokens_NT[n, : len(ids)] = ids
        labels_NT[n, first - 1 : len(ids) - 1] = ids[first:]
    return tokens_NT, labels_NT


def check(run: Run) -> None:
    """Raise InputError, before any work, for what a variant's training would fail on, or do nothing by."""
    if run.config.unlearn.reach and not any(p.position == "out" for p in run.tuning.prompts.probability):
        raise InputError(
            "unlearn.reach goes by next-word prompts outside names of the split 'choose', and text.prompts has none: "
            "give some, or set unlearn.reach=0 (in a sweep sweep.reach=0)"
        )
    for v in variants(run.config):
        if wrong := wrappers.faults(v.config, v.method, reads(v.method, v.config)):
            raise InputError(f"{v.name} cannot be trained:\n  " + "\n  ".join(wrong))
        if v.config.unlearn.folds > 1:
            Folded(run, v.config.unlearn)
        if v.config.unlearn.collapse.norm:
            refuse_standing(v.config.unlearn, _epoch(run, v))
        for name in {"answers", "true"} & set(reads(v.method, v.config)):
            _answers(run, v, name)


# ---- stored references


def reference(run: Run, name: str, part: Part, frozen: dict[str, Any]) -> np.ndarray:
    """Return the baseline's logp_N of every sequence of a part, in nats.

    It is computed once and kept in reference/NAME.json under the key of all that it depends on (run/resume.py, rule 8).
    """
    path, (tokens_NT, labels_NT) = run / f"reference/{name}.json", part.arrays
    key = {
        "baseline": hash_of(run / "baseline"), "inputs": trained_on(run.inputs.hashes), "shape": list(tokens_NT.shape),
        "seed": run.config.seed,
    }  # fmt: skip
    if not holds(path, key):
        model = frozen.get("baseline") or load_model(run.config, run / "baseline", frozen=True)
        keep(path, key, all_logp(model, tokens_NT, labels_NT, run.config.whp.label_batch).tolist())
    return np.asarray(kept(path), np.float32)


def all_logp(model, tokens_NT, labels_NT, batch: int) -> np.ndarray:
    """Return logp_N, the summed log-probability in nats of each sequence's labels (float32).

    Every batch has the same shape, so that one program serves all; the last one repeats the last sequence.
    """
    parts = []
    for start in range(0, len(tokens_NT), batch):
        rows = np.minimum(np.arange(start, start + batch), len(tokens_NT) - 1)
        logp_B = _logp(model, put(tokens_NT[rows], "BT"), put(labels_NT[rows], "BT"))
        parts.append(fetch(logp_B)[: len(tokens_NT) - start])
    return np.concatenate(parts).astype(np.float32)


_logp = jax.jit(sequence_logp)
