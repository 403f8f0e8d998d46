"""Checks of what a run works on, before any work: texts that show nothing, a dictionary of another text, prompts."""

import dataclasses
import re
from collections import Counter

import jax
import pytest
from support.batches import SHAPE
from support.mesh import mesh_of

from jaxunlearn.config import Adversary, Collapse, Config, Erase, LlmJudge, Lora, Select, Text, Unlearn, Whp
from jaxunlearn.data.blocks import make_blocks
from jaxunlearn.data.documents import Document
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.evals.prompts import CompletionPrompt, ProbabilityPrompt, Prompts
from jaxunlearn.evals.words import Words
from jaxunlearn.run.checks import (
    anchored,
    fit,
    overlap,
    refuse_endpoints,
    refuse_long,
    refuse_one_block,
    refuse_sizes,
    unknown,
    warning,
)


def test_terms_of_the_target_in_the_text_are_counted_and_said():
    counts = anchored(["Zara met Anna.", "Zara and Quill; Zaras."], {"Zara": ("Anna",), "Quill": ("Ben",)})
    assert counts == Counter({"Zara": 2, "Quill": 1})
    assert "3 anchored terms (Zara (2), Quill (1))" in warning(counts) and warning(Counter()) == ""


@pytest.mark.parametrize("beside", [{"retain_batch": 6}, {"adversary": Adversary(every=2, blocks=6)}])
def test_blocks_that_the_mesh_cannot_split_are_refused(beside):
    with jax.set_mesh(mesh_of((2, 2, 2))):
        refuse_sizes(Config(name="x", text=Text(context=8)), SHAPE)
        refuse_sizes(Config(name="x", text=Text(context=8), unlearn=Unlearn(adversary=Adversary(blocks=6))), SHAPE)
        with pytest.raises(InputError, match="a batch of 6 blocks does not divide over data x fsdp = 4"):
            refuse_sizes(Config(name="x", text=Text(context=8), unlearn=Unlearn(**beside)), SHAPE)


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ({"select": Select(budget=0.01, pcs=33)}, "unlearn.select.pcs = 33 is more than"),
        ({"select": Select(budget=0.01, rank=33)}, "unlearn.select"),
        ({"collapse": Collapse(norm=0.1, inputs=64)}, "unlearn.collapse.inputs = 64, and the mean, leave nothing of"),
        ({"erase": Erase(strength=1.0, rank=65)}, "unlearn.erase.rank = 65 is more than the embedding has"),
        (
            {"method": "mlp_breaking", "settings": ("components=63",)},
            "mlp_breaking: components = 63, and the mean, leave nothing",
        ),
        ({"lora": Lora(rank=65)}, "unlearn.lora"),
    ],
)
def test_ranks_above_a_matrix_are_refused_from_the_shape_alone(mesh, beside, said):
    shape = dataclasses.replace(SHAPE, V=64, D=64, F=32)
    with pytest.raises(InputError, match=re.escape(said)):
        refuse_sizes(Config(name="x", text=Text(context=8), unlearn=Unlearn(**beside)), shape)


@pytest.mark.parametrize("top", [64, 65])
def test_outcomes_that_are_the_whole_vocabulary_or_more_are_refused(mesh, top):
    shape = dataclasses.replace(SHAPE, V=64)
    refuse_sizes(Config(name="x", text=Text(context=8), whp=Whp(labels="soft", top=63)), shape)
    with pytest.raises(InputError, match=f"whp.top = {top} outcomes of a vocabulary of 64 leave no other one"):
        refuse_sizes(Config(name="x", text=Text(context=8), whp=Whp(labels="soft", top=top)), shape)


@pytest.fixture
def tokenizer(world):
    return load_tokenizer(world / "tokenizer")


def blocks(tokenizer, *texts, context=8):
    return make_blocks([Document(name=str(n), text=text) for n, text in enumerate(texts)], tokenizer, context)


def test_a_dictionary_of_another_text_is_refused_and_one_that_hardly_fits_is_said():
    text = [Document(name="a", text="Zara went to Orm . " + "and took the book . " * 100)]
    with pytest.raises(InputError, match=r"none of its 2 terms \('Harry', 'Ron', ...\) stands in the text"):
        fit({"Harry": ("Jon",), "Ron": ("Tom",)}, text)
    assert "1 of its 2 terms stand there, 1 times in 505 words (0.20%)" in fit({"Zara": ("A",), "Ron": ("T",)}, text)
    assert fit({"Zara": ("A",), "took": ("T",)}, text) == fit({}, text) == ""


def test_text_to_keep_that_holds_the_text_to_forget_is_said_with_the_share(tokenizer, world):
    forget, retain = ((world / f"{name}.txt").read_text() for name in ("forget", "retain"))
    a, b = blocks(tokenizer, forget), blocks(tokenizer, retain)
    assert overlap(a, b) == overlap(a, None) == ""
    assert "holds 100% of the text to forget" in overlap(a, a)
    words = forget.split()
    part = blocks(tokenizer, retain, " ".join(words[: len(words) // 4]))
    runs, kept = ([tuple(w[n : n + 16]) for n in range(len(w) - 15)] for w in (words, words[: len(words) // 4]))
    share = sum(run in set(kept) for run in runs) / len(runs)  # above a quarter: the text repeats itself
    assert 0.25 < share < 0.5 and f"holds {share:.0%} of the text to forget" in overlap(a, part)
    assert overlap(blocks(tokenizer, "Zara went"), blocks(tokenizer, "Zara went")) == ""  # shorter than any run


def test_text_of_another_language_is_said_with_the_share_of_unknown_tokens(tokenizer):
    said = unknown("text.forget", blocks(tokenizer, "Zara идёт to Рим with Anna"), tokenizer)
    assert "text.forget: 33% of its tokens are unknown to the tokenizer (<unk>)" in said
    assert unknown("text.forget", blocks(tokenizer, "Zara went to Orm"), tokenizer) == ""
    other = dataclasses.replace(tokenizer, unknown_id=int(tokenizer.encode("went")[0][0]))  # by whatever name
    assert "25% of its tokens are unknown to the tokenizer (went)" in unknown(
        "", blocks(other, "Zara went to Orm"), other
    )


def test_a_text_of_one_block_is_refused_where_some_are_to_be_held_out(tokenizer):
    one, two = blocks(tokenizer, "Zara went to Orm"), blocks(tokenizer, "Zara went to Orm", "Anna went to Rome")
    config = Config(name="x", text=Text(context=8))
    refuse_one_block(two, two, config)
    with pytest.raises(InputError, match=r"text\.retain fills one block of 8 tokens alone"):
        refuse_one_block(two, one, config)
    with pytest.raises(InputError, match=r"text\.forget fills one block"):
        refuse_one_block(one, None, config)
    refuse_one_block(one, one, dataclasses.replace(config, text=Text(context=8, holdout=0)))


def test_prompts_that_leave_no_room_for_words_or_completions_are_refused(tokenizer):
    words, long = Words(tokenizer, 8), "Zara went to Orm with Quill and took the"  # 9 tokens and BOS
    word = ProbabilityPrompt(prompt=long, specific=("rune",), generic=(), position="out", split="report")
    prompts = Prompts(name="x", probability=(word,))
    refuse_long(prompts, words, context=11, new_tokens=99)
    with pytest.raises(InputError, match=r"1 prompts are too long for the model's context of 10 tokens.*of 11 tokens"):
        refuse_long(prompts, words, context=10, new_tokens=0)
    completed = Prompts(
        name="x", completion=(CompletionPrompt(prompt=long, references=(), subtlety=1, split="report"),)
    )
    refuse_long(completed, words, context=14, new_tokens=4)
    with pytest.raises(InputError, match=r"eval\.new_tokens=5"):
        refuse_long(completed, words, context=14, new_tokens=5)


def test_an_endpoint_that_will_be_asked_and_cannot_be_is_refused_before_any_work(monkeypatch):
    for name in ("OPENAI_BASE_URL", "OPENAI_MODEL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    refuse_endpoints(Config(name="x"))
    with pytest.raises(InputError, match="no base_url"):
        refuse_endpoints(Config(name="x", judge=LlmJudge(use=True)))
    refuse_endpoints(Config(name="x", judge=LlmJudge(use=True, base_url="http://h/v1", model="m")))
