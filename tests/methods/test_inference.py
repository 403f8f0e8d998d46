"""Methods at inference time: the offset by hand, two models as one, an output filter, a prefix."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.mesh import mesh_of

from jaxunlearn.config import Eval
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.evals.prompts import Prompts
from jaxunlearn.evals.suite import Suite
from jaxunlearn.methods import inference
from jaxunlearn.models import transformer
from jaxunlearn.models.generate import generate
from jaxunlearn.parallel.sharding import put

SHAPE = transformer.Shape(V=64, D=16, L=2, N=2, K=2, H=8, F=24, context=32)
DRAW = np.random.default_rng(0)


def test_whp_at_inference_time_by_hand():
    found = inference.whp_inference(jnp.array([1.0, 2.0, -1.0]), jnp.array([1.5, 0.0, -1.0]), 5.0)
    assert found.tolist() == [-1.5, 2.0, -1.0]
    assert inference.whp_inference(jnp.array([1.0, 2.0]), jnp.array([3.0, 0.0]), 0.0).tolist() == [1.0, 2.0]


def test_two_models_as_one_give_the_offset_and_the_same_text_cached_or_not(mesh):
    base, reinforced = transformer.init(SHAPE, 0), transformer.init(SHAPE, 1)
    pair = inference.Pair(base, reinforced, 5.0)
    tokens = put(DRAW.integers(1, 64, (2, 8)).astype(np.int32), "BT")
    found = pair.logits(pair(tokens))
    truth = inference.whp_inference(base.logits(base(tokens)), reinforced.logits(reinforced(tokens)), 5.0)
    np.testing.assert_allclose(found, truth, atol=1e-5)
    prompt = [1, 5, 7]
    made = generate(pair, [prompt], 4)[0]
    for _ in range(4):
        row = put(np.array([prompt], np.int32), "BT")
        prompt = [*prompt, int(jnp.argmax(pair.logits(pair(row))[0, -1]))]
    assert made == prompt[3:]


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 2)])
def test_an_output_filter_bars_tokens_and_nothing_else(sizes, tmp_path):
    with jax.set_mesh(mesh_of(sizes)):
        base = transformer.init(SHAPE, 0)
        free = generate(base, [[1, 5, 7]], 6)[0]
        inference.save_filter(tmp_path, free, "hash")
        behind = inference.load(tmp_path, lambda folder: base)
        tokens = put(DRAW.integers(1, 64, (8, 8)).astype(np.int32), "BT")
        logits, hidden = np.asarray(base.logits(base(tokens))), np.asarray(base(tokens))
        found = np.asarray(behind.logits(behind(tokens)))
        np.testing.assert_array_equal(behind(tokens), hidden)  # what lies under the filter is all there
        np.testing.assert_allclose(found[..., free], logits[..., free] - inference.BARRED, rtol=1e-6)
        others = np.setdiff1d(np.arange(64), free)
        np.testing.assert_array_equal(found[..., others], logits[..., others])
        assert not set(generate(behind, [[1, 5, 7]], 6)[0]) & set(free)


def test_a_prefix_stands_before_every_prompt(world):

    suite = Suite(load_tokenizer(world / "tokenizer"), Prompts(name="none"), {}, Eval())
    behind = dataclasses.replace(suite, prefix="Anna went to ")
    assert behind.words.context("Zara took") == suite.words.context("Anna went to Zara took")


def test_a_folder_of_no_known_method_is_refused(tmp_path):
    inference.save(tmp_path / "m", {"method": "later", "baseline": "../b", "unheard": 1})
    with pytest.raises(InputError, match=r"method.json describes no method that is known: it has .*'unheard'"):
        inference.load(tmp_path / "m", lambda folder: None)
    inference.save(tmp_path / "p", {"method": "prompting", "baseline": "../b", "prefix": "Anna"})
    assert inference.load(tmp_path / "p", lambda folder: folder.name) == "b"
