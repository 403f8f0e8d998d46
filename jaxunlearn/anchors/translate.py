"""Translate blocks: replace every anchored term by a generic one and map each original position to its counterpart.

A document is matched on characters, rewritten as one string and tokenised once, by the same rules as the original.
The two token sequences are then aligned by the characters at which their tokens end (align.py). Source: Eldan &
Russinovich, "Who's Harry Potter?" (arXiv 2310.02238), section on generic predictions; match="first" and
draw="variant" are what its authors' code does.

Dimensions: N blocks, T original positions, S translated positions, R first tokens of translations seen in a block,
K terms, A anchors (one occurrence of a term) in a document. Within one document's stream, N counts its tokens.

An anchor that a block edge cuts belongs to the block of its last token. It is translated whole in that block, with
that block's draw, and the translation of the earlier block stops before it. It is an occurrence in both blocks.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from jaxunlearn.anchors.align import Anchors, align, locate, row_tokens
from jaxunlearn.anchors.matching import make_matcher
from jaxunlearn.data.blocks import PAD_ID, Blocks, Stream, tokenize_sections
from jaxunlearn.data.documents import Document
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.errors import InputError

WIDTH_MULTIPLE = 64
CHOICES = {
    "match": ("longest", "first"), "draw": ("key", "variant"), "repeat": ("ignore", "keep"),
    "seen_from": ("after", "at"), "forbid": ("none", "keys"),
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Translation:
    """Translated blocks and, for each original position, its translated position and whether its label is trained.

    tokens_NS: translated tokens. map_NT: translated position of each original one, -1 where it has none.
    trained_NT: whether the label at a position is trained. seen_id_NR, seen_from_NR: from the original position
    seen_from on, token seen_id is the first token of a translation that already stood in the block; padded with
    (-1, T). width_N: translated tokens of a row, BOS included. draws: {term: translation} of each block; "\\n" before
    the term marks the separate draw for line starts (draw="variant").

    Counts over all blocks: anchors; inside (tokens inside anchors), excluded (positions before repeated terms),
    unaligned (other tokens without a counterpart), cut (positions past the width), positions (tokens of the
    documents).
    """

    tokens_NS: np.ndarray
    map_NT: np.ndarray
    trained_NT: np.ndarray
    seen_id_NR: np.ndarray
    seen_from_NR: np.ndarray
    width_N: np.ndarray
    draws: tuple[dict[str, str], ...]
    anchors: int
    inside: int
    excluded: int
    unaligned: int
    cut: int
    positions: int

    @property
    def unaligned_share(self) -> float:
        """Return the share of the documents' tokens that lie outside anchors and have no counterpart."""
        return self.unaligned / max(self.positions, 1)

    def summary(self) -> str:
        """Return one line that tells what was matched and what is not trained."""
        return (
            f"{self.anchors:,} anchors in {self.positions:,} tokens: {self.inside:,} inside, {self.excluded:,} "
            f"excluded as repeats, {self.unaligned:,} unaligned ({self.unaligned_share:.2%}), {self.cut:,} cut off; "
            f"{int(self.trained_NT.sum()):,} positions trained"
        )


def translate(
    blocks: Blocks,
    documents: Sequence[Document],
    tokenizer: Tokenizer,
    dictionary: Mapping[str, Sequence[str]],
    *,
    match: str = "longest",
    draw: str = "key",
    repeat: str = "ignore",
    seen_from: str = "after",
    forbid: str = "none",
    seed: int = 0,
    max_width: int | None = None,
) -> Translation:
    """Translate blocks that were made from documents; an empty dictionary gives the blocks themselves.

    dictionary: {term: translations}. Each block draws one translation of each term, a pure function of (seed, block,
    term).

    match: "longest", or "first" as in find_anchors.
    draw: "key", or "variant" for a second draw that occurrences at line starts use.
    repeat: "ignore" leaves the position before a term's later occurrences in a block untrained; "keep" trains it.
    seen_from: "after" counts a translation as seen from the position after its anchor's last token on; "at", a
    deviation from the paper, from that last token on (its label is the first that follows the translation).
    forbid: "keys", a deviation from the paper, treats the first tokens of every term as seen from a block's first
    position on, so that the seen-translation rule lowers them everywhere.
    max_width: translated positions of a row; what lies past them is cut off and not trained.

    Raises InputError on an unknown choice and on documents that the blocks were not made from.
    """
    given = {"match": match, "draw": draw, "repeat": repeat, "seen_from": seen_from, "forbid": forbid}
    _check(blocks, documents, given, max_width)
    options = {term: (v,) if isinstance(v, str) else tuple(v) for term, v in dictionary.items()}
    matcher = make_matcher(list(options))
    first_row_D = np.searchsorted(blocks.spans_N3[:, 0], np.arange(len(blocks.streams) + 1))
    forbidden = [token for term in options for token in first_tokens(term, tokenizer)] if forbid == "keys" else []
    ledger = _Ledger(len(blocks.tokens_NT), dict.fromkeys(forbidden, 0), int(seen_from == "after"))
    parts = []
    for stream, row in zip(blocks.streams, first_row_D[:-1].tolist(), strict=True):
        anchors = locate(stream, matcher, match, row, row_tokens(blocks))
        values = _draw_values(anchors, stream, options, ledger, seed, draw)
        texts = _rewrite(stream, anchors, values)
        translated = tokenize_sections(stream.name, texts, tokenizer, blocks.pieces, end=stream.asked > 0)
        parts.append((translated.ids_N, *align(stream, translated, anchors, values)))
        ledger.note(anchors, values, blocks, tokenizer)
    return _assemble(blocks, parts, ledger, repeat, max_width)


def show_block(blocks: Blocks, translation: Translation, tokenizer: Tokenizer, n: int) -> dict[str, list]:
    """Return block n without its padding: {"tokens": pieces, "translation": pieces, "map": translated positions}.

    Raises InputError where there is no block n.
    """
    if not 0 <= n < len(blocks.tokens_NT):
        raise InputError(f"there is no block {n}; expected 0 to {len(blocks.tokens_NT) - 1}")
    valid_T = blocks.valid_NT[n]
    return {
        "tokens": tokenizer.pieces(blocks.tokens_NT[n, valid_T].tolist()),
        "translation": tokenizer.pieces(translation.tokens_NS[n, : translation.width_N[n]].tolist()),
        "map": translation.map_NT[n, valid_T].tolist(),
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Anchor:
    """One occurrence of a term in a block: its translation and the positions of its first and last token.

    Positions are cut to the block. ends_here: the block holds the last token, not only an earlier part.
    """

    term: str
    translation: str
    first: int
    last: int
    ends_here: bool


def block_anchors(
    blocks: Blocks, translation: Translation, dictionary: Mapping[str, Sequence[str]], n: int, match: str = "longest"
) -> list[Anchor]:
    """Return the anchors of block n in order; match is the one that `translate` was called with."""
    document, begin, end = blocks.spans_N3[n].tolist()
    stream, terms = blocks.streams[document], list(dictionary)
    first_row = int(np.searchsorted(blocks.spans_N3[:, 0], document))
    found = locate(stream, make_matcher(terms), match, first_row, row_tokens(blocks))
    line_starts = {characters.start for characters, _ in stream.section_slices()}
    anchors = []
    for a in np.flatnonzero((found.first_row_A <= n) & (found.last_row_A >= n)).tolist():
        start, term = int(found.start_A[a]), terms[found.key_A[a]]
        line = "\n" * (start in line_starts or stream.text[start - 1] == "\n")
        drawn = translation.draws[found.last_row_A[a]]
        first, last = max(int(found.first_A[a]), begin), min(int(found.last_A[a]), end - 1)
        anchors.append(
            Anchor(
                term=term,
                translation=drawn[line + term] if line + term in drawn else drawn[term],
                first=first - begin + blocks.bos_width,
                last=last - begin + blocks.bos_width,
                ends_here=bool(found.last_row_A[a] == n),
            )
        )
    return anchors


def _check(blocks: Blocks, documents: Sequence[Document], given: dict[str, str], max_width: int | None) -> None:
    for name, value in given.items():
        if value not in CHOICES[name]:
            raise InputError(f"{name} is {value!r}, expected {' or '.join(CHOICES[name])}")
    if max_width is not None and max_width < 1:
        raise InputError(f"max_width is {max_width}, expected at least 1 position")
    if [d.text for d in documents] != [stream.text for stream in blocks.streams]:
        raise InputError("the blocks were not made from these documents; pass the ones given to make_blocks")


def _draw_values(
    anchors: Anchors, stream: Stream, dictionary: dict[str, tuple[str, ...]], ledger: "_Ledger", seed: int, draw: str
) -> list[str]:
    """Return the translation of each anchor, by the draw of the block that holds its last token."""
    terms, options = list(dictionary), list(dictionary.values())
    counts_K = np.array([len(values) for values in options], np.int64)
    starts = {characters.start for characters, _ in stream.section_slices()}
    values, drawn_row, drawn_2K = [], None, None
    for key, start, row in zip(
        anchors.key_A.tolist(), anchors.start_A.tolist(), anchors.last_row_A.tolist(), strict=True
    ):
        if row != drawn_row:
            drawn_row, drawn_2K = row, draw_choices(seed, row, counts_K)
        line = draw == "variant" and (start in starts or stream.text[start - 1] == "\n")
        value = options[key][drawn_2K[int(line), key]]
        ledger.draws[row]["\n" * line + terms[key]] = value
        values.append(value)
    return values


def draw_choices(seed: int, row: int, counts_K: np.ndarray) -> np.ndarray:
    """Return choice_2K: for every term of a block the index of a translation after a space, and at a line start.

    counts_K: translations of each term. draw="key" uses the first row alone.
    """
    uniform_2K = np.random.default_rng((seed, row)).random((2, len(counts_K)))
    return (uniform_2K * counts_K).astype(np.int64)


def _rewrite(stream: Stream, anchors: Anchors, values: list[str]) -> list[str]:
    """Return each section of a stream as text with its anchors replaced."""
    edges, spans = np.searchsorted(anchors.start_A, [c.start for c, _ in stream.section_slices()]).tolist(), []
    starts, ends = anchors.start_A.tolist(), anchors.end_A.tolist()
    for (characters, _), a0, a1 in zip(stream.section_slices(), edges, [*edges[1:], len(values)], strict=True):
        parts, at = [], characters.start
        for a in range(a0, a1):
            parts += [stream.text[at : starts[a]], values[a]]
            at = ends[a]
        spans.append("".join([*parts, stream.text[at : characters.stop]]))
    return spans


# ---- consistency inside a block


class _Ledger:
    """What `translate` collects for each block while it reads the documents.

    draws: {term: translation} of each block. repeats: (block, position before a repeated term). seen: {first token of
    a translation: the original position from which it counts as seen} of each block, `lag` after the anchor's last.
    """

    def __init__(self, n_blocks: int, seen: dict[int, int], lag: int):
        self.draws = [{} for _ in range(n_blocks)]
        self.seen = [dict(seen) for _ in range(n_blocks)]
        self.repeats: list[tuple[int, int]] = []
        self.anchors, self.lag = 0, lag
        self.first_ids: dict[str, tuple[int, ...]] = {}

    def note(self, anchors: Anchors, values: list[str], blocks: Blocks, tokenizer: Tokenizer) -> None:
        """Note a document's anchors, in order, in every block that holds a part of them."""
        appeared, bos_width, starts_N = set(), blocks.bos_width, blocks.spans_N3[:, 1].tolist()
        columns = (anchors.key_A, anchors.first_A, anchors.last_A, anchors.first_row_A, anchors.last_row_A)
        for value, key, first, last, first_row, last_row in zip(values, *(c.tolist() for c in columns), strict=True):
            for row in range(first_row, last_row + 1):
                before = max(first - starts_N[row], 0) + bos_width - 1
                if (row, key) in appeared and before >= 0:
                    self.repeats.append((row, before))
                appeared.add((row, key))
            for token in self._first_tokens(value, tokenizer):
                self.seen[last_row].setdefault(token, last - starts_N[last_row] + bos_width + self.lag)
        self.anchors += len(values)

    def _first_tokens(self, value: str, tokenizer: Tokenizer) -> tuple[int, ...]:
        if value not in self.first_ids:
            self.first_ids[value] = first_tokens(value, tokenizer)
        return self.first_ids[value]


def first_tokens(value: str, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Return the distinct ids with which a value can begin: after a space, after a line break, at a text's start."""
    found = {}
    for lead in ("a ", "\n", ""):
        ids_N, ends_N = tokenizer.encode(lead + value)
        starts = [int(i) for i in ids_N[ends_N > len(lead)]]
        if lead == "" and len(starts) > 1 and tokenizer.pieces(starts[:1]) == ["▁"]:
            starts = starts[1:]  # SentencePiece puts this space before a text; it is no part of the translation
        found.update(dict.fromkeys(starts[:1]))
    return tuple(found)


# ---- the result


def _assemble(blocks: Blocks, parts: list[tuple], ledger: _Ledger, repeat: str, max_width: int | None) -> Translation:
    """Return the translation in rows of equal width.

    parts: of each document its translated ids, target_N, inside_N and edge_N. The width is the longest row's, rounded
    up to WIDTH_MULTIPLE so that few shapes are compiled, or max_width where that is less.
    """
    n_blocks, context = blocks.tokens_NT.shape
    edges_N2 = _row_edges(blocks, [edge_N for *_, edge_N in parts])
    width_N = blocks.bos_width + edges_N2[:, 1] - edges_N2[:, 0]
    longest = -(-int(width_N.max()) // WIDTH_MULTIPLE) * WIDTH_MULTIPLE
    width = min(longest, max_width or longest)
    tokens_NS = np.full((n_blocks, width), PAD_ID, np.int32)
    map_NT = np.full((n_blocks, context), -1, np.int32)
    front = slice(blocks.bos_width)
    tokens_NS[:, front], map_NT[:, front] = blocks.tokens_NT[:, front], np.arange(blocks.bos_width)
    unaligned = 0
    for row, (document, first, last) in enumerate(blocks.spans_N3.tolist()):
        to_ids, target_N, inside_N, _ = parts[document]
        target = target_N[first:last]
        fill = to_ids[edges_N2[row, 0] : edges_N2[row, 1]][: width - blocks.bos_width]
        tokens_NS[row, blocks.bos_width :][: len(fill)] = fill
        placed = np.where(target < 0, -1, target - edges_N2[row, 0] + blocks.bos_width)
        map_NT[row, blocks.bos_width :][: last - first] = placed
        unaligned += int(((target < 0) & ~inside_N[first:last]).sum())
    cut = map_NT >= width
    map_NT[cut] = -1
    repeats_NT = np.zeros((n_blocks, context), bool)
    if repeat == "ignore" and ledger.repeats:
        repeats_NT[tuple(np.array(ledger.repeats).T)] = True
    seen_id_NR, seen_from_NR = _seen_arrays(ledger.seen, context)
    return Translation(
        tokens_NS=tokens_NS,
        map_NT=map_NT,
        trained_NT=(map_NT >= 0) & ~repeats_NT & ~blocks.asks_NT,
        seen_id_NR=seen_id_NR,
        seen_from_NR=seen_from_NR,
        width_N=np.minimum(width_N, width),
        draws=tuple(ledger.draws),
        anchors=ledger.anchors,
        inside=sum(int(inside_N.sum()) for _, _, inside_N, _ in parts),
        excluded=int((repeats_NT & (map_NT >= 0)).sum()),
        unaligned=unaligned,
        cut=int(cut.sum()),
        positions=blocks.tokens,
    )


def _row_edges(blocks: Blocks, edges: list[np.ndarray]) -> np.ndarray:
    """Return edges_N2: each row's (first, end) in the translated tokens; a row starts where the one before ended."""
    ends = [int(edges[document][last - 1]) for document, _, last in blocks.spans_N3.tolist()]
    firsts = [0, *ends[:-1]]
    starts_document = blocks.spans_N3[:, 1] == 0
    return np.stack([np.where(starts_document, 0, firsts), ends], axis=1)


def _seen_arrays(seen: list[dict[int, int]], context: int) -> tuple[np.ndarray, np.ndarray]:
    """Return {token id: first position} of each block as seen_id_NR and seen_from_NR, padded with (-1, T)."""
    most = max([1, *map(len, seen)])
    seen_id_NR = np.full((len(seen), most), -1, np.int32)
    seen_from_NR = np.full((len(seen), most), context, np.int32)
    for row, pairs in enumerate(seen):
        seen_id_NR[row, : len(pairs)] = list(pairs)
        seen_from_NR[row, : len(pairs)] = list(pairs.values())
    return seen_id_NR, seen_from_NR
