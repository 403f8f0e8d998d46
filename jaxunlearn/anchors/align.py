"""Where anchors lie in tokens, and the alignment of two tokenisations by character ends.

Dimensions: N tokens of one document's stream, M tokens of its translation, A anchors.
"""

import dataclasses

import numpy as np

from jaxunlearn.anchors.matching import Matcher, find_anchors
from jaxunlearn.data.blocks import Blocks, Stream


def row_tokens(blocks: Blocks) -> int:
    """Return how many tokens of a stream a full row holds."""
    return blocks.tokens_NT.shape[1] - blocks.bos_width


# ---- from characters to tokens


@dataclasses.dataclass(frozen=True, kw_only=True)
class Anchors:
    """A document's anchors in order.

    key_A: number of the term; start_A, end_A: characters in the text; first_A, last_A: tokens of the stream;
    first_row_A, last_row_A: the rows of the blocks that hold those two tokens.
    """

    key_A: np.ndarray
    start_A: np.ndarray
    end_A: np.ndarray
    first_A: np.ndarray
    last_A: np.ndarray
    first_row_A: np.ndarray
    last_row_A: np.ndarray


def locate(stream: Stream, matcher: Matcher, match: str, row: int, step: int) -> Anchors:
    """Match each section of a stream by itself and return its anchors with the tokens that they touch.

    An anchor's first token is the first that ends after the anchor starts. Its last token is the one that ends where
    the anchor ends (the last of them where the bytes of one character share an end), else the first that ends later.
    row: the document's first row. step: tokens of a row.
    """
    found = [np.zeros((0, 5), np.int64)]
    for characters, tokens in stream.section_slices():
        anchors_A3 = find_anchors(stream.text[characters], matcher, match)
        ends_N = stream.ends_N[tokens] - characters.start
        if not len(ends_N):
            continue
        first_A = np.searchsorted(ends_N, anchors_A3[:, 1], "right")
        past_A = np.searchsorted(ends_N, anchors_A3[:, 2], "right")
        exact_A = np.searchsorted(ends_N, anchors_A3[:, 2], "left") < past_A
        tokens_A2 = np.minimum(np.stack([first_A, past_A - exact_A], axis=1), len(ends_N) - 1) + tokens.start
        found.append(np.hstack([np.add(anchors_A3, [0, characters.start, characters.start]), tokens_A2]))
    key_A, start_A, end_A, first_A, last_A = np.concatenate(found).T
    rows = {"first_row_A": row + first_A // step, "last_row_A": row + last_A // step}
    return Anchors(key_A=key_A, start_A=start_A, end_A=end_A, first_A=first_A, last_A=last_A, **rows)


# ---- alignment by character ends


def align(stream: Stream, translated: Stream, anchors: Anchors, values: list[str]) -> tuple[np.ndarray, ...]:
    """Return target_N, inside_N and edge_N of a whole document, section by section, as align_ends defines them.

    values: the translation of each anchor. target_N and edge_N count tokens of the whole translated document.
    """
    target_N = np.full(len(stream.ids_N), -1, np.int64)
    inside_N = np.zeros(len(stream.ids_N), bool)
    edge_N = np.zeros(len(stream.ids_N), np.int64)
    grown_A = np.array([len(value) for value in values], np.int64) - (anchors.end_A - anchors.start_A)
    pairs = zip(stream.section_slices(), translated.section_slices(), strict=True)
    for (characters, tokens), (to_characters, to_tokens) in pairs:
        mine = slice(*np.searchsorted(anchors.start_A, [characters.start, characters.stop]))
        target, inside, edge = align_ends(
            stream.ends_N[tokens] - characters.start,
            translated.ends_N[to_tokens] - to_characters.start,
            anchors.start_A[mine] - characters.start,
            anchors.end_A[mine] - characters.start,
            grown_A[mine],
        )
        target_N[tokens] = np.where(target < 0, -1, target + to_tokens.start)
        inside_N[tokens], edge_N[tokens] = inside, edge + to_tokens.start
    return target_N, inside_N, edge_N


def align_ends(
    ends_N: np.ndarray, to_ends_M: np.ndarray, start_A: np.ndarray, end_A: np.ndarray, grown_A: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Align the tokens of a text and of its translation by the characters at which they end.

    ends_N, to_ends_M: character ends of the tokens. start_A, end_A: characters of the anchors in the original.
    grown_A: characters by which each translation is longer than its anchor. Tokens that share an end are paired from
    the last of them.

    Returns target_N (index of the translated token that ends at the same place, -1 for none), inside_N (the token
    ends strictly inside an anchor) and edge_N (how many translated tokens lie before the next block if a block ends
    with this token).
    """
    moved_A = np.append(0, np.cumsum(grown_A))
    passed_N = np.searchsorted(end_A, ends_N, "right")  # anchors that end at or before this token
    rank_N = np.searchsorted(ends_N, ends_N, "right") - 1 - np.arange(len(ends_N))
    at_end_N = np.append(end_A, -1)[passed_N - 1] == ends_N
    last_byte_N = at_end_N & (rank_N == 0)
    inside_N = np.append(start_A, np.iinfo(np.int64).max)[passed_N] < ends_N
    inside_N |= at_end_N & ~last_byte_N  # bytes of an anchor's last character, except its last byte
    to_N = ends_N + moved_A[passed_N]
    low_N, high_N = np.searchsorted(to_ends_M, to_N, "left"), np.searchsorted(to_ends_M, to_N, "right")
    target_N = np.where(inside_N | (high_N - 1 - rank_N < low_N), -1, high_N - 1 - rank_N)
    edge_N = np.maximum(high_N - rank_N, low_N)
    held_N = (passed_N - at_end_N)[inside_N]  # an anchor cut by a block edge belongs whole to the next block
    edge_N[inside_N] = np.searchsorted(to_ends_M, start_A[held_N] + moved_A[held_N], "right")
    edge_N[-1:] = len(to_ends_M)
    return target_N, inside_N, edge_N
