"""How much reinforcing on the target raises each word: a third sign of terms, beside rarity and capitals.

N blocks, T positions in a block, B blocks of a batch, V vocabulary, D model width.
"""

from collections.abc import Iterator

import numpy as np

from jaxunlearn.anchors.words import CLITIC, WORD
from jaxunlearn.data.blocks import IGNORE, Blocks, next_token_labels
from jaxunlearn.data.boundaries import joined
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.models.scoring import CHUNK
from jaxunlearn.parallel.sharding import put, replicated


def word_lift(
    baseline, reinforced, tokenizer: Tokenizer, blocks: Blocks, *, batch: int = 8, least: int = 3
) -> dict[str, float]:
    """Return {word in lower case: mean nats by which the reinforced model raises it over the baseline}.

    A word's log-probability is the sum over its tokens, in context. Words that a block edge cuts are left out, and so
    are words with fewer than `least` occurrences. Raises InputError where a model knows fewer ids than the tokenizer.
    """
    for name, model in (("baseline", baseline), ("reinforced", reinforced)):
        if tokenizer.reach > model.c.V:
            sizes = f"{model.c.V} ids, the tokenizer {tokenizer.reach}"
            raise InputError(f"the {name} model knows {sizes}; give the tokenizer it was trained with")
    gain_NT = log_probabilities(reinforced, blocks, batch) - log_probabilities(baseline, blocks, batch)
    gains: dict[str, list[float]] = {}
    for word, nats in _words(gain_NT, blocks):
        gains.setdefault(word, []).append(nats)
    return {word: float(np.mean(values)) for word, values in gains.items() if len(values) >= least}


def log_probabilities(model, blocks: Blocks, batch: int = 8) -> np.ndarray:
    """Return logp_NT (nats, float64) of the token that follows each position of the blocks, 0 where none follows."""
    import jax
    import jax.numpy as jnp

    @jax.jit
    def score(model, tokens_BT, labels_BT):
        h_BTD = model(tokens_BT)
        parts = []
        for start in range(0, tokens_BT.shape[1], CHUNK):
            chunk = slice(start, start + CHUNK)
            logp_BTV = jax.nn.log_softmax(replicated(model.logits(h_BTD[:, chunk])), axis=-1)
            labels = jnp.maximum(replicated(labels_BT[:, chunk]), 0)
            parts.append(jnp.take_along_axis(logp_BTV, labels[..., None], axis=-1)[..., 0])
        return jnp.concatenate(parts, axis=1)

    labels_NT, rows = next_token_labels(blocks), []
    for start in range(0, len(labels_NT), batch):
        picked = np.minimum(np.arange(start, start + batch), len(labels_NT) - 1)
        rows.append(np.asarray(score(model, put(blocks.tokens_NT[picked], "BT"), put(labels_NT[picked], "BT"))))
    logp_NT = np.concatenate(rows)[: len(labels_NT)].astype(np.float64)
    return np.where(labels_NT == IGNORE, 0.0, logp_NT)


def _words(gain_NT: np.ndarray, blocks: Blocks) -> Iterator[tuple[str, float]]:
    """Yield each word that lies whole in one block, with the gain summed over the tokens that hold it."""
    edges = [joined(stream.text) for stream in blocks.streams]  # of a whole document: it is cut into many blocks
    for row, (document, first, last) in enumerate(blocks.spans_N3.tolist()):
        stream, joined_C = blocks.streams[document], edges[document]
        ends_N = stream.ends_N[first:last]
        begin = int(stream.ends_N[first - 1]) if first else 0
        shift = blocks.bos_width - 1  # token n of the row is predicted at position n + shift
        stop = int(ends_N[-1])
        for match in WORD.finditer(stream.text, begin, stop):
            if joined_C[match.start()] or joined_C[match.end()]:
                continue  # an edge of the block cuts the word
            word = CLITIC.sub("", match.group())
            one = int(np.searchsorted(ends_N, match.start(), "right"))
            two = int(np.searchsorted(ends_N, match.start() + len(word), "left"))
            if one + shift >= 0:
                yield word.lower(), float(gain_NT[row, one + shift : two + shift + 1].sum())
