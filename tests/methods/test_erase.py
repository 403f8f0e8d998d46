"""Embedding erasure: who owns a token, the factorisation on 3 x 3 rows by hand, the edit of a model, refusals."""

import dataclasses

import jax
import numpy as np
import pytest
from support.batches import SHAPE
from support.mesh import mesh_of
from support.world import NAMES, PLAIN_NAMES

from jaxunlearn.config import Config, Erase, Lora, Text, Unlearn
from jaxunlearn.data.blocks import make_blocks
from jaxunlearn.data.documents import Document
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.methods import check_config, erase
from jaxunlearn.models import transformer
from jaxunlearn.parallel.sharding import put

GIVEN = Config(name="x", model="m", text=Text(forget=("a",), retain=("b",), dictionary="d"))


def test_rows_of_one_direction_share_a_feature_and_lose_their_part_in_it():
    rows = np.array([[2.0, 0, 0], [4, 0, 0], [0, 3, 0], [0, 0, 5]])
    winner, coefficient, features = erase.factored(rows, 4, 0)
    np.testing.assert_allclose(coefficient[:, None] * features[winner], rows, atol=1e-12)
    own = np.array([True, True, True, False])
    found = erase.part_of_target(rows, own, Erase(rank=4), 0)
    np.testing.assert_allclose(found, rows * own[:, None], atol=1e-12)  # a feature of its own rows is the target's


def test_a_feature_is_the_targets_by_its_share_of_the_squared_coefficients():
    rows = np.array([[1.0, 0, 0], [2, 0, 0], [3, 0, 0]])  # one feature; coefficients 1, 2 and 3 times something
    own = np.array([False, False, True])  # 9 of 14 squares
    np.testing.assert_allclose(erase.part_of_target(rows, own, Erase(rank=1, share=0.64), 0), rows * own[:, None])
    assert not erase.part_of_target(rows, own, Erase(rank=1, share=0.65), 0).any()


def test_a_coefficient_is_never_below_0_and_a_row_keeps_what_its_feature_does_not_hold():
    rows = np.array([[1.0, 1, 0], [1, -1, 0], [-1, 0, 0.1]])
    winner, coefficient, features = erase.factored(rows, 1, 2)
    assert (coefficient >= 0).all() and (winner == 0).all()
    left = rows - coefficient[:, None] * features[winner]
    np.testing.assert_allclose(np.sum(left * features[winner], axis=1)[coefficient > 0], 0, atol=1e-9)


# ---- tokens


def blocks(world, *texts):
    tokenizer = load_tokenizer(world / "tokenizer")
    return make_blocks([Document(name=f"{n}", text=t) for n, t in enumerate(texts)], tokenizer, 16), tokenizer


def test_a_token_is_owned_by_the_dictionary_and_by_counts(world):
    (one, two), (plain, *_) = NAMES[:2], PLAIN_NAMES
    forget, tokenizer = blocks(world, f"{one} {plain} {two}", f"{plain} {one}")
    retain, _ = blocks(world, f"{plain} {two} {plain}")
    made = erase.owned(forget, retain, {one: (plain,), two: (plain,), f"{one} {two}": (plain,)}, "longest", 0)
    names = [tokenizer.pieces([int(i)])[0].strip("▁Ġ ") for i in made.ids_N[made.own_N]]
    assert names == [one]  # two stands in the text to keep, plain in no term
    assert made.found() == {"terms": 2, "owning": 1, "whole": 1, "tokens": 1}  # the third term stands nowhere
    loose = erase.owned(forget, retain, {one: (plain,), two: (plain,)}, "longest", 1)
    assert loose.found() == {"terms": 2, "owning": 2, "whole": 2, "tokens": 2}


@pytest.mark.parametrize(("tied", "sizes"), [(True, (1, 1, 1)), (False, (2, 2, 2))])
def test_owned_rows_alone_are_edited_at_both_ends(tied, sizes):
    ids, own = np.array([3, 8, 20, 41]), np.array([False, True, True, False])
    o = erase.Owned(ids, own, 2, 2, 2)
    with jax.set_mesh(mesh_of(sizes)):
        model = transformer.init(dataclasses.replace(SHAPE, tied=tied), 0)
        before = {n: np.asarray(getattr(model, n)[...]) for n in ("embed_VD", "head_DV") if hasattr(model, n)}
        spec = model.embed_VD[...].sharding.spec
        made = erase.erased(model, o, Erase(strength=2.0, rank=4), 0)  # a feature for every row: it is the row
        assert made.embed_VD[...].sharding.spec == spec
        for name, w in before.items():
            wanted, rows = w.copy(), ids[own]
            wanted[rows if name == "embed_VD" else (slice(None), rows)] *= -1  # e - 2 e
            np.testing.assert_allclose(getattr(made, name)[...], wanted, atol=1e-6)
    assert len(before) == 1 + (not tied)


@pytest.mark.parametrize(("share", "changes"), [(0.9, False), (0.0, True)])
def test_an_edit_that_changes_no_row_is_said(share, changes, capsys):
    o = erase.Owned(np.arange(40), np.arange(40) == 7, 1, 1, 1)  # one row in forty, in a feature of them all
    with jax.set_mesh(mesh_of((1, 1, 1))):
        model = transformer.init(dataclasses.replace(SHAPE, tied=True), 0)
        start = np.ones_like(np.asarray(model.embed_VD[...]))
        model.embed_VD[...] = put(start, "VD")
        made = erase.erased(model, o, Erase(strength=1.0, rank=1, share=share), 0)
        assert (np.asarray(made.embed_VD[...]) != start).any() == changes
    assert ("unlearn.erase changes no row" in capsys.readouterr().err) != changes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"unlearn": {"method": "task_vector"}}, "unlearn.erase edits what training starts from, and task_vector"),
        ({"unlearn": {"lora": Lora(rank=2)}}, "unlearn.erase edits whole rows, which no adapter holds"),
        ({"text": {"dictionary": ""}}, "unlearn.erase needs the target's terms: set text.dictionary"),
        ({"text": {"retain": ()}}, "unlearn.erase counts tokens in the text to keep: set text.retain"),
    ],
)
def test_what_it_cannot_do_is_refused(change, said):
    given = {"steps": 1, "method": "gradient_ascent", "erase": Erase(strength=1.0)}
    sound = dataclasses.replace(GIVEN, unlearn=Unlearn(**given))
    check_config(sound)
    text = dataclasses.replace(GIVEN.text, **change.get("text", {}))
    with pytest.raises(InputError, match=said):
        check_config(dataclasses.replace(sound, text=text, unlearn=Unlearn(**given | change.get("unlearn", {}))))


def test_more_features_than_the_embedding_has_are_refused():
    def fits(rank):
        erase.fits(dataclasses.replace(GIVEN, unlearn=Unlearn(erase=Erase(strength=1.0, rank=rank))), SHAPE)

    fits(16)
    with pytest.raises(InputError, match=r"unlearn.erase.rank = 17 is more than the embedding has \(64 x 16\)"):
        fits(17)
