"""Read the tokenizer of a model directory; it gives token ids and the character at which each token ends.

Two kinds of file are read: `tokenizer.json` (the tokenizers library) and, where there is none, SentencePiece's
`tokenizer.model`. Nothing in the directory is executed or unpickled.

Whether a text begins with BOS is what the tokenizer says, as in transformers: the post-processor of tokenizer.json, and
nothing else where there is that file; else add_bos_token in tokenizer_config.json. Where that is missing (or null) the
choice made here is BOS, as in Llama-2's own code and in transformers 4; transformers 5 then adds none.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np

from jaxunlearn.data import chat
from jaxunlearn.data.added_tokens import (
    CONFIG,
    Added,
    decode_around,
    encode_around,
    named_tokens,
    read_added,
    without_prefix,
)
from jaxunlearn.data.links import inside
from jaxunlearn.data.pieces import is_byte_level, spelled, spelled_in_bytes, unknown_of
from jaxunlearn.errors import InputError, shown
from jaxunlearn.files import read_json, read_text

MOST_TOKENS = 1 << 24  # of a vocabulary: 64 times the largest that was published
FILES = (  # and those of chat.template_files
    "tokenizer.json",
    "tokenizer.model",
    CONFIG,
    "added_tokens.json",
    "special_tokens_map.json",
    "generation_config.json",
)

# Takes a text; returns ids and (begin, end) character offsets as the library has them, see _ends.
Encoder = Callable[[str], tuple[Sequence[int], Sequence[tuple[int, int]]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """Encode text without special tokens, decode ids, and know the ids of the special tokens.

    encode_offsets, decode_ids, piece: functions of the library's tokenizer. byte_level: pieces are written in the
    characters of pieces.byte_alphabet. unknown_id: what stands for anything that the vocabulary lacks. reach: every id
    that a text gives is below it; vocab_size counts special tokens too, such as one for images. bos_id: None without a
    BOS. start: the ids that the tokenizer puts before a text, (bos_id,) or (). prefix_id: what the first token of a
    text is predicted from where nothing stands before it. encode_marked: encode_offsets, but the name of a special
    token is that token. render: a prompt -> the text of a chat, where has_chat. files: those in the model directory
    that belong to the tokenizer.
    """

    encode_offsets: Encoder
    decode_ids: Callable[[list[int]], str]
    piece: Callable[[int], str]
    vocab_size: int
    reach: int
    bos_id: int | None
    eos_ids: tuple[int, ...]
    files: tuple[Path, ...]
    byte_level: bool = False
    unknown_id: int | None = None
    start: tuple[int, ...] = ()
    prefix_id: int | None = None
    encode_marked: Encoder | None = None
    render: Callable[[str], str] | None = None
    has_chat: bool = False

    @property
    def eos_id(self) -> int | None:
        """Return the first end-of-text id, None without one."""
        return self.eos_ids[0] if self.eos_ids else None

    def before(self, ids: Sequence[int] | np.ndarray) -> list[int]:
        """Return what a model reads before the token that follows `ids`, which begin a text; it is never empty.

        That is `start` and the ids. Where both are empty it is prefix_id, BOS or else EOS, as in lm-evaluation-harness;
        InputError where the tokenizer has neither.
        """
        return [*self.start, *map(int, ids)] or [self.prefix()]

    def prefix(self) -> int:
        """Return prefix_id; InputError where the tokenizer has neither BOS nor EOS."""
        if self.prefix_id is None:
            raise InputError("the tokenizer has neither BOS nor EOS, so nothing can stand before an empty text")
        return self.prefix_id

    def asked(self, prompt: str, chat: bool = False) -> list[int]:
        """Return the ids of a prompt that a model continues: the prompt as it is, or as a user's message in a chat.

        A chat's template writes BOS itself where the model wants one. Raises InputError as chat.render does.
        """
        if not chat:
            return self.before(self.encode(prompt)[0])
        return [int(i) for i in self.encode(self.chat(prompt), marked=True)[0]]

    def chat(self, prompt: str) -> str:
        """Return the text of a chat that asks the prompt, up to where the answer begins."""
        if self.render is None:
            raise InputError("this tokenizer has no chat template")
        return self.render(prompt)

    def encode(self, text: str, marked: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return ids_N (int32) and ends_N (int64), the character of `text` at which each token ends.

        The name of a special token in the text is text, or with `marked` (the text of a chat) that token.
        """
        ids, offsets = (self.encode_marked if marked and self.encode_marked else self.encode_offsets)(text)
        return np.asarray(ids, np.int32), _ends(offsets, len(text))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, without special tokens."""
        return self.decode_ids([int(i) for i in ids])

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return each id's piece as the vocabulary writes it, spaces marked; <id N> for one outside the vocabulary."""
        return [self.piece(int(i)) if 0 <= int(i) < self.vocab_size else f"<id {int(i)}>" for i in ids]

    def spelled(self, ids: Sequence[int]) -> list[bytes]:
        """Return the bytes of a text that each id stands for; a character may be cut at their ends."""
        return [(spelled_in_bytes if self.byte_level else spelled)(piece) for piece in self.pieces(ids)]


def has_tokenizer(directory: Path) -> bool:
    """Return whether a directory holds a tokenizer that load_tokenizer reads."""
    return any((Path(directory) / name).is_file() for name in FILES[:2])


def load_tokenizer(directory: Path | str) -> Tokenizer:
    """Return the tokenizer of a model directory; raise InputError where there is none or it is malformed."""
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(f"{directory} is not a directory; give the directory of a model with its tokenizer files")
    if (directory / "tokenizer.json").is_file():
        return _load_json(directory)
    if (directory / "tokenizer.model").is_file():
        return _load_sentencepiece(directory)
    raise InputError(f"{directory} has no tokenizer: put a tokenizer.json or a SentencePiece tokenizer.model there")


def _load_json(directory: Path) -> Tokenizer:
    import tokenizers

    path = inside(directory, "tokenizer.json")
    try:
        backend = tokenizers.Tokenizer.from_str(read_text(path))
        backend.no_truncation()
        backend.no_padding()
        start, largest = _added(backend), max(backend.get_vocab().values(), default=-1)
        byte_level, unknown_id = is_byte_level(backend), unknown_of(backend)
        added = [i for i, token in backend.get_added_tokens_decoder().items() if not token.special]
        reach = max([*backend.get_vocab(with_added_tokens=False).values(), *added], default=-1) + 1
    except BaseException as error:  # the library raises bare Exception, and this where Rust panics
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise  # Ctrl-C
        said = shown(str(error), 200)
        raise InputError(f"{path} is not a readable tokenizer ({said}); copy it from the model again") from None
    _refuse_id(path, largest)
    backend.post_processor = None  # it would add special tokens, or trim spaces from the offsets
    backend.encode_special_tokens = True  # "</s>" written in a book is text, not the end of it

    def encode_offsets(text: str):
        try:
            encoding = backend.encode(text, add_special_tokens=False)
        except Exception as error:  # as where a text has an unknown word, and the vocabulary no unknown token
            said = f"{path} cannot encode {shown(text)} ({shown(str(error), 200)})"
            raise InputError(f"{said}; copy it from the model again, or change the text") from None
        return encoding.ids, encoding.offsets

    def encode_marked(text: str):
        backend.encode_special_tokens = False
        try:
            return encode_offsets(text)
        finally:
            backend.encode_special_tokens = True

    return Tokenizer(
        encode_offsets=encode_offsets,
        encode_marked=encode_marked,
        decode_ids=lambda ids: backend.decode(ids, skip_special_tokens=True),
        piece=lambda i: backend.id_to_token(i) or f"<id {i}>",
        byte_level=byte_level,
        unknown_id=unknown_id,
        vocab_size=largest + 1,
        reach=reach,
        start=start,
        **_specials(directory, backend.token_to_id, start),
    )


def _refuse_id(path: Path, largest: int) -> None:
    """Raise InputError for a token's id that no vocabulary reaches: as many rows would be made for a new model."""
    if not 0 <= largest < MOST_TOKENS:
        raise InputError(f"{path}: its largest token id is {largest}, expected 0 to {MOST_TOKENS - 1:,}")


def _added(backend) -> tuple[int, ...]:
    """Return the ids that the post-processor of a tokenizer.json puts before a text."""
    found = backend.encode("a")
    marked = zip(found.ids, found.special_tokens_mask, strict=True)
    return tuple(i for i, special in itertools.takewhile(lambda pair: pair[1], marked))


def _load_sentencepiece(directory: Path) -> Tokenizer:
    import sentencepiece

    path = inside(directory, "tokenizer.model")
    backend = sentencepiece.SentencePieceProcessor()
    try:
        backend.LoadFromSerializedProto(path.read_bytes())
        size = backend.vocab_size()
        pieces = {i: backend.id_to_piece(i) for i in range(size)}
    except (RuntimeError, OSError, UnicodeDecodeError) as error:  # the last: of a piece that is no UTF-8
        said = shown(str(error), 200)
        raise InputError(f"{path} is not a SentencePiece model ({said}); copy it from the model again") from error
    added = read_added(directory, read_config)
    _refuse_id(path, max([size - 1, *added]))
    pieces |= {i: token.content for i, token in added.items()}
    plain = [token for token in added.values() if not token.special]
    control = [Added(id=i, content=pieces[i], special=True) for i in range(size) if backend.is_control(i)]
    special = {token.content: token.id for token in [*control, *added.values()] if token.special}
    legacy = bool(read_config(directory / CONFIG).get("legacy", False))

    @cache
    def bare():
        return sentencepiece.SentencePieceProcessor(model_proto=without_prefix(path.read_bytes()))

    def encode_part(text: str, space: bool = True):
        # Given a str, this gives character offsets; the default return types give none, or bytes.
        processor = backend if space else bare()
        mapping = processor.encode(text, add_bos=False, add_eos=False, return_type="offset_mapping")
        return mapping["ids"], mapping["offsets"]

    def encode(tokens: Sequence[Added], text: str):
        return encode_around(text, tokens, encode_part, partial(encode_part, space=False), legacy)

    own = {name: pieces[i] for name, i in _own(backend).items()}
    adds = read_config(directory / CONFIG).get("add_bos_token")
    start = (backend.bos_id(),) if adds is not False and "bos_token" in own else ()
    return Tokenizer(
        encode_offsets=partial(encode, plain),
        encode_marked=partial(encode, [*control, *added.values()]),
        decode_ids=lambda ids: decode_around(ids, added, backend.decode, lambda some: bare().decode(some)),
        piece=lambda i: pieces.get(i, f"<id {i}>"),
        unknown_id=backend.unk_id(),
        vocab_size=max([size, *(i + 1 for i in added)]),
        reach=max([size, *(token.id + 1 for token in plain)]),
        start=start,
        **_specials(directory, special.get, start, own),
    )


def _own(backend) -> dict[str, int]:
    """Return {"bos_token": id, "eos_token": id} of a SentencePiece model, those that it has."""
    found = {"bos_token": backend.bos_id(), "eos_token": backend.eos_id()}
    return {name: i for name, i in found.items() if i >= 0}


def _ends(offsets: Sequence[tuple[int, int]], length: int) -> np.ndarray:
    """Return each token's end; a token that covers no character takes the end of the next one that does.

    SentencePiece reports all bytes of a character but the last as empty. By this rule they share its end, as they do
    in the tokenizers library.
    """
    if not len(offsets):
        return np.zeros(0, np.int64)
    flat = np.fromiter(itertools.chain.from_iterable(offsets), np.int64, 2 * len(offsets))  # asarray is 3 times slower
    begins_N, ends_N = flat[::2], flat[1::2]
    covering = np.flatnonzero(ends_N > begins_N)
    ends = np.append(ends_N[covering], length)
    ends_N = ends[np.searchsorted(covering, np.arange(len(ends_N)))]
    return np.maximum.accumulate(ends_N)


# ---- special tokens


def _specials(
    directory: Path, token_to_id: Callable[[str], int | None], start: tuple[int, ...], own: dict[str, str] | None = None
) -> dict:
    """Return the fields of a Tokenizer that the files beside the vocabulary tell.

    BOS is the one that the tokenizer puts before a text, else the tokenizer's own, else that of config.json. EOS are
    those of config.json and of generation_config.json, else the tokenizer's own.
    """
    names = {**(own or {}), **named_tokens(directory, read_config)}
    bos_id, eos_id = (token_to_id(name) if (name := names.get(key)) else None for key in ("bos_token", "eos_token"))
    configured = _listed(directory / "config.json", "bos")
    if start:
        bos_id = start[0]
    elif "bos_token" not in names:
        bos_id = configured[0] if configured else None
    listed = [*_listed(directory / "config.json", "eos"), *_listed(directory / "generation_config.json", "eos")]
    eos_ids = tuple(dict.fromkeys(listed)) or (() if eos_id is None else (eos_id,))
    return {
        "bos_id": bos_id,
        "eos_ids": eos_ids,
        "prefix_id": next((i for i in (bos_id, eos_id, *eos_ids) if i is not None), None),
        "render": partial(chat.render, directory, {name: token for name, token in names.items() if token}),
        "has_chat": chat.DEFAULT in chat.templates(directory),
        "files": _files(directory),
    }


def _listed(path: Path, name: str) -> tuple[int, ...]:
    """Return the ids of a special token in config.json or generation_config.json: a number, a list, or none."""
    value = read_config(path).get(f"{name}_token_id")
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if any(isinstance(i, bool) or not isinstance(i, int) or not 0 <= i < MOST_TOKENS for i in ids):
        raise InputError(f"{path}: {name}_token_id is {shown(value)}, expected a token id or a list")
    return tuple(ids)


def read_config(path: Path) -> dict:
    """Return the content of a JSON file of the tokenizer's directory, {} where there is none."""
    return read_json(path, dict) if inside(path.parent, path.name).is_file() else {}


def _files(directory: Path) -> tuple[Path, ...]:
    found = [directory / name for name in FILES if (directory / name).is_file()]
    files = (*found, *chat.template_files(directory))
    return tuple(inside(directory, str(file.relative_to(directory))) for file in files)


def holds(tokenizer: Tokenizer, text: str) -> bool:
    """Return whether a tokenizer can write a text without unknown tokens, which could stand for anything."""
    return tokenizer.unknown_id not in tokenizer.encode(text)[0].tolist()
