"""Checks of what a run works on: terms of the target in the text to repair with."""

from collections import Counter

from jaxunlearn.run.checks import anchored, warning


def test_terms_of_the_target_in_the_text_are_counted_and_said():
    counts = anchored(["Zara met Anna.", "Zara and Quill; Zaras."], {"Zara": ("Anna",), "Quill": ("Ben",)})
    assert counts == Counter({"Zara": 2, "Quill": 1})
    assert "3 anchored terms (Zara (2), Quill (1))" in warning(counts) and warning(Counter()) == ""
