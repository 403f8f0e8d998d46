"""Memory of blocks, and membership attacks between blocks that were trained on and new ones."""

import jax
import numpy as np
import pytest
from support.world import sentences, write_world

from jaxunlearn.config import Config, Eval, Text
from jaxunlearn.data.blocks import make_blocks
from jaxunlearn.data.documents import Document
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.evals.base import Context
from jaxunlearn.evals.members import MEMBERS, block_texts, check, privleak
from jaxunlearn.evals.prompts import Prompts
from jaxunlearn.evals.suite import Suite
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
    texts = block_texts(blocks, rows, tokenizer, 3)
    assert len(texts) == 3 and texts[0] == tokenizer.decode(blocks.tokens_NT[0])
    assert len(block_texts(blocks, rows, tokenizer, 1000)) <= len(rows)


def test_memory_and_membership_of_a_run(mesh, tokenizer):
    seen, new, m = blocks_of(tokenizer, 0), blocks_of(tokenizer, 1), sharp()
    rows = np.arange(len(seen.tokens_NT))
    suite = Suite(tokenizer, Prompts(name="none"), {}, Eval(members=6, batch=8))
    context = Context(suite=suite, seen=(seen, rows), new=(new, rows), twin=sharp)
    assert MEMBERS.applies(context) and not MEMBERS.applies(Context(suite=suite))
    found = MEMBERS.measure(m, context)
    assert set(found["membership"]) == {"loss", "zlib", "reference", "gradient_norm", "min_k", "min_k++"}
    assert found["membership"]["reference"]["value"] == 0.5  # the same model: nothing to tell apart
    assert found["memorisation"]["exact"]["n"] == found["muse"]["verbmem"]["n"] == 6
    models = {"unlearned": found, "twin": dict(found)}
    privleak(models)
    assert models["unlearned"]["muse"]["privleak"]["value"] == 0.0
    context = Context(suite=suite, seen=(seen, rows), new=(new, rows), weights=False)
    two = MEMBERS.measure(inference.Pair(m, sharp(), 5.0), context)
    assert set(two["membership"]) == {"loss", "zlib", "min_k", "min_k++"}  # no weights of its own, no gradients


def test_privleak_needs_the_twin():
    models = {"unlearned": {"min_k": [[1.0, 2.0], [3.0]]}}
    privleak(models)
    assert "muse" not in models["unlearned"]


def test_members_without_held_out_text_are_refused():
    config = Config(name="any", text=Text(holdout=0), eval=Eval(members=4))
    with pytest.raises(InputError, match="held out"):
        check(config, held_out=False)
    check(config, held_out=True)
    check(Config(name="any", text=Text(holdout=0)), held_out=False)
