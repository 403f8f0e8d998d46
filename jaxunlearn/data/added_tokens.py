"""Tokens added to a SentencePiece vocabulary above its last piece: what they are, text that holds them, ids of them.

They stand in `added_tokens_decoder` of tokenizer_config.json or, in older directories, in added_tokens.json. The rules
are those of transformers: a text is cut at added tokens, and each part between them is encoded by itself.
"""

import importlib
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxunlearn.errors import InputError, shown

CONFIG, DECODER = "tokenizer_config.json", "added_tokens_decoder"
NAMED = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


@dataclass(frozen=True, kw_only=True)
class Added:
    """One added token.

    special: it is no text. lstrip, rstrip: it takes the spaces beside it. single_word: it is no part of a word.
    """

    id: int
    content: str
    special: bool = False
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False

    def pattern(self) -> str:
        """Return a regular expression of what the token takes of a text."""
        word = rf"(?<!\w){re.escape(self.content)}(?!\w)" if self.single_word else re.escape(self.content)
        return r"\s*" * self.lstrip + word + r"\s*" * self.rstrip


def read_added(directory: Path, read_config: Callable[[Path], dict]) -> dict[int, Added]:
    """Return {id: token} of a tokenizer's directory; read_config reads a JSON object, {} where there is none.

    A token of added_tokens.json is special if a special token of the configuration is spelled so. Raises InputError
    where an entry has no text or an id that is no whole number of 0 or more.
    """
    config = read_config(directory / CONFIG)
    if DECODER in config:
        path, rows = directory / CONFIG, config[DECODER]
        rows = rows.items() if isinstance(rows, dict) else [(DECODER, rows)]
    else:
        path, special = directory / "added_tokens.json", _special_names(read_config, directory)
        rows = [(i, {"content": text, "special": text in special}) for text, i in read_config(path).items()]
    return {token.id: token for token in (_added(path, i, row) for i, row in rows)}


def _special_names(read_config, directory: Path) -> set[str]:
    given, config = _configured(directory, read_config), read_config(directory / CONFIG)
    more = [of.get(key) for of in (given, config) for key in ("additional_special_tokens", "extra_special_tokens")]
    listed = [token for some in more if isinstance(some, list) for token in some]
    tokens = [given.get(name) for name in NAMED] + listed
    return {str(token.get("content")) if isinstance(token, dict) else str(token) for token in tokens if token}


def named_tokens(directory: Path, read_config: Callable[[Path], dict]) -> dict[str, str | None]:
    """Return {"bos_token": its text, ...} as a tokenizer's files have it; None: the tokenizer has no such token."""
    found = {}
    for key, token in _configured(directory, read_config).items():
        text = token.get("content") if isinstance(token, dict) else token
        if key.endswith("_token") and isinstance(text, str | None):
            found[key] = text
    return found


def _configured(directory: Path, read_config: Callable[[Path], dict]) -> dict:
    """Return tokenizer_config.json; special_tokens_map.json goes before it, but for one with added_tokens_decoder."""
    config = read_config(directory / CONFIG)
    return config if DECODER in config else config | read_config(directory / "special_tokens_map.json")


def _added(path: Path, given: Any, row: Any) -> Added:
    digits = str(given)
    numbered = digits.isdecimal() and len(digits) <= 8 and not isinstance(given, bool)
    content = row.get("content") if isinstance(row, dict) else None
    if not numbered or not isinstance(content, str) or not content:
        said = f"the added token {shown(given)}: {shown(row)} is not understood"
        raise InputError(f"{path}: {said}; expected an id and its text")
    flags = {name: bool(row.get(name, False)) for name in ("special", "lstrip", "rstrip", "single_word")}
    return Added(id=int(digits), content=content, **flags)


Encoded = tuple[Sequence[int], Sequence[tuple[int, int]]]  # ids, and the (begin, end) of each
Encode = Callable[[str], Encoded]


def encode_around(text: str, tokens: Sequence[Added], encode: Encode, encode_bare: Encode, legacy: bool) -> Encoded:
    """Return the ids and character offsets of a text in which `tokens` are ids and what is between them is encoded.

    encode puts the model's space before a text, encode_bare does not. A part that follows a token gets no space; with
    `legacy`, as tokenizer_config.json says, it gets one unless it begins with one.
    """
    if not tokens:
        return encode(text)
    longest = sorted(tokens, key=lambda token: -len(token.content))
    ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    at = 0
    for match in [*re.finditer("|".join(f"({token.pattern()})" for token in longest), text), None]:
        part = text[at : match.start() if match else len(text)]
        bare = at > 0 and not (legacy and not part.startswith(" "))
        some, places = (encode_bare if bare else encode)(part) if part else ((), ())
        ids += some
        offsets += [(begin + at, end + at) for begin, end in places]
        if match:
            ids.append(longest[(match.lastindex or 1) - 1].id)
            offsets.append(match.span())
            at = match.end()
    return ids, offsets


def decode_around(
    ids: Sequence[int], added: Mapping[int, Added], decode: Callable[[list[int]], str], decode_bare
) -> str:
    """Return the text of ids, with the added tokens that are not special.

    decode drops the space that the model puts before a text, decode_bare does not; both leave special pieces out.
    """
    text = ""
    kept = [i for i in ids if not (i in added and added[i].special)]
    for is_added, run in itertools.groupby(kept, key=lambda i: i in added):
        some = list(run)
        text += "".join(added[i].content for i in some) if is_added else (decode_bare if text else decode)(some)
    return text


def without_prefix(model: bytes) -> bytes:
    """Return a SentencePiece model that puts no space before a text."""
    form: Any = importlib.import_module("sentencepiece.sentencepiece_model_pb2")  # its classes are made when it loads
    proto = form.ModelProto.FromString(model)
    proto.normalizer_spec.add_dummy_prefix = False
    return proto.SerializeToString()
