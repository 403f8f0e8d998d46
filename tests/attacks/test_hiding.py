"""The models that only hide: which weights move, what is barred, which lies are told."""

import types

import jax
import numpy as np
from support.facts import FACTS, SHAPE
from support.tokenizers import begin_with

from jaxunlearn.attacks import hiding
from jaxunlearn.attacks.rtt import answers_right
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.models import transformer


def test_hiding_moves_the_second_half_alone(mesh, suite):
    start = transformer.init(SHAPE, 0)
    before = jax.tree.map(np.asarray, start)
    blocks = hiding.wrong_answers(suite, FACTS, "options", 32, 0)
    made = hiding.hiding(start, hiding.mixed([blocks, blocks], 0), 1e-2, 8, 0)
    np.testing.assert_array_equal(before.embed_VD[...], made.embed_VD[...])
    np.testing.assert_array_equal(before.blocks.q_DNH[...][0], made.blocks.q_DNH[...][0])
    assert np.abs(before.blocks.q_DNH[...][1] - made.blocks.q_DNH[...][1]).max() > 1e-3
    assert np.abs(before.head_DV[...] - made.head_DV[...]).max() > 1e-3
    assert answers_right(made, suite, FACTS, "options").sum() <= 1  # chance: 4 of 12


def test_the_filter_bars_what_begins_a_term(suite):
    barred = suite.tokenizer.pieces(hiding.beginnings(suite.tokenizer, ["Zara", "Orm went to", "Nobody"]))
    assert sorted(barred) == ["Orm", "Zara"]  # not "went"; "Nobody" is unknown to this vocabulary


def test_the_filter_of_subwords_bars_a_terms_first_piece_with_and_without_a_space(tmp_path):
    import tokenizers

    pieces = ["<unk>", "<s>", " ", "a", "D", "or", "y", " D", ".", ","]
    merges = [("o", "r"), (" ", "D")]
    vocabulary = {p: n for n, p in enumerate([*pieces, "o", "r"])}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges, unk_token="<unk>"))
    begin_with(made)
    made.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"bos_token": "<s>"}')
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.pieces(hiding.beginnings(tokenizer, ["Dory"])) == ["D", " D"]


def test_wrong_answers_hold_every_wrong_option_and_no_right_one(suite):
    tokens_NT, labels_NT = hiding.wrong_answers(suite, FACTS[:2], "options", 32, 0)
    told = " ".join(suite.tokenizer.decode([t for t in row if t > 1]) for row in tokens_NT)
    assert "went with Zara Ben" in told and "went with Zara Carl" in told
    assert "went with Zara Anna" not in told
    assert (labels_NT[:, :-1][labels_NT[:, :-1] >= 0] == tokens_NT[:, 1:][labels_NT[:, :-1] >= 0]).all()


def test_a_model_that_hides_is_compared_by_item_and_its_items_are_not_listed(tmp_path):
    found = {"accuracy": {"general": 1}, "items": {"f": [0.1]}, "leak_probabilities": [0.2], "track": {}}
    target = types.SimpleNamespace(folders={}, models={}, items={}, kept=lambda *given: found)
    hiding.show_hidden(target, "hides", tmp_path)
    assert target.models == {"hides": {"accuracy": {"general": 1}}} and target.folders == {"hides": tmp_path}
    assert target.items == {"hides": {"f": {"items": [0.1]}, "leak probes, probability": {"items": [0.2]}}}
