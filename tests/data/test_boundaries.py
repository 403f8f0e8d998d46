"""Where words begin and end: marks, scripts without spaces, italics."""

from itertools import pairwise

import pytest
import regex

from jaxunlearn.data.boundaries import joined, word_pattern


def pieces(text):
    places = [n for n, whole in enumerate(joined(text)) if not whole]
    return [text[a:b] for a, b in pairwise(places)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("Oz2 _Dorothy_", ["Oz2", " ", "_", "Dorothy", "_"]),
        ("Dorothy's H.M.", ["Dorothy", "'", "s", " ", "H", ".", "M", "."]),
        ("Zoe\u0308s", ["Zoe\u0308s"]),  # a mark belongs to its base
        ("\u0301a b\u0301", ["\u0301", "a", " ", "b\u0301"]),
        ("ni\u200cr Do\u00adro", ["ni\u200cr", " ", "Do\u00adro"]),  # characters that are not seen
        ("किताब नमस्ते", ["किताब", " ", "नमस्ते"]),  # vowel signs are marks
        ("李小龙说", ["李", "小", "龙", "说"]),  # written without spaces
        ("オズマ姫のー。", ["オズマ", "姫", "の", "ー", "。"]),  # Katakana is a word, as in UAX #29
        ("도로시는", ["도", "로", "시", "는"]),  # a particle follows
        ("วัดดี", ["วั", "ด", "ดี"]),
        ("Oz李", ["Oz", "李"]),
    ],
)
def test_text_is_cut_between_words_alone(text, expected):
    assert pieces(text) == expected
    assert len(joined(text)) == len(text) + 1 and not joined(text)[0] and not joined(text)[-1]


def test_the_pattern_finds_the_words_that_the_rule_keeps_whole():
    word = regex.compile(word_pattern(), regex.V1)
    text = "Zoe\u0308s _Oz_ it's 3rd नमस्ते 李小 オズマの वि"
    assert word.findall(text) == ["Zoe\u0308s", "Oz", "it", "s", "rd", "नमस्ते", "李", "小", "オズマ", "の", "वि"]
    assert set(word.findall(text)) - set(pieces(text)) == {"rd"}
    assert regex.findall(word_pattern(r"\p{L}\p{N}"), "3rd Oz2", regex.V1) == ["3rd", "Oz2"]
