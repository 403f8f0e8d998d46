"""What a model still knows and still can: familiarity, perplexity, entropy, accuracy, leaks; batched, one shape each.

Definitions: probability and completion familiarity after section 4 of arXiv 2310.02238, judged by lexicon (judge.py).
"""

import bisect
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxunlearn.config import Eval
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.evals.judge import Judge
from jaxunlearn.evals.prompts import Prompts
from jaxunlearn.evals.statistics import mean_estimate, rate_estimate, ratio_estimate
from jaxunlearn.generate import Sampling, generate
from jaxunlearn.kernels.linear_cross_entropy import IGNORE
from jaxunlearn.sharding import act, fetch, put, replicated
from jaxunlearn.text import PAD_ID
from jaxunlearn.tokenizer import Tokenizer
from jaxunlearn.train import loss_sum

CHUNK = 64  # positions whose logits are held at once
GRID = 13  # temperatures a sweep


@dataclass(frozen=True, kw_only=True)
class Text:
    """Blocks to take a perplexity on: tokens and next-token labels, -100 where there is none."""

    tokens_NT: np.ndarray
    labels_NT: np.ndarray


@dataclass(frozen=True)
class Suite:
    """Everything that is asked of a model: prompts of one split, held-out text, how much to sample."""

    tokenizer: Tokenizer
    prompts: Prompts
    texts: dict[str, Text]  # "forget", "retain"
    c: Eval
    seed: int = 0
    prefix: str = ""  # stands before every prompt, as part of it

    @cached_property
    def judge(self) -> Judge:
        return Judge(self.prompts.lexicon)

    @cached_property
    def words(self) -> "Words":
        return Words(self.tokenizer, self.c.batch, self.prefix)


def measure(model, suite: Suite) -> dict:
    """Return the report's entry for one model; every figure is an estimate {value, low, high, n}."""
    found, p = {}, suite.prompts
    probability = {"out": [], "in": []}
    for prompt, mass in zip(p.probability, specific_mass(model, suite, p.probability), strict=True):
        probability[prompt.position].append(mass)
    items: dict[str, list] = {
        "familiarity, next word": probability["out"],
        "familiarity inside names": probability["in"],
    }
    found["items"] = {k: v for k, v in items.items() if v}  # one number an item, for paired comparisons
    found["familiarity"] = {
        name: mean_estimate(probability[key]).to_json()
        for name, key in {"probability": "out", "inside": "in"}.items()
        if probability[key]
    }
    if p.completion:
        completed = completion_familiarity(model, suite, found["familiarity"])
        found["items"]["familiarity, completion"] = completed.pop("by_prompt")
        found |= completed
    if p.leaks:
        leaks = specific_mass(model, suite, p.leaks)
        found.setdefault("leaks", {})["probability"] = mean_estimate(leaks).to_json()
        found["leak_probabilities"] = leaks
    if p.choice:
        right = [int(np.argmax(s)) == c.answer for s, c in zip(option_scores(model, suite), p.choice, strict=True)]
        found["accuracy"] = {"general": rate_estimate(sum(right), len(right)).to_json()}
        found["items"]["general accuracy, right answers"] = [int(r) for r in right]
    found["track"] = tracked(model, suite)
    figures = text_figures(model, suite)
    found["items"] |= figures.pop("items")
    return found | figures


def specific_mass(model, suite: Suite, prompts) -> list[float]:
    """Return for each prompt the total probability of its content-specific next words (words scored whole)."""
    pairs = [(p.prompt, w) for p in prompts for w in p.specific]
    scores = iter(suite.words.probabilities(model, pairs))
    return [float(sum(next(scores) for _ in p.specific)) for p in prompts]


def option_scores(model, suite: Suite) -> list[list[float]]:
    """Return the probability of every option of every multiple-choice question."""
    questions = suite.prompts.choice
    scores = iter(suite.words.probabilities(model, [(q.question, o) for q in questions for o in q.options]))
    return [[float(next(scores)) for _ in q.options] for q in questions]


def tracked(model, suite: Suite) -> dict:
    """Return {prompt: {word: probability}}, the points of the paper's signature plot."""
    pairs = [(t.prompt, w) for t in suite.prompts.track for w in t.words]
    scores = iter(suite.words.probabilities(model, pairs))
    return {t.prompt: {w: float(next(scores)) for w in t.words} for t in suite.prompts.track}


# ---- completions


def complete(model, suite: Suite, prompts: list[str], sampling: Sampling, seed: int) -> list[str]:
    """Return a sampled continuation of each prompt, as text."""
    contexts = [suite.words.context(p) for p in prompts]
    new = generate(
        model, contexts, suite.c.new_tokens, sampling, seed=seed, eos_ids=suite.tokenizer.eos_ids, batch=suite.c.batch
    )
    decode = suite.tokenizer.decode
    return [decode(c + n)[len(decode(c)) :] for c, n in zip(contexts, new, strict=True)]


def completion_familiarity(model, suite: Suite, familiarity: dict) -> dict:
    """Sample completions and grade them: (5 n3 + n2) / N, the explicit rate, and the same on neutral prompts."""
    p, c = suite.prompts, suite.c
    sampling = Sampling(c.temperature, c.top_k)
    repeats = max(1, round(c.completions / len(p.completion)))
    asked = [q for q in p.completion for _ in range(repeats)]
    texts = complete(model, suite, [q.prompt for q in asked], sampling, suite.seed)
    grades = [suite.judge.grade(q.prompt, t, q.references) for q, t in zip(asked, texts, strict=True)]
    points = [g.points for g in grades]
    by_prompt = np.reshape(points, (len(p.completion), repeats)).mean(axis=1)  # completions of one prompt are no news
    counts = {str(n): sum(g.score == n for g in grades) for n in (3, 2, 1, 0)}
    found = {
        "familiarity": familiarity | {"completion": mean_estimate(by_prompt).to_json()},
        "by_prompt": by_prompt.tolist(),
        "grades": counts,
        "leaks": {"explicit": rate_estimate(counts["3"], len(grades)).to_json()},
        "completions": [
            {"prompt": q.prompt, "subtlety": q.subtlety, "text": t, "grade": g.score, "evidence": list(g.evidence)}
            for q, t, g in list(zip(asked, texts, grades, strict=True))[::repeats]
        ],
    }
    if p.neutral:
        asked = [q for q in p.neutral for _ in range(repeats)]
        texts = complete(model, suite, asked, sampling, suite.seed + 1)
        explicit = sum(suite.judge.grade(q, t).score == 3 for q, t in zip(asked, texts, strict=True))
        found["leaks"]["neutral"] = rate_estimate(explicit, len(asked)).to_json()
    return found


# ---- words


def before_word(tokenizer: Tokenizer, prompt: str, word: str = "a") -> list[int]:
    """Return a prompt's tokens as they stand in running text, where a space and a word follow."""
    ids, ends = tokenizer.encode(f"{prompt} {word}")
    kept = int(np.sum(ends <= len(prompt) + 1))
    if kept == 0 or ends[kept - 1] < len(prompt):  # a token crosses the prompt's end: tokenise it by itself
        ids, kept = tokenizer.encode(prompt)[0], None
    return list(map(int, ids[:kept]))


class Words:
    """Probabilities of whole next words under any tokenizer, from unique contexts in batches of one shape."""

    def __init__(self, tokenizer: Tokenizer, batch: int, prefix: str = ""):
        self._prefix, self._tokenizer, self._batch, self._bos_id = prefix, tokenizer, batch, tokenizer.needed_bos_id()
        pieces = [p.replace("▁", " ") for p in tokenizer.pieces(range(tokenizer.vocab_size))]
        self._sorted = sorted(zip(pieces, range(len(pieces)), strict=True))
        self._pieces = pieces

    def context(self, prompt: str) -> list[int]:
        """Return BOS and the prompt's tokens (before_word)."""
        return [self._bos_id, *before_word(self._tokenizer, self._prefix + prompt)]

    def probabilities(self, model, pairs: list[tuple[str, str]]) -> list[float]:
        """Return the probability of each (prompt, next word): the product over the word's tokens, given the prompt.

        The last token stands for every token that ends the word the same way ("row", "row.", "row " where a
        vocabulary merges over word ends).
        """
        rows, asked = {}, []
        for asked_of, word in pairs:
            prompt = self._prefix + asked_of
            ids, ends = self._tokenizer.encode(f"{prompt} {word}")
            first = min(int(np.sum(ends <= len(prompt) + 1)), len(ids) - 1)
            ids = [self._bos_id, *map(int, ids)]
            steps = []
            for n in range(first + 1, len(ids)):
                row = rows.setdefault(tuple(ids[:n]), len(rows))
                steps.append((row, [ids[n]] if n + 1 < len(ids) else self._endings(ids[n])))
            asked.append(steps)
        p_RV = self._next(model, list(rows))
        return [math.prod(float(p_RV[row][tokens].sum()) for row, tokens in steps) for steps in asked]

    def _endings(self, token: int) -> list[int]:
        text, found = self._pieces[token], []
        for piece, other in self._sorted[bisect.bisect_left(self._sorted, (text, -1)) :]:
            if not piece.startswith(text):
                break
            if other == token or (len(piece) > len(text) and not piece[len(text)].isalnum()):
                found.append(other)
        return found

    def _next(self, model, contexts: list[tuple[int, ...]]) -> list[np.ndarray]:
        if not contexts:
            return []
        width = -(-max(map(len, contexts)) // 32) * 32
        out = []
        for start in range(0, len(contexts), self._batch):
            rows = contexts[start : start + self._batch]
            tokens_BT = np.zeros((self._batch, width), np.int32)
            last_B = np.zeros(self._batch, np.int32)
            for n, row in enumerate(rows):
                tokens_BT[n, : len(row)], last_B[n] = row, len(row) - 1
            p_RV = fetch(_next_probabilities(model, put(tokens_BT, "BT"), put(last_B, "B")))[: len(rows)]
            if len(odd := np.flatnonzero(~np.isfinite(p_RV).all(axis=1))):
                told = self._tokenizer.decode(list(rows[odd[0]]))
                raise RunError(f"the model's logits are not finite after {told!r} ({len(odd)} of {len(rows)} prompts)")
            out += list(p_RV)
        return out


@jax.jit
def _next_probabilities(model, tokens_BT, last_B):
    """Return p_BV of the token after position last_B of each row, gathered whole."""
    h_BTD = model(tokens_BT)
    pick_BT = (jnp.arange(tokens_BT.shape[1])[None] == last_B[:, None]).astype(h_BTD.dtype)
    h_BD = jnp.einsum("BT,BTD->BD", pick_BT, h_BTD, out_sharding=act("BD"))
    return jax.nn.softmax(replicated(model.logits(h_BD[:, None]))[:, 0], axis=-1)


# ---- running text


def text_figures(model, suite: Suite) -> dict:
    """Return perplexity (raw, and at the one temperature that fits retain text best), entropy in nats, temperature."""
    found: dict[str, Any] = {"perplexity": {}, "entropy": {}, "items": {}}
    for name, text in suite.texts.items():
        nll_N, entropy_N, count_N = block_sums(model, text, suite.c, 1.0)
        found["perplexity"][name] = ratio_estimate(nll_N, count_N).to_json()
        found["items"][f"{name} text, nats a token of a block"] = (nll_N / np.maximum(count_N, 1)).tolist()
        found["entropy"][name] = ratio_estimate(entropy_N, count_N, transform=np.asarray).to_json()
    if "retain" in suite.texts:
        found["temperature"] = t = fit_temperature(model, suite.texts["retain"], suite.c)
        for name, text in suite.texts.items():
            nll_N, _, count_N = block_sums(model, text, suite.c, t)
            found["perplexity"][f"{name}_fitted"] = ratio_estimate(nll_N, count_N).to_json()
    return found


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
    """Add up function(logits_BTV, valid_BT, label's logit) over CHUNK positions at a time."""
    h_BTD = model(tokens_BT)
    B, T, D = h_BTD.shape
    size = math.gcd(T, CHUNK)
    h_CBTD = jnp.moveaxis(h_BTD.reshape(B, T // size, size, D), 1, 0)
    labels_CBT = jnp.moveaxis(labels_BT.reshape(B, T // size, size), 1, 0)

    def step(sums, chunk):
        h_BTD, labels_BT = chunk
        logits_BTV = model.logits(h_BTD)
        vocabulary_V = jnp.arange(logits_BTV.shape[-1], dtype=jnp.int32, out_sharding=act("V"))
        is_label_BTV = labels_BT[..., None] == vocabulary_V[None, None]
        picked_BT = jnp.sum(jnp.where(is_label_BTV, logits_BTV, 0), axis=-1)
        return jax.tree.map(jnp.add, sums, function(logits_BTV, labels_BT != IGNORE, picked_BT)), None

    return jax.lax.scan(step, zero, (h_CBTD, labels_CBT))[0]


def fit_temperature(model, text: Text, c: Eval) -> float:
    """Return the temperature that minimises the loss on (at most one batch of) retain text, to about 1%.

    Two sweeps over a grid, all of a grid's temperatures in one pass; 0.4 to 4.
    """
    n = min(c.batch, c.blocks, len(text.tokens_NT))
    rows = np.minimum(np.arange(c.batch), n - 1)
    labels_BT = np.where((np.arange(c.batch) < n)[:, None], text.labels_NT[rows], IGNORE).astype(np.int32)
    arrays = put(text.tokens_NT[rows], "BT"), put(labels_BT, "BT")
    low, high = math.log(0.4), math.log(4.0)
    for _ in range(2):
        grid = np.linspace(low, high, GRID)
        best = int(np.argmin(_losses_at(model, *arrays, jnp.asarray(np.exp(grid), jnp.float32))))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, GRID - 1)]
    return math.exp(grid[best])


@jax.jit
def _losses_at(model, tokens_BT, labels_BT, temperatures):
    """Return the summed loss in nats at each temperature, from one forward pass."""

    def at(logits_BTV, valid_BT, picked_BT):
        def one(t):
            norm_BT = jax.nn.logsumexp(logits_BTV / t, axis=-1)
            return jnp.sum(jnp.where(valid_BT, norm_BT - picked_BT / t, 0))

        return jax.lax.map(one, temperatures)

    return over_chunks(model, tokens_BT, labels_BT, at, jnp.zeros(temperatures.shape))


def score_text(model, tokenizer: Tokenizer, text: str, context: int, batch: int = 8) -> dict:
    """Return {"tokens": n, "nll": mean nats}: every token once, in blocks of context - 1 with BOS in front of each."""
    ids, _ = tokenizer.encode(text)
    if not len(ids):
        raise InputError("the text has no tokens to score")
    blocks = -(-len(ids) // (context - 1))
    tokens_NT = np.full((blocks, context), PAD_ID, np.int32)
    tokens_NT[:, 0] = tokenizer.needed_bos_id()
    labels_NT = np.full((blocks, context), IGNORE, np.int32)
    for n in range(blocks):
        part = ids[n * (context - 1) : (n + 1) * (context - 1)]
        tokens_NT[n, 1 : len(part) + 1] = part
        labels_NT[n, : len(part)] = part
    mesh = jax.sharding.get_mesh().shape
    ways = mesh["data"] * mesh["fsdp"]
    c = Eval(batch=-(-batch // ways) * ways, blocks=blocks)
    nll_N, _, count_N = block_sums(model, Text(tokens_NT=tokens_NT, labels_NT=labels_NT), c, 1.0)
    return {"tokens": int(count_N.sum()), "nll": float(nll_N.sum() / count_N.sum())}


def curve_point(step: int, found: dict, held_loss: float | None = None) -> dict:
    """Return the report's curve entry for one step from a measurement."""

    def value(*path):
        node = found
        for key in path:
            node = node.get(key, {})
        return node.get("value") if node else None

    point = {
        "step": step, "familiarity": value("familiarity", "probability"), "inside": value("familiarity", "inside"),
        "completion": value("familiarity", "completion"), "accuracy": value("accuracy", "general"),
        "explicit": value("leaks", "explicit"), "leaks": value("leaks", "probability"),
        "perplexity_retain": value("perplexity", "retain"), "perplexity_forget": value("perplexity", "forget"),
        "perplexity_retain_fitted": value("perplexity", "retain_fitted"), "entropy": value("entropy", "retain"),
        "held_loss": held_loss, "track": found.get("track"),
    }  # fmt: skip
    return {k: v for k, v in point.items() if v is not None}


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
