"""Documents to blocks of tokens; a batch is a pure function of (seed, step).

N blocks, T positions in a block, B rows in a batch. In a Stream, N counts the tokens of its document.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxunlearn.data.documents import Document
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.errors import InputError

PAD_ID = 0
IGNORE = -100  # a label that is not trained
PIECE_CHARACTERS = 10_000  # block_bos="piece": the authors tokenise so much text at a time
SHORTEST_CONTEXT = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stream:
    """The tokens of a document.

    ids_N: token ids. ends_N: the character of `text` at which each token ends. sections: (first character, first
    token) of each text that was tokenised by itself: the whole document, or pieces with a BOS in front
    (block_bos="piece"). asked: the first so many tokens are a question; the EOS after its answer ends one character
    past the text.
    """

    name: str
    text: str
    ids_N: np.ndarray
    ends_N: np.ndarray
    sections: tuple[tuple[int, int], ...]
    asked: int = 0

    def section_slices(self) -> list[tuple[slice, slice]]:
        """Return the slices (characters, tokens) of each section."""
        stops = [*self.sections[1:], (len(self.text), len(self.ids_N))]
        return [(slice(c, c1), slice(t, t1)) for (c, t), (c1, t1) in zip(self.sections, stops, strict=True)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Blocks:
    """Rows of tokens.

    tokens_NT: ids, PAD_ID where valid_NT is False. asks_NT: the token after this position is not learnt, because it
    is part of a question or comes after the end of an answer. spans_N3: each row's (document, first token, token
    after the last) in `streams`. bos_width: how many ids (of BOS) stand in front of each row; 0 where the streams hold
    their own (block_bos="piece"), or the tokenizer adds none. The first token of such a row is read and never learnt.
    """

    tokens_NT: np.ndarray
    valid_NT: np.ndarray
    asks_NT: np.ndarray
    spans_N3: np.ndarray
    streams: tuple[Stream, ...]
    bos_width: int
    pieces: bool  # each section of a stream begins as a text does (block_bos="piece")

    @property
    def tokens(self) -> int:
        """Return the number of tokens of the documents, without the BOS added to each row."""
        return int((self.spans_N3[:, 2] - self.spans_N3[:, 1]).sum())

    @property
    def padding(self) -> int:
        """Return the number of positions that hold no token."""
        return int((~self.valid_NT).sum())

    def summary(self) -> str:
        """Return one line that counts documents, tokens, blocks and padding."""
        n_blocks, context = self.tokens_NT.shape
        documents = f"{len(self.streams)} document{'s' * (len(self.streams) != 1)}"
        blocks = f"{n_blocks:,} block{'s' * (n_blocks != 1)} of {context}"
        return f"{documents}, {self.tokens:,} tokens, {blocks}, {self.padding:,} positions of padding, nothing dropped"


# ---- blocks


def make_blocks(documents: Sequence[Document], tokenizer: Tokenizer, context: int, block_bos: str = "every") -> Blocks:
    """Tokenise documents and cut them into blocks of `context` positions; each document starts a new block.

    block_bos: "every" puts one BOS before the context - 1 tokens of each block. "piece" is what the authors' code does
    (arXiv 2310.02238): pieces of 10,000 characters, each with its own BOS, and no other BOS. Under a tokenizer that
    adds no BOS neither has one. An EOS, where the tokenizer has one, ends the answer to a question. InputError on a
    context below 8 tokens and documents without tokens.
    """
    if block_bos not in ("every", "piece"):
        raise InputError(f"block_bos is {block_bos!r}, expected every or piece")
    if context < SHORTEST_CONTEXT:
        raise InputError(f"context is {context}, expected at least {SHORTEST_CONTEXT} tokens")
    size = PIECE_CHARACTERS if block_bos == "piece" else None
    streams = tuple(tokenize_document(d, tokenizer, size) for d in documents)
    bos_width = len(tokenizer.start) if block_bos == "every" else 0
    step = context - bos_width
    spans_N3 = _cut(streams, step)
    if not len(spans_N3):
        raise InputError(f"{len(documents)} documents gave no tokens; give texts with words in them")
    tokens_NT = np.full((len(spans_N3), context), PAD_ID, np.int32)
    valid_NT = np.arange(context) < (spans_N3[:, 2] - spans_N3[:, 1] + bos_width)[:, None]
    tokens_NT[:, :bos_width] = tokenizer.start[:bos_width]
    for row, (document, first, last) in enumerate(spans_N3):
        tokens_NT[row, bos_width:][: last - first] = streams[document].ids_N[first:last]
    asked_N1, length_N1 = np.array([(s.asked, len(s.ids_N)) for s in streams])[spans_N3[:, 0]].T[..., None]
    next_NT = (spans_N3[:, 1] - bos_width + 1)[:, None] + np.arange(context)  # in its document
    asks_NT = (asked_N1 > 0) & ((next_NT < asked_N1) | (next_NT >= length_N1))
    return Blocks(
        tokens_NT=tokens_NT, valid_NT=valid_NT, asks_NT=asks_NT, spans_N3=spans_N3, streams=streams,
        bos_width=bos_width, pieces=block_bos == "piece",
    )  # fmt: skip


def tokenize_document(d: Document, tokenizer: Tokenizer, size: int | None = None) -> Stream:
    """Return the stream of a document: tokenised whole or, with a size, in pieces of so many characters with a BOS."""
    starts = range(0, len(d.text), size) if size else [0]
    texts = [d.text[s : s + size] if size else d.text for s in starts]
    stream = tokenize_sections(d.name, texts, tokenizer, bool(size), end=d.asked > 0)
    return dataclasses.replace(stream, asked=int(np.sum(stream.ends_N <= d.asked))) if d.asked else stream


def tokenize_sections(name: str, texts: Sequence[str], tokenizer: Tokenizer, bos: bool, end: bool = False) -> Stream:
    """Return one stream of texts that are tokenised one by one; bos: each begins with the tokenizer's BOS, if any.

    end: an EOS follows the last text, where the tokenizer has one.
    """
    ids, ends, sections, character, token = [], [], [], 0, 0
    for text in texts:
        ids_N, ends_N = tokenizer.encode(text)
        if bos:
            first = np.array(tokenizer.start, np.int32)
            ids_N, ends_N = np.append(first, ids_N), np.append(np.zeros(len(first), np.int64), ends_N)
        ids.append(ids_N)
        ends.append(ends_N + character)
        sections.append((character, token))
        character, token = character + len(text), token + len(ids_N)
    if end and tokenizer.eos_id is not None:
        ids.append([tokenizer.eos_id])
        ends.append([character + 1])
    ids_N = np.concatenate([np.zeros(0, np.int32), *ids]).astype(np.int32)
    ends_N = np.concatenate([np.zeros(0, np.int64), *ends]).astype(np.int64)
    return Stream(name=name, text="".join(texts), ids_N=ids_N, ends_N=ends_N, sections=tuple(sections))


def _cut(streams: Sequence[Stream], step: int) -> np.ndarray:
    spans = [
        (document, first, min(first + step, len(stream.ids_N)))
        for document, stream in enumerate(streams)
        for first in range(0, len(stream.ids_N), step)
    ]
    return np.asarray(spans, np.int64).reshape(-1, 3)


def next_token_labels(blocks: Blocks) -> np.ndarray:
    """Return labels_NT (int32): the token after each position, IGNORE where the block holds none or asks_NT is set."""
    labels_NT = np.full(blocks.tokens_NT.shape, IGNORE, np.int32)
    learnt_NT = blocks.valid_NT[:, 1:] & ~blocks.asks_NT[:, :-1]
    labels_NT[:, :-1] = np.where(learnt_NT, blocks.tokens_NT[:, 1:], IGNORE)
    return labels_NT


# ---- batches


def batch_indices(n_blocks: int, batch: int, seed: int, step: int) -> np.ndarray:
    """Return the block indices_B of a step: a new permutation every epoch; a batch may span two epochs.

    Raises InputError where there is no block or the batch is empty.
    """
    if n_blocks < 1 or batch < 1:
        raise InputError(f"a batch of {batch} from {n_blocks} blocks: both must be at least 1")
    places_B = step * batch + np.arange(batch)
    epochs = set((places_B // n_blocks).tolist())
    orders = {epoch: np.random.default_rng((seed, epoch)).permutation(n_blocks) for epoch in epochs}
    return np.array([orders[int(place) // n_blocks][place % n_blocks] for place in places_B])


class Rows:
    """Some rows of an array or of a file mapped into memory; a row is read when it is indexed."""

    def __init__(self, array: np.ndarray, rows_N: np.ndarray):
        self.array, self.rows_N, self.shape = array, rows_N, (len(rows_N), *array.shape[1:])

    def __len__(self) -> int:
        return len(self.rows_N)

    def __getitem__(self, index_B) -> np.ndarray:
        return self.array[self.rows_N[index_B]]


def split_holdout(n_blocks: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (train, held out), sorted block indices drawn by the seed; of two blocks or more each gets at least one.

    fraction: the share of the blocks that is held out. 0 returns all blocks twice: what is measured is what was
    trained on. Raises InputError on a share outside [0, 1) and on no block.
    """
    if n_blocks < 1 or not 0 <= fraction < 1:
        raise InputError(f"holding out {fraction} of {n_blocks} blocks: expected a share in [0, 1) of at least 1 block")
    if not fraction:
        return np.arange(n_blocks), np.arange(n_blocks)
    order = np.random.default_rng(seed).permutation(n_blocks)
    held = min(max(round(n_blocks * fraction), 1), n_blocks - 1)
    return np.sort(order[held:]), np.sort(order[:held])


def halves(held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (for tuning, for reporting): every other one of the held-out block indices; one block alone is both.

    What the stop rule and the temperature are chosen on is not what is reported.
    """
    return (held[::2], held[1::2]) if len(held) > 1 else (held, held)
