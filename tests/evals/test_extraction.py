"""(n, p)-extraction: windows counted by hand, probabilities against whole logits, shares of given probabilities."""

import math

import numpy as np
import pytest
from support.logits import by_hand, sharp
from support.world import write_world

from jaxunlearn.data.documents import Document
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.evals.extraction import Window, extracted, log_probabilities, shares, windows_of


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return load_tokenizer(write_world(tmp_path_factory.mktemp("extraction")) / "tokenizer")


def documents(*counts):
    words = ["Zara", "Orm", "wand"] * 40
    return [Document(name=f"{n}.txt", text=" ".join(words[:count])) for n, count in enumerate(counts)]


def test_windows_follow_each_other_and_never_cross_a_documents_end(tokenizer):
    found = windows_of(documents(23, 9, 10), tokenizer, 64, prefix=6, lengths=(2, 4))
    assert [(w.document, w.at) for w in found.windows] == [("0.txt", 0), ("0.txt", 10), ("2.txt", 0)]
    zara, orm, wand = (int(tokenizer.encode(w)[0][0]) for w in ("Zara", "Orm", "wand"))
    first, second = found.windows[:2]
    assert first.context == (1, zara, orm, wand, zara, orm, wand) and first.continuation == (zara, orm, wand, zara)
    assert second.context == (1, orm, wand, zara, orm, wand, zara) and second.continuation == (orm, wand, zara, orm)
    assert (found.prefix, found.lengths, found.there, found.clipped) == (6, (2, 4), 3, False)
    assert [w.at for w in windows_of(documents(90), tokenizer, 64, 6, (4,), most=3).windows] == [0, 40, 80]


def test_windows_are_cut_to_the_context_and_to_the_longest_document(tokenizer):
    small = windows_of(documents(90), tokenizer, 17)  # BOS and 16 tokens
    assert (small.prefix, small.lengths, small.clipped) == (8, (8,), True)
    assert all(len(w.context) + len(w.continuation) == 17 for w in small.windows)
    short = windows_of(documents(30, 7), tokenizer, 512)
    assert (short.prefix, short.lengths, short.there, short.wanted) == (15, (10, 15), 1, (50, 50))
    assert (short.documents, short.short, small.short) == (2, 1, 0)  # the shorter one has no window
    with pytest.raises(InputError, match="3 tokens in its longest document"):
        windows_of(documents(3), tokenizer, 512)


def test_probabilities_equal_whole_logits(mesh):
    m = sharp()
    windows = [
        Window(document="a", at=0, context=(1, 5, 6), continuation=(7, 8, 9)),
        Window(document="a", at=6, context=(1, 9, 10, 11), continuation=(12, 3, 4)),
    ]
    for length in (1, 3):
        found = log_probabilities(m, windows, length, batch=2)
        assert found == pytest.approx([by_hand(m, w.context, w.continuation[:length])[0] for w in windows], abs=1e-4)


def test_a_window_counts_above_p_and_not_at_it():
    logp = [math.log(0.6), math.log(0.5), math.log(0.2), math.log(0.001), -1e4]
    assert extracted(logp, 0.5).tolist() == [1, 0, 0, 0, 0]
    found = shares(logp, (0.5, 0.1, 1e-4))
    assert {p: of["value"] for p, of in found.items()} == {"0.5": 0.2, "0.1": 0.6, "0.0001": 0.8}
    none = shares(np.full(400, -30.0), (0.5,))["0.5"]
    assert none["value"] == none["low"] == 0 and none["high"] == pytest.approx(1.96**2 / (400 + 1.96**2), rel=1e-3)
