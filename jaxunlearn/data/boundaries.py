"""One rule of what a word is, for all that looks for terms: where words begin and end.

After Unicode's default word boundaries (UAX #29): letters and digits side by side are one word, and marks belong to
their base. Four rules are our own, because terms are sought inside running text: an apostrophe, a stop or an underscore
between letters ends a word ("Dorothy's", `_Dorothy_`, the italics of plain-text books), and so does every character of
a script written without spaces or with particles attached (Han, Hiragana, Hangul, Thai, Lao, Khmer, Burmese).

Dimensions: C characters. Positions are characters.
"""

import numpy as np
import regex

_ALONE = r"\p{Ideographic}\p{Script=Hiragana}\p{Hangul}\p{Line_Break=SA}"
_EXTEND = r"\p{M}\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}"
_OTHER, _LETTER, _KATAKANA, _EXTENDS = range(4)  # kinds of characters; those that stand alone join nothing: _OTHER
_KINDS = (
    (_EXTENDS, regex.compile(f"[{_EXTEND}]")),
    (_KATAKANA, regex.compile(r"\p{WB=Katakana}")),
    (_OTHER, regex.compile(f"[{_ALONE}]")),
)


def joined(text: str) -> np.ndarray:
    """Return joined_C, one longer than the text: whether the characters before and at each place are of one word."""
    if not text:
        return np.zeros(1, bool)
    kind_C = code_characters(text, _kind)
    base_C = np.maximum.accumulate(np.where(kind_C == _EXTENDS, 0, np.arange(len(text))))  # a mark's is before it
    kind, whole_C = kind_C[base_C], np.zeros(len(text) + 1, bool)
    one_word = (kind[1:] == kind[:-1]) & ((kind[1:] == _LETTER) | (kind[1:] == _KATAKANA))
    whole_C[1:-1] = one_word | (kind_C[1:] == _EXTENDS)
    return whole_C


def _kind(character: str) -> int:
    if character.isascii():
        return _LETTER if character.isalnum() else _OTHER
    known = next((kind for kind, pattern in _KINDS if pattern.match(character)), None)
    return known if known is not None else _LETTER if character.isalnum() else _OTHER


def word_pattern(letters: str = r"\p{L}") -> str:
    """Return a pattern, for the regex library, of a run of `letters` (a set of characters) that `joined` keeps whole.

    It needs regex.V1, for the difference of sets.
    """
    own, katakana = rf"[[{letters}]--[{_ALONE}\p{{WB=Katakana}}]]", rf"\p{{WB=Katakana}}[\p{{WB=Katakana}}{_EXTEND}]*"
    run = rf"{own}[[{letters}{_EXTEND}]--[[{_ALONE}\p{{WB=Katakana}}]--[{_EXTEND}]]]*"
    return rf"(?:{run}|{katakana}|[[{_ALONE}]--[{_EXTEND}]][{_EXTEND}]*)"


def code_characters(text: str, code) -> np.ndarray:
    """Return code(character), a small number, for each character of a text; each distinct one is computed once."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    table = np.zeros(int(codes.max(initial=0)) + 1, np.uint32)
    for character in set(text):
        table[ord(character)] = code(character)
    return table[codes]
