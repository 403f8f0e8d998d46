"""How completions are written, by hand."""

import pytest

from jaxunlearn.evals.writing import writing


def test_writing_by_hand():
    found = writing([{"text": "a b c d a b c d e"}, {"text": " "}, {"text": "one two"}])["writing"]
    assert found["empty"]["value"] == pytest.approx(1 / 3)
    assert found["repeated"]["value"] == pytest.approx(1 - 5 / 6)  # six 4-grams, one of them twice
