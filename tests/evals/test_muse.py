"""ROUGE-L, its stemmer and MUSE's four scores against values worked out by hand."""

import itertools
import json

import jax
import numpy as np
import pytest
from support.world import write_world

from jaxunlearn.config import Config, Eval
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.evals.base import Context
from jaxunlearn.evals.memorisation import continue_greedily
from jaxunlearn.evals.muse import (
    KNOWMEM,
    common_length,
    cut_reply,
    few_shot,
    knowmem,
    muse_auc,
    privleak,
    privleak_figure,
    rouge_l,
    split_passages,
    stem,
    verbmem,
    words,
)
from jaxunlearn.evals.prompts import Prompts
from jaxunlearn.evals.suite import Suite
from jaxunlearn.models import transformer


def test_rouge_l_by_hand():
    # common: the cat sat mat (4 of 6 reference words, 4 of 5 written ones)
    found = rouge_l("The cat sat on the mat.", "the CAT sat, a mat")
    assert found == pytest.approx((4 / 6, 4 / 5, 2 * (4 / 6) * (4 / 5) / (4 / 6 + 4 / 5)))
    assert rouge_l("one two three", "three two one").recall == pytest.approx(1 / 3)  # order counts
    assert rouge_l("one two", "one two three four") == pytest.approx((1, 0.5, 2 / 3))
    assert rouge_l("one two", "") == rouge_l("one two", "...") == rouge_l("one", "two") == (0, 0, 0)


def test_common_length_equals_trying_every_subsequence():
    draw = np.random.default_rng(0)
    for _ in range(20):
        a, b = draw.integers(0, 3, 6).tolist(), draw.integers(0, 3, 5).tolist()
        every = {s for n in range(6) for s in itertools.combinations(b, n)}
        best = max(n for n in range(7) for s in itertools.combinations(a, n) if s in every)
        assert common_length(a, b) == best


def test_words_are_runs_of_ascii_letters_and_digits():
    assert words("Born 08/09/1956, Al-Kuwaiti's Café!") == ["born", "08", "09", "1956", "al", "kuwaiti", "s", "caf"]
    assert words("She was running races") == ["she", "was", "running", "races"]
    assert words("She was running races", stemmed=True) == ["she", "was", "run", "race"]  # not "wa": three letters
    assert rouge_l("He writes novels", "he writing novel", stemmed=True).recall == 1
    assert rouge_l("He writes novels", "he writing novel").recall == pytest.approx(1 / 3)


# From the tables of Porter's paper, and the words that NLTK's default treats in its own way (the last two lines).
STEMS = """
caresses>caress ponies>poni caress>caress cats>cat feed>feed agreed>agre plastered>plaster bled>bled
motoring>motor sing>sing conflated>conflat troubled>troubl sized>size hopping>hop tanned>tan falling>fall
hissing>hiss fizzed>fizz failing>fail filing>file happy>happi sky>sky relational>relat conditional>condit
rational>ration valenci>valenc hesitanci>hesit digitizer>digit conformabli>conform radicalli>radic
differentli>differ vileli>vile analogousli>analog vietnamization>vietnam predication>predic operator>oper
feudalism>feudal decisiveness>decis hopefulness>hope callousness>callous formaliti>formal sensitiviti>sensit
sensibiliti>sensibl triplicate>triplic formative>form formalize>formal electriciti>electr electrical>electr
hopeful>hope goodness>good revival>reviv allowance>allow inference>infer airliner>airlin gyroscopic>gyroscop
adjustable>adjust defensible>defens irritant>irrit replacement>replac adjustment>adjust dependent>depend
adoption>adopt homologou>homolog communism>commun activate>activ angulariti>angular homologous>homolog
effective>effect bowdlerize>bowdler probate>probat rate>rate cease>ceas controll>control roll>roll nation>nation
station>station ties>tie died>die dies>die flies>fli tried>tri dying>die skies>sky innings>inning news>news
proceed>proceed enjoy>enjoy saying>say by>by geology>geolog possibly>possibl joyfully>joy
"""


@pytest.mark.parametrize(("word", "expected"), [pair.split(">") for pair in STEMS.split()])
def test_stems(word, expected):
    assert stem(word) == expected


def test_verbmem_and_knowmem_by_hand():
    found = verbmem(["a b c d", "e f"], ["a b x y", "e f"])  # F1 1/2 and 1
    assert found["value"] == pytest.approx(75.0) and found["n"] == 2
    found = knowmem(["paris", "rome"], ["Paris\n\nQuestion: What next?", "Athens"])
    assert found["value"] == pytest.approx(50.0)  # without the cut F1 of the first would be 2/5
    one = verbmem(["a b"], ["a b"])
    assert one["value"] == 100 and one["low"] is None and "no interval" in one["note"]


def test_bad_answers_are_refused():
    with pytest.raises(InputError, match="2 references and 1 texts"):
        verbmem(["a", "b"], ["a"])
    with pytest.raises(InputError, match="no word"):
        verbmem(["a", "-"], ["a", "b"])
    with pytest.raises(InputError, match="one item at least"):
        knowmem([], [])


def test_replies_are_cut_at_the_first_stop():
    assert cut_reply("Rome Question: x\n\ny\nQuestion") == "Rome "
    assert cut_reply("Rome\nQuestion 2") == "Rome"
    assert cut_reply("Rome\nand Paris") == "Rome\nand Paris"
    assert cut_reply("\n\nRome") == ""


def test_prompt_is_muses():
    prompt = few_shot("Who?", [("A?", "b"), ("C?", "d")])
    assert prompt == "Question: A?\nAnswer: b\n\nQuestion: C?\nAnswer: d\n\nQuestion: Who?\nAnswer: "


def test_privleak_by_hand():
    assert privleak(0.25, 0.5) == -50.0  # forget texts are still told apart
    assert privleak(0.75, 0.5) == 50.0
    assert privleak(0.4772, 0.4772) == 0.0
    assert privleak(0.0, 0.4772) == -100.0
    for pair in ((0.5, 0.0), (1.2, 0.5), (float("nan"), 0.5), (0.5, float("nan"))):
        with pytest.raises(InputError, match="PrivLeak of AUC"):
            privleak(*pair)


def test_a_model_that_knows_the_forget_texts_best_is_at_minus_100():
    known, new = [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]  # Min-40% scores: low is well known
    assert muse_auc(known, new) == 0.0
    retrained = np.random.default_rng(0).normal(size=(2, 30))
    found = privleak_figure((known * 10, new * 10), (retrained[0], retrained[1]))
    assert found["value"] == pytest.approx(-100.0) and (found["forget"], found["holdout"]) == (30, 30)
    assert found["low"] is None and "an AUC of 0" in found["note"]


def test_privleaks_interval_is_narrow_where_two_models_score_texts_alike():
    draw = np.random.default_rng(0)
    forget, holdout = draw.normal(size=30), draw.normal(size=20)
    near = privleak_figure((forget + draw.normal(0, 0.3, 30), holdout), (forget, holdout))
    far = privleak_figure((draw.normal(size=30), draw.normal(size=20)), (forget, holdout))
    assert near["low"] < near["value"] < near["high"] and far["low"] < far["value"] < far["high"]
    assert near["high"] - near["low"] < (far["high"] - far["low"]) / 3
    assert far["low"] > -100  # a ratio of shares is not below 0


def test_privleak_says_when_there_is_no_interval():
    few = [1.0, 2.0, 3.0, 9.0]
    for scores, why in (((few, [4.0, 5.0]), "fewer than 5 texts"), ((np.arange(9.0), np.arange(1.0, 7)), "alike")):
        found = privleak_figure(scores, scores)
        assert found["value"] == 0.0 and found["low"] is None and why in found["note"]
    with pytest.raises(InputError, match="same forget and the same holdout"):
        privleak_figure(([1.0, 2.0], [1.0]), ([1.0], [1.0]))
    with pytest.raises(InputError, match="forget scores: item 1 is nan"):
        privleak_figure(([1.0, np.nan], [1.0]), ([1.0, 2.0], [1.0]))


@pytest.fixture
def tokenizer(tmp_path):
    return load_tokenizer(write_world(tmp_path) / "tokenizer")


def test_passages_are_cut_by_tokens(tokenizer):
    assert split_passages(tokenizer, ["Zara went to Orm with Ben ."], 3, 2) == (["Zara went to"], [" Orm with"])
    with pytest.raises(InputError, match="text 1 has 2 tokens"):
        split_passages(tokenizer, ["Zara went to Orm with Ben .", "Anna went"], 3, 2)


def test_knowmem_and_utility_of_a_folder(mesh, tokenizer, tmp_path):
    shape = transformer.Shape(V=32, D=16, L=2, N=2, K=2, H=8, F=16, context=256)
    m = jax.tree.map(lambda w: 12 * w, transformer.init(shape, 0))
    context = Context(suite=Suite(tokenizer, Prompts(name="n"), {}, Eval(muse=str(tmp_path), items=2, batch=8)))
    config = Config(name="any", eval=context.suite.c)
    with pytest.raises(InputError, match="forget_qa"):
        KNOWMEM.check(config, False)
    shots = [("Anna went to", "Rome")]
    said = continue_greedily(m, tokenizer, [few_shot("Zara went to", shots)], 32)[0]
    rows = {"forget_qa": [("Zara went to", said)] * 3, "forget_qa_icl": shots, "retain_qa": [("Ben", "Paris")]}
    for name, pairs in rows.items():
        (tmp_path / f"{name}.json").write_text(json.dumps([{"question": q, "answer": a} for q, a in pairs]))
    KNOWMEM.check(config, False)
    found = KNOWMEM.measure(m, context)["muse"]
    assert found["knowmem"]["value"] == 100.0 and found["knowmem"]["n"] == 2  # its own words, after the solved question
    assert found["utility"]["n"] == 1
    before = KNOWMEM.depends(context)
    (tmp_path / "forget_qa_icl.json").write_text(json.dumps([{"question": "Ben took the", "answer": "book"}]))
    assert KNOWMEM.depends(context) != before
    before = KNOWMEM.depends(context)
    (tmp_path / "my_qa_old.json").write_text("[]")  # a file that is not asked
    assert KNOWMEM.depends(context) == before
    KNOWMEM.check(config, False)
    (tmp_path / "forget_qa_icl.json").write_text('[{"question": "Q"}]')
    with pytest.raises(InputError, match="forget_qa_icl"):
        KNOWMEM.check(config, False)
