"""Read the tokenizer of a model directory; it gives token ids and the character at which each token ends.

Two kinds of file are read: `tokenizer.json` (the tokenizers library) and, where there is none, SentencePiece's
`tokenizer.model`. Nothing in the directory is executed or unpickled.
"""

import dataclasses
import itertools
import json
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from jaxunlearn.data.added_tokens import decode_around, encode_around, read_added, without_prefix
from jaxunlearn.errors import InputError
from jaxunlearn.files import read_text

FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "generation_config.json",
)

# Takes a text; returns ids and (begin, end) character offsets as the library has them, see _ends.
Encoder = Callable[[str], tuple[Sequence[int], Sequence[tuple[int, int]]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """Encode text without special tokens, decode ids, and know the ids of the special tokens.

    encode_offsets, decode_ids, piece: functions of the library's tokenizer. bos_id: None without a BOS. files: the
    files in the model directory that belong to the tokenizer.
    """

    encode_offsets: Encoder
    decode_ids: Callable[[list[int]], str]
    piece: Callable[[int], str]
    vocab_size: int
    bos_id: int | None
    eos_ids: tuple[int, ...]
    files: tuple[Path, ...]

    @property
    def eos_id(self) -> int | None:
        """Return the first end-of-text id, None without one."""
        return self.eos_ids[0] if self.eos_ids else None

    def needed_bos_id(self) -> int:
        """Return the beginning-of-text id; raise InputError without one."""
        if self.bos_id is None:
            raise InputError("the tokenizer has no BOS token; name one in the model's config.json (bos_token_id)")
        return self.bos_id

    def encode(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Return ids_N (int32) and ends_N (int64), the character of `text` at which each token ends."""
        ids, offsets = self.encode_offsets(text)
        return np.asarray(ids, np.int32), _ends(offsets, len(text))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, without special tokens."""
        return self.decode_ids([int(i) for i in ids])

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return each id's piece as the vocabulary writes it, spaces marked; <id N> for one outside the vocabulary."""
        return [self.piece(int(i)) if 0 <= int(i) < self.vocab_size else f"<id {int(i)}>" for i in ids]


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

    path = directory / "tokenizer.json"
    try:
        backend = tokenizers.Tokenizer.from_str(read_text(path))
    except Exception as error:  # the library raises bare Exception
        raise InputError(f"{path} is not a readable tokenizer ({error}); copy it from the model again") from error
    backend.no_truncation()
    backend.no_padding()
    backend.post_processor = None  # it would add special tokens, or trim spaces from the offsets
    backend.encode_special_tokens = True  # "</s>" written in a book is text, not the end of it

    def encode_offsets(text: str):
        encoding = backend.encode(text, add_special_tokens=False)
        return encoding.ids, encoding.offsets

    bos_ids, eos_ids = (_special_ids(directory, name, backend.token_to_id) for name in ("bos", "eos"))
    return Tokenizer(
        encode_offsets=encode_offsets,
        decode_ids=lambda ids: backend.decode(ids, skip_special_tokens=True),
        piece=lambda i: backend.id_to_token(i) or f"<id {i}>",
        vocab_size=backend.get_vocab_size(),
        bos_id=bos_ids[0] if bos_ids else None,
        eos_ids=eos_ids,
        files=_files(directory),
    )


def _load_sentencepiece(directory: Path) -> Tokenizer:
    import sentencepiece

    path = directory / "tokenizer.model"
    backend = sentencepiece.SentencePieceProcessor()
    try:
        backend.LoadFromSerializedProto(path.read_bytes())
    except (RuntimeError, OSError) as error:
        raise InputError(f"{path} is not a SentencePiece model ({error}); copy it from the model again") from error
    size, added = backend.vocab_size(), read_added(directory, _read_config)
    names = {i: backend.id_to_piece(i) for i in range(size)} | {i: token.content for i, token in added.items()}
    bare = backend
    if added:
        bare = sentencepiece.SentencePieceProcessor(model_proto=without_prefix(path.read_bytes()))
    plain = [token for token in added.values() if not token.special]
    legacy = bool(_read_config(directory / "tokenizer_config.json").get("legacy", False))

    def encode_with(processor, text: str):
        # Given a str, this gives character offsets; the default return types give none, or bytes.
        mapping = processor.encode(text, add_bos=False, add_eos=False, return_type="offset_mapping")
        return mapping["ids"], mapping["offsets"]

    return Tokenizer(
        encode_offsets=lambda text: encode_around(
            text, plain, partial(encode_with, backend), partial(encode_with, bare), legacy
        ),
        decode_ids=lambda ids: decode_around(ids, added, backend.decode, bare.decode),
        piece=lambda i: names.get(i, f"<id {i}>"),
        vocab_size=max([size, *(i + 1 for i in added)]),
        bos_id=backend.bos_id() if backend.bos_id() >= 0 else None,
        eos_ids=(backend.eos_id(),) if backend.eos_id() >= 0 else (),
        files=_files(directory),
    )


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


def _special_ids(directory: Path, name: str, token_to_id: Callable[[str], int | None]) -> tuple[int, ...]:
    """Return the ids of a special token: config.json's numbers, else those of tokenizer_config.json's string."""
    value = _read_config(directory / "config.json").get(f"{name}_token_id")
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if any(isinstance(i, bool) or not isinstance(i, int) or i < 0 for i in ids):
        raise InputError(f"{directory / 'config.json'}: {name}_token_id is {value!r}, expected a token id or a list")
    if ids:
        return tuple(ids)
    token = _read_config(directory / "tokenizer_config.json").get(f"{name}_token")
    token = token.get("content") if isinstance(token, dict) else token
    found = token_to_id(token) if isinstance(token, str) else None
    return () if found is None else (found,)


def _read_config(path: Path) -> dict:
    if not path.is_file():
        return {}
    try:
        config = json.loads(read_text(path))
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); copy it from the model again") from error
    if not isinstance(config, dict):
        raise InputError(f"{path} holds a {type(config).__name__}, expected a JSON object")
    return config


def _files(directory: Path) -> tuple[Path, ...]:
    return tuple(directory / name for name in FILES if (directory / name).is_file())


def copy_tokenizer(source: Path, target: Path) -> dict:
    """Copy the tokenizer's files and return the special token ids that config.json must hold."""
    tokenizer = load_tokenizer(source)
    for file in tokenizer.files:
        shutil.copyfile(file, target / Path(file).name)
    return {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id}


def holds(tokenizer: Tokenizer, text: str) -> bool:
    """Return whether a tokenizer can write a text without unknown tokens, which could stand for anything."""
    return "<unk>" not in tokenizer.pieces([int(i) for i in tokenizer.encode(text)[0]])
