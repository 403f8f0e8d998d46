"""The train step: AdamW by hand, accumulation, one program, donation, rematerialisation."""

import dataclasses

import jax
import numpy as np
import pytest
from support.training import LABELS, SHAPE, TOKENS, C, batches, trained, weights

from jaxunlearn.models import transformer
from jaxunlearn.parallel.sharding import put
from jaxunlearn.training.loop import fit
from jaxunlearn.training.step import compiled_step, gradients, init_state


def test_first_update_is_adamw_by_hand(mesh):
    c = dataclasses.replace(C, weight_decay=0.1)
    start = weights(transformer.init(SHAPE, 0))
    arrays = batches(c)(0)
    _, g = jax.jit(gradients)(transformer.init(SHAPE, 0), *arrays)
    state, _ = compiled_step(c)(init_state(transformer.init(SHAPE, 0), c), np.float32(1e-2), *arrays)
    for w, grad, new in zip(start, weights(g), weights(state.model), strict=True):
        # first step: both moments, once unbiased, are the gradient and its square
        np.testing.assert_allclose(new, w - 1e-2 * (grad / (np.abs(grad) + 1e-8) + 0.1 * w), rtol=1e-3, atol=2e-4)


def test_accumulation_equals_the_whole_batch_though_microbatches_hold_unequal_counts(mesh):
    labels = LABELS.copy()
    labels[:4, 2:] = -100
    whole = gradients(transformer.init(SHAPE, 0), put(TOKENS[None, :16], "ABT"), put(labels[None, :16], "ABT"))
    parts = gradients(
        transformer.init(SHAPE, 0), put(TOKENS[:16].reshape(4, 4, 16), "ABT"), put(labels[:16].reshape(4, 4, 16), "ABT")
    )
    np.testing.assert_allclose(whole[0], parts[0], rtol=1e-6)
    for a, b in zip(weights(whole[1]), weights(parts[1]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_one_program_serves_every_schedule_and_length(mesh):
    longer = dataclasses.replace(C, steps=99, learning_rate=1e-3, schedule="cosine", warmup=3)
    assert compiled_step(C) is compiled_step(longer)
    assert compiled_step(C) is not compiled_step(dataclasses.replace(C, b2=0.9))
    step = compiled_step(C)
    trained(C)
    before = step._cache_size()
    trained(dataclasses.replace(C, steps=3))
    assert step._cache_size() == before


def test_memory_analysis_proves_the_donation(mesh):
    state = init_state(transformer.init(SHAPE, 0), C)
    compiled = compiled_step(C).lower(state, np.float32(1e-3), *batches(C)(0)).compile()
    held = sum(x.nbytes for x in jax.tree.leaves(state))
    assert compiled.memory_analysis().alias_size_in_bytes >= held


def test_nothing_compiles_again_after_the_first_step(mesh):
    c = dataclasses.replace(C, weight_decay=0.01)  # a program of its own
    step = compiled_step(c)
    fit(init_state(transformer.init(SHAPE, 0), c), step, batches(c), c)
    assert step._cache_size() == 1


@pytest.mark.parametrize("remat", ["full", "mlp", "down", "dots", "none"])
def test_rematerialisation_changes_no_gradient(mesh, remat):
    arrays = batches(C)(0)
    shape = dataclasses.replace(SHAPE, remat=remat)
    found = jax.jit(gradients)(transformer.init(shape, 0), *arrays)
    wanted = jax.jit(gradients)(transformer.init(SHAPE, 0), *arrays)
    for a, b in zip(weights(found[1]), weights(wanted[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_a_batch_without_any_label_costs_nothing_and_moves_nothing(mesh):
    nothing = np.full((1, 8, 16), -100, np.int32)
    state = init_state(transformer.init(SHAPE, 0), C)
    before = weights(state.model)
    state, metrics = compiled_step(C)(state, np.float32(1e-2), put(TOKENS[None, :8], "ABT"), put(nothing, "ABT"))
    assert float(metrics["loss"]) == 0.0
    for a, b in zip(before, weights(state.model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_state_is_donated(mesh):
    state = init_state(transformer.init(SHAPE, 0), C)
    compiled = compiled_step(C).lower(state, np.float32(0), *batches(C)(0)).compile()
    size = sum(w.nbytes for w in jax.tree.leaves(state))
    assert compiled.memory_analysis().alias_size_in_bytes > 0.95 * size
