"""What terms cover of a text and what they leave, what they lose to each other, and what they do to tokens."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from jaxunlearn.anchors.auditing.findings import Case, Finding, times
from jaxunlearn.anchors.occurrences import Found
from jaxunlearn.anchors.words import is_capital, scan
from jaxunlearn.data.tokenizer import Tokenizer

BLOCK_WORDS = 400  # about a block of 512 tokens
# Capitalised words outside anchors: least count, least multiple of the rate elsewhere, how many are listed.
LEFT_COUNT, LEFT_RATIO, LEFT_SHOWN = 10, 10, 20
_SHOWN = 10


def shadowed(case: Case, found: Sequence[Found], match: str) -> Iterable[Finding]:
    """Find terms that lose occurrences to a term that covers only a part of them; the finding counts how many."""
    terms, lost = list(case.dictionary), {}
    for one in found:
        for term, winner in one.lost():
            lost.setdefault(terms[term], Counter())[terms[winner]] += 1
    for term, winners in lost.items():
        by = ", ".join(f"{winner!r} {times(n)}" for winner, n in winners.most_common(3))
        text, fix = f"loses to a term that covers a part of it: {by}", None
        if match == "first":
            text, fix = text + "; longest first, or match=longest, would find it", {"order": "longest"}
        yield case.finding("shadowed", "warning", term, text, fix, count=winners.total())


def dead(case: Case, found: Sequence[Found]) -> Iterable[Finding]:
    """Find terms that are never an anchor."""
    kept = {int(k) for one in found for k in one.anchors_A3[:, 0]}
    for number, term in enumerate(case.dictionary):
        if number not in kept:
            text = "never stands outside other terms" if case.counts[term] else "does not occur in the target"
            yield case.finding("dead", "note", term, text, {"remove": term})


@dataclass(frozen=True, kw_only=True)
class Cover:
    """The words of a text without headings; starts: it begins a sentence; held_N: an anchor holds it."""

    words: list[str]
    starts: list[bool]
    held_N: np.ndarray


def cover(one: Found) -> Cover:
    """Return which words of a text its anchors hold."""
    read = scan(one.text)
    start_N = np.array(read.places, np.int64)
    end_N = start_N + np.array([len(word) for word in read.words], np.int64)
    return Cover(words=read.words, starts=read.starts, held_N=one.holds(start_N, end_N))


def coverage(found: Sequence[Found], covers: Sequence[Cover], tokenizer: Tokenizer | None) -> list[Finding]:
    """Return one note: the share of words and blocks, and with a tokenizer of tokens, that anchors hold."""
    anchors = sum(len(one.anchors_A3) for one in found)
    words, inside = sum(len(c.words) for c in covers), sum(int(c.held_N.sum()) for c in covers)
    blocks = [bool(c.held_N[n : n + BLOCK_WORDS].any()) for c in covers for n in range(0, len(c.words), BLOCK_WORDS)]
    text = f"{anchors:,} anchors hold {inside / max(words, 1):.2%} of {words:,} words"
    if tokenizer:
        tokens, all_tokens = np.array([_tokens_inside(one, tokenizer) for one in found]).reshape(-1, 2).sum(axis=0)
        text += f", {tokens / max(all_tokens, 1):.2%} of {all_tokens:,} tokens"
    empty = blocks.count(False) / max(len(blocks), 1)
    text += f"; {empty:.1%} of {len(blocks):,} blocks of {BLOCK_WORDS} words hold none"
    return [Finding(check="coverage", severity="note", term="", message=text, count=anchors)]


def uncovered(case: Case, covers: Sequence[Cover]) -> list[Finding]:
    """Find capitalised words inside sentences that no anchor holds and that are far more frequent than elsewhere."""
    counts: Counter[str] = Counter()
    for one in covers:
        free = ~(np.array(one.starts, bool) | one.held_N)
        counts.update(one.words[n] for n in np.flatnonzero(free).tolist() if is_capital(one.words[n]))
    often = {word: n for word, n in counts.items() if n >= LEFT_COUNT}
    elsewhere = case.elsewhere(often)
    left = Counter({word: n for word, n in often.items() if case.rate(n) >= LEFT_RATIO * elsewhere[word]})
    if not left:
        return []
    named = ", ".join(f"{word} {n:,}" for word, n in left.most_common(LEFT_SHOWN))
    text = f"capitalised words met {LEFT_COUNT} times or more outside anchors, {len(left)} of them: {named}"
    return [Finding(check="uncovered", severity="warning", term="", message=text, count=left.total())]


# ---- tokens


def _tokens_inside(one: Found, tokenizer: Tokenizer) -> tuple[int, int]:
    _, ends_N = tokenizer.encode(one.text)
    before = np.searchsorted(ends_N, one.anchors_A3[:, 1:], "right")
    return int((before[:, 1] - before[:, 0]).sum()), len(ends_N)


def token_traps(case: Case, found: Sequence[Found], tokenizer: Tokenizer) -> list[Finding]:
    """Find forms whose token count changes at a line start, and terms that share a token with their neighbours."""
    findings = []
    for check, forms in (
        ("line start: term", list(case.dictionary)),
        ("line start: value", list(dict.fromkeys(v for values in case.dictionary.values() for v in values))),
    ):
        uneven = [form for form in forms if _length(form, "a ", tokenizer) != _length(form, "\n", tokenizer)]
        if uneven:
            named = ", ".join(map(repr, uneven[:_SHOWN])) + ", ..." * (len(uneven) > _SHOWN)
            text = f"{len(uneven)} of {len(forms)} differ in tokens after a space and at a line start: {named}"
            findings.append(Finding(check=check, severity="note", term="", message=text, count=len(uneven)))
    return [*findings, *_merged(case, found, tokenizer)]


def _length(form: str, lead: str, tokenizer: Tokenizer) -> int:
    _, ends_N = tokenizer.encode(lead + form)
    return int((ends_N > len(lead)).sum())


def _merged(case: Case, found: Sequence[Found], tokenizer: Tokenizer) -> Iterable[Finding]:
    """Find terms at whose end no token ends, or at whose start (or the space before it) no token begins."""
    merged: Counter[int] = Counter()
    for one in found:
        _, ends_N = tokenizer.encode(one.text)
        edge_C = np.zeros(len(one.text) + 2, bool)  # edge_C[c + 1]: a token ends right before character c
        edge_C[ends_N + 1] = edge_C[0] = edge_C[1] = True
        key_A, start_A, end_A = one.anchors_A3.T
        whole_A = edge_C[end_A + 1] & (edge_C[start_A + 1] | edge_C[start_A])
        merged.update(key_A[~whole_A].tolist())
    terms = list(case.dictionary)
    for number, count in merged.most_common():
        text = f"shares a token with its neighbours {times(count)}"
        yield case.finding("merged token", "note", terms[number], text, count=count)
