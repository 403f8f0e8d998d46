"""The estimate: which choices keep the update, in which order they are tried, and which slice is large enough."""

import dataclasses

import pytest
from support.plans import small

from jaxunlearn.config import load_config
from jaxunlearn.models.weights import parameters
from jaxunlearn.perf import arithmetic, programs, topology


def test_what_does_not_fit_anywhere_names_the_smallest_that_would():
    config = load_config("llama2_7b", ["model=llama-2-70b", "unlearn.batch=16", "unlearn.accumulate=8"])
    c = programs.plan_shape(config)
    limit = int(0.9 * 95 * 2**30)
    assert not arithmetic.ranked(config, c, topology.parse("v5p-8"), limit)
    larger = arithmetic.smallest(config, c, topology.parse("v5p-8"), limit)
    assert larger.family == "v5p" and larger.devices > 4
    assert arithmetic.ranked(config, c, larger, limit)


def test_choices_keep_the_update():
    config = small()
    c = dataclasses.replace(programs.LLAMA2, K=8)
    found = arithmetic.choices(config, c, topology.parse("v5e-16", slices=2))
    assert {o.tensor for o in found} == {1, 2, 4, 8}  # 16 does not divide K
    assert all(o.batch * o.accumulate == 32 and o.data == 2 and o.data * o.fsdp * o.tensor == 32 for o in found)


def test_choices_are_tried_by_microbatches_then_by_what_is_computed_again_then_by_tensor():
    config, where, c = small(), topology.parse("v5e-16"), programs.LLAMA2
    found = [row["choice"] for row in arithmetic.ranked(config, c, where, 2**50)]
    assert len(found) == len(arithmetic.choices(config, c, where))
    assert [(o.accumulate, o.remat, o.tensor) for o in found if o.batch == 32] == [
        (1, remat, tensor) for remat in ("mlp", "full") for tensor in (1, 2, 4, 8, 16)
    ]
    assert [o.accumulate for o in found] == sorted(o.accumulate for o in found)
    limit = sorted(needed(config, c, o) for o in found)[len(found) // 2]
    fits = arithmetic.ranked(config, c, where, limit)
    assert [row["choice"] for row in fits] == [o for o in found if needed(config, c, o) <= limit] != found
    assert all(row["estimated_bytes"] == needed(config, c, row["choice"]) for row in fits)


def needed(config, c, choice):
    return sum(arithmetic.step_bytes(c, choice, config.unlearn, config.text.context).values())


def test_bytes_of_a_step_by_hand():
    c = dataclasses.replace(programs.LLAMA2, compute="bfloat16")
    layer, rest = parameters(c)
    t = dataclasses.replace(load_config("llama2_7b").unlearn, moment_dtype="bfloat16")
    found = arithmetic.step_bytes(c, arithmetic.Choice(1, 16, 1, 16, 8, "full"), t, 512)
    assert found["weights"] == 4 * (32 * layer + rest) // 16 == found["optimiser"]  # two moments of two bytes
    assert found["gradients"] == 3 * 4 * (32 * layer + rest) // 16 and found["activations"] == 512 * 4096 * 32 * 2
    means = dataclasses.replace(t, optimiser="adafactor")
    means = arithmetic.step_bytes(c, arithmetic.Choice(1, 16, 1, 16, 1, "full"), means, 512)
    assert means["optimiser"] == 0 and means["gradients"] == 2 * found["weights"]
    down = arithmetic.step_bytes(c, arithmetic.Choice(1, 16, 1, 16, 8, "down"), t, 512)
    assert down["activations"] == 512 * (5 * 4096 + 2 * 11008) * 32 * 2  # input, q, k, v, attention; gate and up
    layers = dataclasses.replace(t, update="layers")
    found = arithmetic.step_bytes(c, arithmetic.Choice(1, 16, 1, 16, 8, "down"), layers, 512)
    assert found["gradients"] == 4 * (layer + rest) // 16 and found["activations"] == 8 * 512 * 4096 * 32 * 2


@pytest.mark.parametrize(("accumulate", "remat", "peak"), [(1, "mlp", 62.3), (1, "down", 73.1), (8, "mlp", 70.9)])
def test_the_update_by_layers_is_estimated_up_to_a_tenth_above_what_a_card_measured(accumulate, remat, peak):
    """docs/benchmarks.md: peaks of the allocator for Llama-2-7b's shape, GiB."""
    t, c = load_config("bench_7b", ["unlearn.update=layers"]), dataclasses.replace(programs.LLAMA2, compute="bfloat16")
    found = arithmetic.step_bytes(c, arithmetic.Choice(1, 1, 1, 16, accumulate, remat), t.unlearn, 512)
    assert peak < sum(found.values()) / 2**30 < 1.1 * peak
