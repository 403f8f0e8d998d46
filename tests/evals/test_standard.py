"""What other papers measure, on a run's models: memory of blocks, benchmarks, TOFU; differences on the same items."""

import json

import jax
import numpy as np
import pytest
from support.world import sentences, write_world

from jaxunlearn.data.blocks import make_blocks
from jaxunlearn.data.documents import Document
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.evals import standard
from jaxunlearn.evals.benchmarks import read_benchmarks
from jaxunlearn.evals.differences import differences
from jaxunlearn.methods import inference
from jaxunlearn.models import transformer

SHAPE = transformer.Shape(V=32, D=16, L=2, N=2, K=2, H=8, F=16, context=256)


@pytest.fixture
def tokenizer(tmp_path):
    return load_tokenizer(write_world(tmp_path) / "tokenizer")


def sharp():
    return jax.tree.map(lambda w: 12 * w, transformer.init(SHAPE, 0))


def blocks_of(tokenizer, seed):
    text = sentences(("Zara", "Quill"), ("Orm",), ("glim", "rune"), 60, seed)
    return make_blocks([Document(name="a", text=text)], tokenizer, 32)


def test_blocks_are_spread_and_padding_left_out(tokenizer):
    blocks = blocks_of(tokenizer, 0)
    rows = np.arange(len(blocks.tokens_NT))
    texts = standard.block_texts(blocks, rows, tokenizer, 3)
    assert len(texts) == 3 and texts[0] == tokenizer.decode(blocks.tokens_NT[0])
    assert len(standard.block_texts(blocks, rows, tokenizer, 1000)) <= len(rows)


def test_memory_and_membership_of_a_run(mesh, tokenizer):
    seen, m = blocks_of(tokenizer, 0), sharp()
    rows = np.arange(len(seen.tokens_NT))
    new = standard.block_texts(blocks_of(tokenizer, 1), rows, tokenizer, 6)
    found = standard.memory(m, tokenizer, seen, rows, new, reference=sharp(), texts=6, batch=8)
    assert set(found["membership"]) == {"loss", "zlib", "reference", "gradient_norm", "min_k", "min_k++"}
    assert found["membership"]["reference"]["value"] == 0.5  # the same model: nothing to tell apart
    assert found["memorisation"]["exact"]["n"] == found["muse"]["verbmem"]["n"] == 6
    models = {"unlearned": found, "twin": dict(found)}
    standard.privleak(models)
    assert models["unlearned"]["muse"]["privleak"]["value"] == 0.0
    two = standard.memory(inference.Pair(m, sharp(), 5.0), tokenizer, seen, rows, new, texts=6, batch=8)
    assert set(two["membership"]) == {"loss", "zlib", "min_k", "min_k++"}  # no weights of its own, no gradients


def test_privleak_needs_the_twin():
    models = {"unlearned": {"min_k": [[1.0, 2.0], [3.0]]}}
    standard.privleak(models)
    assert "muse" not in models["unlearned"]


def test_benchmarks_carry_what_guessing_gives(mesh, tokenizer, tmp_path):
    rows = [{"query": "Zara went to", "choices": ["Orm", "Rome", "Paris"], "gold": n % 3} for n in range(6)]
    (tmp_path / "places.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = standard.benchmarks(sharp(), tokenizer, read_benchmarks([str(tmp_path / "places.jsonl")]), 8)
    assert found["benchmarks"]["places"]["guessing"] == pytest.approx(1 / 3)
    assert found["benchmarks"]["places"]["value"] == pytest.approx(1 / 3)  # one answer to one question asked six times
    assert sum(found["right"]["places"]) == 2


def test_tofu_in_a_folder(mesh, tokenizer, tmp_path):
    row = {
        "question": "Zara went to", "answer": "Orm with Ben", "paraphrased_answer": "Orm",
        "perturbed_answer": ["Rome", "Drall with Ben"],
    }  # fmt: skip
    with pytest.raises(InputError, match="none of TOFU"):
        standard.tofu_files(str(tmp_path))
    for name in ("forget01_perturbed", "retain_perturbed", "real_authors", "world_facts"):
        (tmp_path / f"{name}.json").write_text("\n".join([json.dumps(row)] * 3))
    found = standard.tofu(sharp(), tokenizer, str(tmp_path), 2, 8)
    assert len(found["truth_ratios"]) == 2 and found["tofu"]["utility"]["n"] == 6
    models = {"unlearned": found, "twin": {"truth_ratios": found["truth_ratios"]}}
    standard.quality(models)
    assert models["unlearned"]["tofu"]["forget quality"]["value"] == 1.0


def test_writing_by_hand():
    found = standard.writing([{"text": "a b c d a b c d e"}, {"text": " "}, {"text": "one two"}])["writing"]
    assert found["empty"]["value"] == pytest.approx(1 / 3)
    assert found["repeated"]["value"] == pytest.approx(1 - 5 / 6)  # six 4-grams, one of them twice


def test_differences_are_taken_on_the_same_items():
    models = {
        "baseline": {"items": {"a": [0.5, 0.7, 0.9], "general accuracy, right answers": [1, 1, 1, 0]}},
        "unlearned": {"items": {"a": [0.4, 0.6, 0.8], "general accuracy, right answers": [0, 0, 1, 0]}},
        "twin": {"items": {"a": [0.5]}},
    }
    found = {d["measure"]: d for d in differences(models)}
    assert set(found) == {"a", "general accuracy, right answers"}  # the twin was asked something else
    assert found["a"]["value"] == pytest.approx(-0.1) and found["a"]["high"] == pytest.approx(-0.1)
    assert found["a"]["from"] == "baseline" and "p" not in found["a"]
    accuracy = found["general accuracy, right answers"]
    assert accuracy["value"] == -0.5 and accuracy["p"] == 0.5 and "McNemar" in accuracy["test"]
    assert differences({"baseline": {}, "unlearned": {}}) == []
