"""What the pieces of a vocabulary stand for: the bytes of a text.

A byte-level vocabulary writes each byte as a character ("é" as `Ã©`); SentencePiece writes a space as ▁, and a byte as
`<0xC3>`.
"""

import re
from functools import cache

from jaxunlearn.files import parse_json

BYTE = re.compile(r"<0x([0-9A-F]{2})>")
SAMPLE, WRITTEN = "é", "Ã©"  # a text, and a byte-level vocabulary's spelling of it


@cache
def byte_alphabet() -> dict[str, int]:
    """Return {character: byte} of byte-level vocabularies, as GPT-2 has them.

    A byte that Latin-1 shows as a visible character is that character; the others, in order, are those from U+0100 on.
    """
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [n for n in range(256) if n not in shown]
    return {chr(n): n for n in shown} | {chr(256 + n): byte for n, byte in enumerate(hidden)}


def is_byte_level(backend) -> bool:
    """Return whether the vocabulary of a tokenizer of the tokenizers library is byte-level."""
    if backend.decoder is not None:
        return backend.decoder.decode([WRITTEN]) == SAMPLE
    cuts = backend.pre_tokenizer
    return cuts is not None and any(WRITTEN in piece for piece, _ in cuts.pre_tokenize_str(SAMPLE))


def unknown_of(backend) -> int | None:
    """Return the id that a tokenizer of the tokenizers library gives what its vocabulary lacks.

    None where it has none, or a byte-level vocabulary lacks nothing: the unknown token of GPT-2 is its end of text.
    """
    if is_byte_level(backend) and all(backend.token_to_id(byte) is not None for byte in byte_alphabet()):
        return None
    if hasattr(backend.model, "unk_token"):
        return None if backend.model.unk_token is None else backend.token_to_id(backend.model.unk_token)
    state = backend.model.__getstate__().decode()  # Unigram's class tells it nowhere else
    return parse_json(state, "the tokenizer's model", dict)["unk_id"]


def spelled(piece: str) -> bytes:
    """Return the bytes of a piece in which ▁ is a space and `<0xC3>` a byte."""
    byte = BYTE.fullmatch(piece)
    return bytes([int(byte[1], 16)]) if byte else piece.replace("▁", " ").encode("utf-8", "surrogatepass")


def spelled_in_bytes(piece: str) -> bytes:
    """Return the bytes of a piece of a byte-level vocabulary; one with other characters is a text, as in decoding."""
    alphabet = byte_alphabet()
    if any(character not in alphabet for character in piece):
        return piece.encode("utf-8", "surrogatepass")
    return bytes(alphabet[character] for character in piece)
