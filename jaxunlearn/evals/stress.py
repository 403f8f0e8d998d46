"""Two models that only hide, made so on purpose, which the attacks must expose.

Half frozen, the stress test of RTT: the baseline learns the generic labels and wrong answers to the facts (RIA of
arXiv 2410.08827), with retain text beside them, while its embeddings and the first half of its layers stay frozen.
Output filter: the baseline as it is, with the tokens barred that begin a term of the target (guided.Filtered).
"""

from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxunlearn import train
from jaxunlearn.config import Train
from jaxunlearn.evals.facts import Fact
from jaxunlearn.evals.measure import Suite
from jaxunlearn.evals.rtt import texts, told
from jaxunlearn.text import IGNORE, PAD_ID
from jaxunlearn.tokenizer import Tokenizer

STEPS, BATCH = 48, 16
BEFORE, AFTER = ("", "a ", '"', "“"), ("", " a", ".", ",")  # what a term may stand between in running text


def hiding(start, arrays, learning_rate: float, batch: int, seed: int):
    """Train `start` on blocks (tokens_NT, labels_NT) with its first half of layers frozen, and return it."""
    c = Train(steps=STEPS, learning_rate=learning_rate, batch=batch, warmup=4, schedule="cosine")

    def rows(step):
        return train.microbatches(c, arrays, ("BT", "BT"), len(arrays[0]), seed, step)

    return train.fit(train.init_state(start, c), train.compiled_step(c, half_frozen_step), rows, c).model


def half_frozen_step(state: train.State, learning_rate, tokens_ABT, labels_ABT, *, c: Train):
    """Return (new state, metrics) after one update of the last half of the layers, the last norm and the head."""
    loss, g = train.gradients(state.model, tokens_ABT, labels_ABT)
    g = jax.tree_util.tree_map_with_path(_second_half, g)
    updates, opt = train.optimiser(c, learning_rate).update(g, state.opt, state.model)
    return train.State(state.step + 1, optax.apply_updates(state.model, updates), opt), {"loss": loss}


def _second_half(path, g):
    names = [key.name for key in path if hasattr(key, "name")]
    if "embed_VD" in names:
        return jnp.zeros_like(g)
    if "blocks" not in names:
        return g
    trained_L = (np.arange(g.shape[0]) >= g.shape[0] // 2).astype(np.float32)
    return g * trained_L.reshape(-1, *[1] * (g.ndim - 1))


def wrong_answers(suite: Suite, facts: Sequence[Fact], scoring: str, context: int, seed: int):
    """Return blocks (tokens_NT, labels_NT) packed with every fact told with each of its wrong options."""
    lies = []
    for fact in facts:
        for n in range(len(fact.options)):
            if n != fact.answer:
                prompt, answer = texts([Fact(question=fact.question, options=fact.options, answer=n)], scoring)[0]
                lies.append(told(suite.tokenizer, prompt, answer))
    bos, made = suite.tokenizer.needed_bos_id(), [[]]
    for n in np.random.default_rng(seed).permutation(len(lies)):
        if made[-1] and len(made[-1]) + len(lies[n]) > context - 1:
            made.append([])
        made[-1] += lies[n][: context - 1]
    tokens_NT = np.full((len(made), context), PAD_ID, np.int32)
    labels_NT = np.full((len(made), context), IGNORE, np.int32)
    for n, ids in enumerate(made):
        tokens_NT[n, 0], tokens_NT[n, 1 : len(ids) + 1], labels_NT[n, : len(ids)] = bos, ids, ids
    return tokens_NT, labels_NT


def beginnings(tokenizer: Tokenizer, terms: Iterable[str]) -> list[int]:
    """Return the tokens that begin a term, wherever in a text it stands; unknown and blank ones are none."""
    found = set()
    for text, start in ((before + term + after, len(before)) for term in terms for before in BEFORE for after in AFTER):
        ids_T, ends_T = tokenizer.encode(text)
        found.add(int(ids_T[np.sum(ends_T <= start)]))
    pieces = dict(zip(sorted(found), tokenizer.pieces(sorted(found)), strict=True))
    return [token for token, piece in pieces.items() if "<unk>" not in piece and piece.strip("▁Ġ ")]


def mixed(parts: Sequence[tuple[np.ndarray, np.ndarray]], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return as many blocks of each part as the largest has, smaller ones repeated."""
    most, draw = max(len(tokens) for tokens, _ in parts), np.random.default_rng(seed)
    picked = [np.concatenate([draw.permutation(len(t)) for _ in range(-(-most // len(t)))])[:most] for t, _ in parts]
    tokens, labels = zip(*[(t[i], y[i]) for (t, y), i in zip(parts, picked, strict=True)], strict=True)
    return np.concatenate(tokens), np.concatenate(labels)
