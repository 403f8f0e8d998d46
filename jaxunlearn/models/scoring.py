"""Sums of losses over running text, in chunks of positions, from which perplexities are made."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxunlearn.config import Eval
from jaxunlearn.data.blocks import PAD_ID
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.kernels.linear_cross_entropy import IGNORE, linear_cross_entropy
from jaxunlearn.parallel.sharding import act, fetch, put, rounded_up


def loss_sum(model, tokens_BT, labels_BT):
    """Return (summed cross-entropy in nats, count of labels); the caller divides once, by the global count."""
    h_BTD = model(tokens_BT)
    return linear_cross_entropy(h_BTD, model.output_DV(h_BTD.dtype), labels_BT)


CHUNK = 64  # positions whose logits are held at once


@dataclass(frozen=True, kw_only=True)
class Text:
    """Blocks to take a perplexity on: tokens and next-token labels, -100 where there is none."""

    tokens_NT: np.ndarray
    labels_NT: np.ndarray


def block_sums(model, text: Text, c: Eval, temperature: float, blocks: int = 0):
    """Return (nll_N, entropy_N, count_N), summed in nats over each of the first `blocks` (default c.blocks) blocks."""
    n = min(blocks or c.blocks, len(text.tokens_NT))
    parts = []
    for start in range(0, n, c.batch):
        rows = np.minimum(np.arange(start, start + c.batch), n - 1)
        arrays = put(text.tokens_NT[rows], "BT"), put(text.labels_NT[rows], "BT")
        sums = _sums(model, *arrays, jnp.float32(temperature))
        parts.append(np.stack([fetch(s).astype(np.float64) for s in sums])[:, : n - start])
    return tuple(np.concatenate(parts, axis=1))


@jax.jit
def _sums(model, tokens_BT, labels_BT, temperature):
    """Return (nll_B, entropy_B, count_B)."""

    def rows(logits_BTV, valid_BT, picked_BT):
        logits_BTV = logits_BTV / temperature
        norm_BT = jax.nn.logsumexp(logits_BTV, axis=-1)
        entropy_BT = norm_BT - jnp.sum(jnp.exp(logits_BTV - norm_BT[..., None]) * logits_BTV, axis=-1)
        parts = norm_BT - picked_BT / temperature, entropy_BT, jnp.ones_like(norm_BT)
        return tuple(jnp.sum(jnp.where(valid_BT, x, 0), axis=1) for x in parts)

    zero = jnp.zeros(tokens_BT.shape[0], out_sharding=act("B"))
    return over_chunks(model, tokens_BT, labels_BT, rows, (zero, zero, zero))


def over_chunks(model, tokens_BT, labels_BT, function, zero):
    """Return the sum of function(logits_BTV, valid_BT, labels' logits_BT) over chunks of CHUNK positions at most.

    `zero` is the sum of nothing; logits of one chunk alone are in memory at a time.
    """

    def step(sums, chunk):
        h_BTD, labels_BT = chunk
        logits_BTV = model.logits(h_BTD)
        vocabulary_V = jnp.arange(logits_BTV.shape[-1], dtype=jnp.int32, out_sharding=act("V"))
        is_label_BTV = labels_BT[..., None] == vocabulary_V[None, None]
        picked_BT = jnp.sum(jnp.where(is_label_BTV, logits_BTV, 0), axis=-1)
        return jax.tree.map(jnp.add, sums, function(logits_BTV, labels_BT != IGNORE, picked_BT)), None

    return jax.lax.scan(step, zero, in_chunks(model(tokens_BT), labels_BT))[0]


def in_chunks(h_BTD, labels_BT):
    """Return (h_CBTD, labels_CBT), the positions in as few chunks of CHUNK at most; those that fill up have no label.

    Each chunk reads the output projection whole, so that many small ones take longer.
    """
    B, T, D = h_BTD.shape
    chunks = -(-T // CHUNK)
    size = -(-T // chunks)
    more = (0, chunks * size - T)
    h_BTD = jnp.pad(h_BTD, ((0, 0), more, (0, 0)))
    labels_BT = jnp.pad(labels_BT, ((0, 0), more), constant_values=IGNORE)
    h_CBTD = jnp.moveaxis(h_BTD.reshape(B, chunks, size, D), 1, 0)
    return h_CBTD, jnp.moveaxis(labels_BT.reshape(B, chunks, size), 1, 0)


LONGEST = 2048  # tokens of a block of `score` and of a task's text, unless more are asked for


def score_text(model, tokenizer: Tokenizer, text: str, context: int, batch: int = 8) -> dict:
    """Return {"tokens": n, "nll": mean nats a token} of a text.

    Every token counts once, in blocks of `context` tokens that begin with BOS. Under a tokenizer that adds none a block
    begins with the token before it, the first one with BOS, or else EOS, as in lm-evaluation-harness. A text that is
    shorter than a block is padded to a multiple of 64 alone. Raises InputError for an empty text, and for a context
    that BOS, or the token before, fills alone.
    """
    ids = [int(i) for i in tokenizer.encode(text)[0]]
    if not ids:
        raise InputError("the text has no tokens to score")
    front = len(tokenizer.before([]))
    step = context - front
    if step < 1:
        raise InputError(
            f"in a block of {context} tokens no token is left to be scored, as each begins with {front} that "
            f"{'is' if front == 1 else 'are'} read alone; give a context (--context) of {front + 1} or more"
        )
    parts = [ids[n : n + step] for n in range(0, len(ids), step)]
    width = min(context, -(-(front + len(parts[0])) // CHUNK) * CHUNK)
    tokens_NT = np.full((len(parts), width), PAD_ID, np.int32)
    labels_NT = np.full((len(parts), width), IGNORE, np.int32)
    for n, part in enumerate(parts):
        before = list(tokenizer.start) or (parts[n - 1][-1:] if n else tokenizer.before([]))
        tokens_NT[n, : front + len(part)] = before + part
        labels_NT[n, front - 1 : front - 1 + len(part)] = part
    calls = -(-len(parts) // batch)
    c = Eval(batch=rounded_up(-(-len(parts) // calls)), blocks=len(parts))
    nll_N, _, count_N = block_sums(model, Text(tokens_NT=tokens_NT, labels_NT=labels_NT), c, 1.0)
    return {"tokens": int(count_N.sum()), "nll": float(nll_N.sum() / count_N.sum())}


def label_loss(model, tokens_NT, labels_NT, batch: int) -> float:
    """Return the mean cross-entropy in nats of a model on stored labels (the held-out loss)."""
    total = count = 0.0
    for start in range(0, len(tokens_NT), batch):
        rows = np.arange(start, start + batch)
        real = np.minimum(rows, len(tokens_NT) - 1)
        labels_BT = np.where((rows < len(tokens_NT))[:, None], labels_NT[real], IGNORE).astype(np.int32)
        sums = _loss_sum(model, put(tokens_NT[real], "BT"), put(labels_BT, "BT"))
        total, count = total + float(sums[0]), count + float(sums[1])
    return total / max(count, 1)


_loss_sum = jax.jit(loss_sum)
