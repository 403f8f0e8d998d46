"""Probabilities of whole next words."""

import bisect
import math
import sys
import unicodedata
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from jaxunlearn.data.boundaries import joined
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.errors import Diverged
from jaxunlearn.parallel.sharding import act, fetch, put, replicated

# ---- words


def before_word(tokenizer: Tokenizer, prompt: str, word: str = "a") -> list[int]:
    """Return a prompt's tokens as they stand in running text, where a space and a word follow."""
    ids, ends = tokenizer.encode(f"{prompt} {word}")
    kept = int(np.sum(ends <= len(prompt) + 1))
    if kept == 0 or ends[kept - 1] < len(prompt):  # a token crosses the prompt's end: tokenise it by itself
        ids, kept = tokenizer.encode(prompt)[0], None
    return list(map(int, ids[:kept]))


def ends(word: str, rest: bytes) -> bool:
    """Return whether a word ends where these bytes of a text, at least one, follow it.

    It does not where they begin inside a character, nor where they begin none of UTF-8. Where they end inside their
    first character, it does if it would with most of the characters that begin so: `E4` begins Han, `C3` letters.
    """
    if 0x80 <= rest[0] < 0xC2 or rest[0] > 0xF4:
        return False
    length = 1 + sum(rest[0] >= least for least in (0xC0, 0xE0, 0xF0))
    first = rest[:length]
    if len(first) == length:
        return not joined(word + first.decode("utf-8", "replace"))[len(word)]
    begun = [word + character for character in _begun(first, length)]
    return bool(begun) and 2 * joined("".join(begun))[len(word) :: len(word) + 1].sum() < len(begun)


@lru_cache
def _begun(first: bytes, length: int) -> list[str]:
    """Return the assigned characters of `length` bytes in UTF-8 that begin with these, fewer ones."""
    number, missing = first[0] & (0xFF >> (length + 1)), length - len(first)
    for byte in first[1:]:
        number = number << 6 | byte & 0x3F
    numbers = range(number << 6 * missing, min((number + 1) << 6 * missing, sys.maxunicode + 1))
    found = (chr(n) for n in numbers if n >= (0x80, 0x800, 0x10000)[length - 2])
    return [character for character in found if unicodedata.category(character) not in ("Cn", "Co", "Cs")]


class Words:
    """Probabilities of whole next words under any tokenizer, from unique contexts in batches of one shape.

    prefix: stands before every prompt. chat: a prompt is a user's message in a chat, and the word begins the answer.
    """

    def __init__(self, tokenizer: Tokenizer, batch: int, prefix: str = "", chat: bool = False):
        self._prefix, self._tokenizer, self._batch, self._chat = prefix, tokenizer, batch, chat
        self._spelled = tokenizer.spelled(range(tokenizer.reach))
        self._sorted = sorted(zip(self._spelled, range(tokenizer.reach), strict=True))

    def context(self, prompt: str) -> list[int]:
        """Return the tokens that a model continues: the prompt's, as a word follows (before_word), or the chat's."""
        if self._chat:
            return self._tokenizer.asked(self._prefix + prompt, chat=True)
        return self._tokenizer.before(before_word(self._tokenizer, self._prefix + prompt))

    def told(self, prompt: str, word: str) -> tuple[list[int], list[int]]:
        """Return (what stands before, the word's tokens) of a word after a prompt.

        A space stands between them, but for a chat whose template ends in a space or a line break.
        """
        prompt = self._prefix + prompt
        if not self._chat:
            ids, ends = self._tokenizer.encode(f"{prompt} {word}")
            first = min(int(np.sum(ends <= len(prompt) + 1)), len(ids) - 1)
            return self._tokenizer.before(ids[:first]), list(map(int, ids[first:]))
        text, context = self._tokenizer.chat(prompt), self._tokenizer.asked(prompt, chat=True)
        said = word if text[-1:].isspace() else f" {word}"
        ids = list(map(int, self._tokenizer.encode(text + said, marked=True)[0]))
        if ids[: len(context)] == context and len(ids) > len(context):
            return context, ids[len(context) :]
        return context, list(map(int, self._tokenizer.encode(said)[0]))  # a token crosses the template's end

    def probabilities(self, model, pairs: list[tuple[str, str]]) -> list[float]:
        """Return the probability of each (prompt, next word): the product over the word's tokens, given the prompt.

        The last token stands for every token that ends the word the same way ("row", "row.", "row " where a
        vocabulary merges over word ends).
        """
        rows, asked = {}, []
        for prompt, word in pairs:
            context, ids = self.told(prompt, word)
            steps = []
            for n, token in enumerate(ids):
                row = rows.setdefault((*context, *ids[:n]), len(rows))
                steps.append((row, [token] if n + 1 < len(ids) else self._endings(word, token)))
            asked.append(steps)
        p_RV = self._next(model, list(rows))
        return [math.prod(float(p_RV[row][tokens].sum()) for row, tokens in steps) for steps in asked]

    def _endings(self, word: str, token: int) -> list[int]:
        start, found = self._spelled[token], []
        for piece, other in self._sorted[bisect.bisect_left(self._sorted, (start, -1)) :]:
            if not piece.startswith(start):
                break
            if other == token or (len(piece) > len(start) and ends(word, piece[len(start) :])):
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
                raise Diverged(f"the model's logits are not finite after {told!r} ({len(odd)} of {len(rows)} prompts)")
            out += list(p_RV)
        return out


@jax.jit
def _next_probabilities(model, tokens_BT, last_B):
    """Return p_BV of the token after position last_B of each row, gathered whole."""
    h_BTD = model(tokens_BT)
    pick_BT = (jnp.arange(tokens_BT.shape[1])[None] == last_B[:, None]).astype(h_BTD.dtype)
    h_BD = jnp.einsum("BT,BTD->BD", pick_BT, h_BTD, out_sharding=act("BD"))
    return jax.nn.softmax(replicated(model.logits(h_BD[:, None]))[:, 0], axis=-1)
