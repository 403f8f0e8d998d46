"""Methods in a run: their losses over microbatches, the contrast, reset, inference time, what is refused, a sweep."""

import contextlib
import dataclasses
import json
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.command import env
from support.mesh import mesh_of

from jaxunlearn.cli import main
from jaxunlearn.config import (
    Config,
    Eval,
    Lora,
    Pretrain,
    Reset,
    Run,
    Sweep,
    Text,
    Train,
    Unlearn,
    Whp,
    load_config,
    override,
)
from jaxunlearn.data.blocks import batch_indices
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.evals.prompts import Prompts
from jaxunlearn.evals.suite import Suite
from jaxunlearn.kernels.linear_distillation import linear_logsumexp
from jaxunlearn.methods import METHODS, check_config, cost, inference, label_rules, reset, resolved, step
from jaxunlearn.methods.base import Recipe, sequence_logp
from jaxunlearn.models import lora, transformer
from jaxunlearn.models.generate import generate
from jaxunlearn.parallel.sharding import put
from jaxunlearn.run import Run as CellRun
from jaxunlearn.run import open_run
from jaxunlearn.run.directory import RunDirectory
from jaxunlearn.run.variants import variants
from jaxunlearn.stages import heal as healing
from jaxunlearn.stages import sweep
from jaxunlearn.stages.batches import all_logp
from jaxunlearn.training.step import compiled_step, gradients, init_state
from jaxunlearn.whp.argmax import generic_argmax
from jaxunlearn.whp.labels import LETTERS, Passage, label, on_mesh
from jaxunlearn.whp.soft import soft_label_loss

SHAPE = transformer.Shape(V=64, D=16, L=2, N=2, K=2, H=8, F=24, context=32)
DRAW = np.random.default_rng(0)


def texts(A, B, T=12, unlabelled=0.5, seed=0):
    """Return (tokens_ABT, labels_ABT) whose counts differ from microbatch to microbatch."""
    draw = np.random.default_rng(seed)
    tokens = draw.integers(0, 64, (A, B, T)).astype(np.int32)
    labels = np.where(draw.random((A, B, T)) < unlabelled, -100, draw.integers(0, 64, (A, B, T))).astype(np.int32)
    labels[0] = np.where(draw.random((B, T)) < 0.9, -100, labels[0])
    return tokens, labels


def placed(pair):
    return tuple(put(a, "ABT") for a in pair)


def joined(pair):
    """Return the same blocks as one microbatch."""
    return tuple(a.reshape(1, -1, a.shape[-1]) for a in pair)


RECIPES = [
    Recipe(METHODS["gradient_difference"], (("retain_weight", 0.5),)),
    Recipe(METHODS["kl_retain"], (("retain_weight", 2.0),), "kl"),
    Recipe(METHODS["simnpo"], (("beta", 2.5), ("gamma", 0.1), ("retain_weight", 0.3))),
    Recipe(METHODS["rmu"], (("layer", 1), ("retain_weight", 3.0), ("steering", 2.0))),
    Recipe(METHODS["undial"], (("strength", 3.0),)),
    Recipe(METHODS["retain_only"], (), "kl"),
]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.method.name)
def test_microbatches_of_uneven_counts_are_one_batch(mesh, recipe):
    part, baseline = transformer.init(SHAPE, 0), transformer.init(SHAPE, 1)
    forget, kept = texts(2, 4), texts(2, 4, seed=1)

    def run(pairs):
        batch = {"forget": placed(pairs[0]), "retain": placed(pairs[1])}
        return jax.jit(step.gradients, static_argnums=3)(part, {"baseline": baseline}, batch, recipe)

    (two, g_two, m_two), (one, g_one, m_one) = run((forget, kept)), run((joined(forget), joined(kept)))
    assert float(two) == pytest.approx(float(one), rel=1e-5) and np.isfinite(float(one))
    assert {k: float(v) for k, v in m_two.items()} == pytest.approx({k: float(v) for k, v in m_one.items()}, rel=1e-5)
    for a, b in zip(jax.tree.leaves(g_two), jax.tree.leaves(g_one), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
    assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(g_one)) > 0


def test_a_run_of_npo_uses_the_stored_reference(mesh):
    part = transformer.init(SHAPE, 0)
    tokens, labels = texts(1, 4)
    logp = all_logp(part, tokens[0], labels[0], 2)
    truth = np.asarray(jax.jit(sequence_logp)(part, put(tokens[0], "BT"), put(labels[0], "BT")))
    np.testing.assert_allclose(logp, truth, rtol=1e-5)
    batch = {"forget": placed((tokens, labels)), "reference": {"forget": put(logp[None], "AB")}}
    recipe = Recipe(METHODS["npo"], (("beta", 0.1),))
    value, g, _ = step.gradients(part, {}, batch, recipe)
    assert float(value) == pytest.approx(2 / 0.1 * np.log(2), rel=1e-5)  # equal to the reference
    _, g_ascent, _ = step.gradients(part, {}, batch, Recipe(METHODS["gradient_ascent"], ()))
    scale = (labels != -100).sum() / 4  # a token against a sequence
    np.testing.assert_allclose(g.embed_VD[...], np.asarray(g_ascent.embed_VD[...]) * scale, atol=1e-4)


def test_rmu_moves_three_down_projections_and_nothing_else(mesh):
    c = Train(steps=1, learning_rate=1e-2, batch=4, weight_decay=0.1)
    deep = dataclasses.replace(SHAPE, L=4)
    before, baseline = transformer.init(deep, 0), transformer.init(deep, 0)
    state = init_state(transformer.init(deep, 0), c)
    batch = {"forget": placed(texts(1, 4)), "retain": placed(texts(1, 4, seed=1))}
    recipe = Recipe(METHODS["rmu"], (("layer", 2), ("retain_weight", 1.0), ("steering", 5.0)))
    after, metrics = compiled_step(c, step.step, recipe=recipe)(state, np.float32(0.01), {"baseline": baseline}, batch)
    assert set(metrics) == {"loss", "gradient_norm", "forget", "retain"}
    changed = {
        jax.tree_util.keystr(path): np.asarray(a != b)
        for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after.model), strict=True)
    }
    moved = {name: c for name, c in changed.items() if c.any()}
    assert len(moved) == 1 and "down_FD" in next(iter(moved))
    assert next(iter(moved.values())).any((1, 2)).tolist() == [True, True, True, False]


@pytest.mark.parametrize("name", sorted(n for n, m in METHODS.items() if m.trains and not m.resolve))
def test_every_method_steps_through_adapters_with_any_optimiser_and_a_term_to_keep(mesh, name):
    c = Train(steps=1, learning_rate=1e-2, batch=4, optimiser="adafactor", lora=Lora(rank=2))
    base, adapter = transformer.init(SHAPE, 0), lora.init(SHAPE, c.lora, 0)
    names = ("forget", "retain", "answers", "true", "labels")
    parts = {k: placed([a[1:] for a in texts(2, 4, seed=n)]) for n, k in enumerate(names)}
    before = np.full((1, 4), -20.0, np.float32)
    batch = parts | {"reference": {k: put(before, "AB") for k in ("forget", "answers", "true")}}
    if name in ("whp_soft", "whp_averaged"):
        tokens, every = texts(1, 4)[0], np.tile(np.arange(12, dtype=np.int32), (1, 4, 1))
        arrays = tokens, tokens, every, np.ones((1, 4, 12), bool), *np.full((2, 1, 4, 1), -1, np.int32)
        passage = Passage(*(put(a, f"A{n}") for a, n in zip(arrays, LETTERS, strict=True)))
        batch["passages"] = (passage, passage)
    more = {"rmu": {"layer": 1}, "whp_averaged": {"alpha": 2.0}}.get(name, {})
    more |= {"retain_weight": 0.5} if name != "retain_only" else {}
    recipe = Recipe(METHODS[name], tuple(sorted((METHODS[name].defaults | more).items())))
    frozen = {"base": base, "baseline": base, "reinforced": transformer.init(SHAPE, 1), "gap": np.float32(0.1)}
    after, metrics = compiled_step(c, step.step, recipe=recipe)(init_state(adapter, c), np.float32(0.01), frozen, batch)
    assert all(np.isfinite(float(v)) for v in metrics.values()) and float(metrics["gradient_norm"]) > 0
    moved = {n for n in lora.WEIGHTS if np.asarray(getattr(after.model.blocks, lora.thin(n)[1])[...]).any()}
    assert moved == ({"down_FD"} if name == "rmu" else set(lora.WEIGHTS))  # the second factors begin at 0
    if name != "retain_only":
        assert "retain" in metrics


def walks(first: int, step: int):
    """Return sixteen texts that begin with `first` and count on by `step` from anywhere, as (tokens, labels)."""
    tokens = (np.random.default_rng(first).integers(0, 64, (1, 16, 1)) + step * np.arange(12)) % 64
    rows = np.concatenate([np.full((1, 16, 1), first), tokens], -1).astype(np.int32)
    return rows[..., :-1], rows[..., 1:]


def test_gradient_ascent_collapses_where_descent_on_text_to_keep_holds(mesh):
    """It ends far below a uniform guess on every text: that it "forgets" the one says nothing of it."""
    forget, kept, c = walks(7, 1), walks(8, 3), Train(steps=1, learning_rate=1e-2, batch=16)
    both = placed([np.concatenate(pair, 1) for pair in zip(forget, kept, strict=True)])
    batch = {"forget": placed(forget), "retain": placed(kept)}
    state = init_state(transformer.init(SHAPE, 0), c)
    for _ in range(150):
        state, _ = compiled_step(c)(state, np.float32(1e-2), *both)
    loss = jax.jit(lambda m, pair: gradients(m, *pair)[0])
    assert float(loss(state.model, both)) < 0.5  # of which a twelfth of log 64 is where a text starts

    def after(name):
        settings = tuple(METHODS[name].defaults.items())
        update = compiled_step(c, step.step, recipe=Recipe(METHODS[name], settings))
        now = init_state(jax.tree.map(jnp.array, state.model), c)  # the step donates what it is given
        for _ in range(120):
            now, _ = update(now, np.float32(1e-3), {}, batch)
        return [float(loss(now.model, batch[text])) for text in ("forget", "retain")]

    (gone, broken), (forgotten, held) = after("gradient_ascent"), after("gradient_difference")
    assert min(gone, broken) > 2 * np.log(64) and forgotten > np.log(64) and held < 1


# ---- the contrast


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 2)])
def test_contrast_labels_equal_fp64_on_every_split(sizes):
    B, T, D, V = 8, 5, 16, 96
    h = [DRAW.normal(size=(B, T, D)).astype(np.float32) for _ in range(3)]
    w = [DRAW.normal(size=(D, V)).astype(np.float32) for _ in range(3)]
    v = [a.astype(np.float64) @ b for a, b in zip(h, w, strict=True)]
    logp = [x - np.log(np.exp(x).sum(-1, keepdims=True)) for x in v]
    truth = {a: np.argmax(v[0] - a * np.maximum(logp[1] - logp[2], 0), -1) for a in (0.0, 5.0)}
    with jax.set_mesh(mesh_of(sizes)):
        h, w = [put(a, "BTD") for a in h], [put(a, "DV") for a in w]

        @jax.jit
        def run(h, w):
            z = [linear_logsumexp(a, b, rows=7) for a, b in zip(h[1:], w[1:], strict=True)]
            more = {"offset_BTD": h[2], "offset_DV": w[2], "shift_BT": z[1] - z[0]}
            return generic_argmax(h[0], h[1], w[0], w[1], (0.0, 5.0), chunk=40, **more), z

        found, z = run(h, w)
    np.testing.assert_allclose(z[0], np.log(np.exp(v[1]).sum(-1)), rtol=1e-5)
    for n, a in enumerate((0.0, 5.0)):
        np.testing.assert_array_equal(found[n], truth[a])
    assert (truth[0.0] != truth[5.0]).any()


def test_soft_labels_against_the_contrast_equal_fp64(mesh):
    h = [DRAW.normal(size=(1, 3, 16)).astype(np.float32) for _ in range(4)]
    w = [DRAW.normal(size=(16, 40)).astype(np.float32) for _ in range(4)]
    v = [a.astype(np.float64) @ b for a, b in zip(h, w, strict=True)]
    logp = [x - np.log(np.exp(x).sum(-1, keepdims=True)) for x in v]
    wanted = v[1] - 5.0 * np.maximum(logp[2] - logp[3], 0)
    logq = wanted - np.log(np.exp(wanted).sum(-1, keepdims=True))
    truth = (np.exp(logq) * (logq - logp[0])).sum()
    student, base, reinforced, diluted = [(put(a, "BTD"), put(b, "DV")) for a, b in zip(h, w, strict=True)]
    mask = put(np.ones((1, 3), bool), "BT")
    total, count = soft_label_loss(*student, base, reinforced, mask, 5.0, diluted=diluted)
    assert float(total) == pytest.approx(truth, rel=1e-5) and float(count) == 3


# ---- reset


def test_the_share_asked_for_is_drawn_anew_and_nothing_else(mesh):
    m = transformer.init(SHAPE, 0)
    scores = reset.random_scores(m, 3)
    before = [np.asarray(w) for w in jax.tree.leaves(m)]
    chosen = [np.asarray(s) for s in jax.tree.leaves(scores)]
    least = reset.threshold(scores, 0.2)
    made, share, ends = reset.redraw(m, scores, least, transformer.init(SHAPE, 9))
    drawn = sum((s >= float(least)).sum() for s in chosen)
    outside = sum((s >= float(least)).sum() for s in chosen if s.shape in ((64, 16), (16, 64), (16,)))
    assert float(share) == pytest.approx(0.2, abs=0.002)
    assert float(ends) == pytest.approx(outside / drawn) and 0.2 < float(ends) < 0.4
    for b, a, s in zip(before, jax.tree.leaves(made), chosen, strict=True):
        assert (np.asarray(a) == b)[s < float(least)].all()
    made, share, _ = reset.redraw(
        transformer.init(SHAPE, 0), scores, reset.threshold(scores, 1.0), transformer.init(SHAPE, 9)
    )
    assert float(share) == 1.0  # a fresh model
    for a, f in zip(jax.tree.leaves(made), jax.tree.leaves(transformer.init(SHAPE, 9)), strict=True):
        assert (np.asarray(a) == np.asarray(f)).all()
    assert reset.confined(scores, "all") is scores
    for where, share_outside in (("interior", 0.0), ("ends", 1.0)):
        some = reset.confined(scores, where)
        made, share, ends = reset.redraw(
            transformer.init(SHAPE, 0), some, reset.threshold(some, 0.2), transformer.init(SHAPE, 9)
        )
        assert float(ends) == share_outside and 0 < float(share) < 0.2
        same = (np.asarray(made.embed_VD[...]) == before[[w.shape for w in before].index((64, 16))]).all()
        assert same == (where == "interior")


def test_noise_shrinks_every_weight_and_blurs_the_matrices(mesh):
    def named(m):
        return {path[-2].name: np.asarray(w) for path, w in jax.tree.leaves_with_path(m)}

    before = named(transformer.init(SHAPE, 0))
    after = named(reset.noised(transformer.init(SHAPE, 0), 0.4, jax.random.key(1)))
    for name in ("norm_D", "mlp_norm_D", "attention_norm_D"):
        np.testing.assert_allclose(after[name], 0.6, rtol=1e-6)
    for name, fans in (("q_DNH", 16 + 16), ("down_FD", 24 + 16), ("embed_VD", 64 + 16)):
        noise = (after[name] - 0.6 * before[name]) / (0.4 * 0.1)
        bound = (6 / fans) ** 0.5
        assert 0.9 * bound < np.abs(noise).max() <= bound * 1.0001 and abs(noise.mean()) < bound / 4, name
    of_layers = after["q_DNH"] - 0.6 * before["q_DNH"]
    assert np.abs(of_layers[0] - of_layers[1]).min() > 1e-8  # layers get noise of their own
    inner = named(reset.noised(transformer.init(SHAPE, 0), 0.4, jax.random.key(1), "interior"))
    assert (inner["embed_VD"] == before["embed_VD"]).all() and (inner["q_DNH"] == after["q_DNH"]).all()


def test_noise_needs_neither_scores_nor_a_fresh_model(mesh):
    config = dataclasses.replace(BASE, reset=Reset(share=0.4, by="noise", where="ends"))
    made, *shares = healing.redrawn(types.SimpleNamespace(config=config), transformer.init(SHAPE, 0))
    before = transformer.init(SHAPE, 0)
    assert shares == [None, None]
    assert (np.asarray(made.embed_VD[...]) != np.asarray(before.embed_VD[...])).all()
    assert (np.asarray(made.blocks.q_DNH[...]) == np.asarray(before.blocks.q_DNH[...])).all()


def test_scores_by_hand(mesh):
    one = {"w": jnp.array([1.0, 1.0, 1.0])}
    reinforced, target, general = ({"w": jnp.array(v)} for v in ([1.5, 1.5, 1.0], [4.0, 4.0, 4.0], [1.0, 0.0, 1.0]))
    found = reset.importance(one, reinforced, target, general)["w"]
    np.testing.assert_allclose(found, [0.5 * 2 / 1.0001, 0.5 * 2 / 1e-4, 0], rtol=1e-5)
    np.testing.assert_allclose(reset.fisher(target, general)["w"], [2 / 1.0001, 2e4, 2 / 1.0001], rtol=1e-5)


def test_squared_gradients_are_sums_over_batches(mesh):
    m = transformer.init(SHAPE, 0)
    tokens, labels = (a.reshape(-1, 12) for a in texts(2, 8))
    two = reset.squared_gradients(m, tokens, labels, 2, seed=0)

    total = 0.0
    for n in range(2):
        rows = batch_indices(16, 8, 0, n)
        _, g = gradients(m, put(tokens[rows][None], "ABT"), put(labels[rows][None], "ABT"))
        total = total + np.asarray(g.blocks.down_FD[...]) ** 2
    np.testing.assert_allclose(two.blocks.down_FD[...], total, rtol=1e-3, atol=1e-10)


# ---- inference time


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


# ---- a forbidden list


def test_no_label_begins_a_forbidden_term(mesh, world, tmp_path):
    terms = {}

    def labels(forbid):
        config = load_config(str(world / "world.py"), [f"whp.forbid={forbid}", f"run.dir={tmp_path / forbid}"])
        run = open_run(config)
        x = run.inputs
        terms.update({x.tokenizer.encode(term)[0][0]: term for term in x.dictionary})
        models = [jax.tree.map(lambda w: 20 * w, transformer.init(x.shape, seed)) for seed in (0, 1)]
        passage = on_mesh(run.passage(variants(config)[0]), np.arange(16))
        return np.asarray(label(*models, passage, alphas=(1.0,), whp=label_rules(config)))[0]

    plain, forbidden = labels("none"), labels("keys")
    assert np.isin(plain, list(terms)).any() and not np.isin(forbidden, list(terms)).any()
    assert ((plain == -100) == (forbidden == -100)).all() and len(terms) == 8


# ---- what is refused


BASE = Config(name="x", model="m", text=Text(forget=("a",), retain=("b",), dictionary="d"), unlearn=Unlearn(steps=1))


def refused(said, layers=4, **parts):
    with pytest.raises(InputError, match=said):
        check_config(dataclasses.replace(BASE, **parts), layers)


def test_bad_methods_are_refused_before_anything_is_loaded():
    bare = Text(forget=("a",), dictionary="d")
    nothing_held = dataclasses.replace(BASE.text, holdout=0.0)
    refused("did you mean 'npo'", unlearn=Unlearn(method="nppo"))
    refused("beta must be above 0", unlearn=Unlearn(method="npo", beta=0.0))
    refused("it needs 'retain'", unlearn=Unlearn(method="gradient_difference"), text=bare)
    refused("it needs 'retain'", unlearn=Unlearn(method="npo", retain_weight=1.0), text=bare)
    refused("it needs 'answers'", unlearn=Unlearn(method="idk"))
    refused("it needs 'reinforced'", unlearn=Unlearn(method="task_vector"), reinforce=Train(steps=0))
    refused("layer must lie between 0 and 3", unlearn=Unlearn(method="rmu"))
    refused("'beta' is no setting of it", unlearn=Unlearn(method="undial", beta=0.1))
    refused("whp.offset=contrast needs text to keep", whp=Whp(offset="contrast"), text=bare)
    refused("reset.share needs text to keep", reset=Reset(share=0.1), text=bare)
    refused("reset.share is a share", reset=Reset(share=1.1))
    bare_reset = {"reset": Reset(share=0.1), "unlearn": Unlearn(method="npo")}
    refused("reset.by=importance needs the reinforced", reinforce=Train(steps=0), **bare_reset)
    refused("kga needs text that no step trains on", unlearn=Unlearn(method="kga"), text=nothing_held)
    refused("would have the baseline teach the target again", reset=Reset(share=0.1, on="all"))
    heal = Reset(share=0.5, on="all", teacher="unlearned")
    refused("would have the baseline teach the target again", reset=heal, unlearn=Unlearn(method="reset_heal"))
    check_config(dataclasses.replace(BASE, reset=heal))
    refused("noise at share 1 leaves no norm", reset=Reset(share=1.0, by="noise"))
    refused("not for reset.by=noise", reset=Reset(share=0.5, by="noise"), controls=("random_reset",))
    refused("unlearn.reach is a familiarity: set text.prompts", unlearn=Unlearn(reach=0.1))
    refused("whp.forbid=keys is for generic labels", whp=Whp(forbid="keys"), unlearn=Unlearn(method="npo"))
    refused("set it, 0.1 to 0.2", unlearn=Unlearn(method="reset_heal"))
    refused("nothing to compare with", controls=("random_reset",))
    refused("unknown controls \\['nothing'\\]: expected some of", controls=("nothing",))
    refused("offset_context=original is for hard labels", whp=Whp(labels="soft", offset_context="original"))
    for name in METHODS:
        c = Unlearn(method=name, layer=1 if name == "rmu" else None, subject="x" if name == "prompting" else "")
        text = dataclasses.replace(BASE.text, answers="q")
        share = 0.1 if name == "reset_heal" else 0.0
        check_config(dataclasses.replace(BASE, unlearn=c, text=text, reset=Reset(share=share)), 4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["unlearn.method=gradient_difference", "text.retain="], "it needs 'retain', text to keep: set text.retain"),
        (["unlearn.method=npo", "unlearn.beta=0"], "beta must be above 0 (got 0.0): the loss divides by beta"),
        (["unlearn.method=rmu", "unlearn.layer=2"], "layer must lie between 0 and 1 (got 2): the model has 2 layers"),
        (["unlearn.method=dpo", "text.answers="], "it needs 'answers'"),
        (["unlearn.method=npo", "pretrain.steps=0"], "no baseline: give model=DIR"),
        (["reset.share=0.1", "reset.heal.lora.rank=2"], "reset.heal.lora: healing trains every weight"),
        (["sweep.tuning_seeds=2"], "sweep.tuning_seeds lies between 0 and the 1 of sweep.seeds"),
        (["sweep.rtt=True"], "sweep.rtt needs attack.rtt.rates"),
        (["eval.relearn_rates=1e-3,1"], "attack.rtt.rates and eval.relearn_rates must lie between 0 and 1"),
        (["unlearn.moment_memory=host", "unlearn.optimiser=adafactor"], "moment_memory=host is for AdamW's"),
        (["reset.share=0.1", "reset.heal.batch=0"], "reset.heal: steps must be >= 0; batch"),
        (
            ["reset.share=0.2", "unlearn.learning_rate=1e-6", "reinforce.learning_rate=3e-6"],
            "reset.heal.learning_rate (0.003) is over 100 times",
        ),
    ],
)
def test_the_command_refuses_bad_methods_before_anything_is_loaded(world, tmp_path, capsys, changes, said):
    assert main(["run", str(world / "world.py"), f"run.dir={tmp_path}/run", *changes]) == 2
    assert said in capsys.readouterr().err and not list((tmp_path / "run").glob("[!c]*"))


def test_the_preset_stands_for_its_settings_and_takes_what_is_given():
    def preset(config, overrides):
        return resolved(override(config, overrides))

    made = preset(BASE, ["unlearn.method=whp_plus"])
    assert (made.unlearn.method, made.whp.labels, made.whp.offset, made.reset.share) == ("whp", "soft", "contrast", 0)
    assert made.unlearn.retain_weight is None and preset(made, []) == made
    later = preset(made, ["reset.share=0.1", "unlearn.retain_weight=3"])  # a configuration built on another
    assert later.reset.teacher == "unlearned" and later.unlearn.retain_loss == "kl"
    other = preset(BASE, ["unlearn.method=whp_plus", "reset.share=0.1", "unlearn.retain_weight=3"])
    assert (other.reset.share, other.reset.teacher, other.unlearn.retain_weight) == (0.1, "unlearned", 3.0)
    assert other.unlearn.retain_loss == "kl"
    given = preset(BASE, ["unlearn.method=whp_plus", "unlearn.retain_weight=3", "unlearn.retain_loss=nll"])
    assert given.unlearn.retain_loss == "nll"
    assert preset(BASE, ["unlearn.method=npo"]).whp == BASE.whp


@pytest.mark.parametrize(("teacher", "folder"), [("baseline", "baseline"), ("unlearned", "before")])
def test_healing_distils_the_teacher_asked_for(mesh, tmp_path, monkeypatch, teacher, folder):
    made = {name: transformer.init(SHAPE, seed) for seed, name in enumerate(("baseline", "before"))}
    monkeypatch.setattr(healing, "load_model", lambda config, path, frozen=False: made[path.name])
    monkeypatch.setattr(healing, "redrawn", lambda run, start: (start, 0.1, 0.0))
    monkeypatch.setattr(healing, "save_model", lambda *a: None)
    asked = []
    monkeypatch.setattr(healing, "fit_stage", lambda run, stage, start, c, feed, **_: asked.append(feed))
    tokens = np.zeros((8, 16), np.int32)

    class Stub:
        folder = types.SimpleNamespace(stage=lambda *a: contextlib.nullcontext())

        def __init__(self, config, marked=0):
            self.config, self.marked = config, marked

        def training(self, name):
            return tokens + (name == "forget") * self.marked, tokens

        def __truediv__(self, name):
            return tmp_path / name

    config = dataclasses.replace(BASE, reset=Reset(share=0.1, teacher=teacher))
    seen = types.SimpleNamespace(folder="unlearned", stage="unlearn")
    healing.reset_and_heal(Stub(config), seen, "before")
    assert asked[0].batch(0)[0]["baseline"] is made[folder]
    if teacher == "unlearned":
        config = dataclasses.replace(config, reset=dataclasses.replace(config.reset, on="all"))
        healing.reset_and_heal(Stub(config, marked=1), seen, "before")
        used = np.concatenate([np.asarray(asked[1].batch(n)[1]["retain"][0]).ravel() for n in range(4)])
        assert 0.2 < used.mean() < 0.8  # half of the blocks are of the text to forget


# ---- cost


def test_cost_by_hand():
    made = dataclasses.replace(
        BASE,
        pretrain=Pretrain(steps=100, batch=8),  # 2,400 passes
        reinforce=Train(steps=10, batch=8),  # 240
        unlearn=Unlearn(steps=5, batch=8, accumulate=2),  # 80 places
    )

    def passes(method, **more):
        return cost.method_passes(
            dataclasses.replace(made, unlearn=dataclasses.replace(made.unlearn, **method), **more), 7
        )

    assert passes({"method": "whp"}) == 240 + 7 * 2 + 80 * 3
    assert passes({"method": "gradient_difference"}) == 80 * 6
    assert passes({"method": "npo", "retain_weight": 1.0, "retain_loss": "kl"}) == 7 + 80 * 7
    assert passes({"method": "whp_soft"}, whp=Whp(offset="contrast")) == 480 + 80 * (3 + 3)
    assert passes({"method": "retain_only"}) == 80 * 3
    heal = Train(steps=20, batch=8)
    assert passes({"method": "reset_heal"}, reset=Reset(share=0.1, batches=2, heal=heal)) == 240 + 96 + 20 * 8 * 4
    assert passes({"method": "reset_heal"}, reset=Reset(share=1, heal=heal)) == 20 * 8 * 4
    assert cost.share(dataclasses.replace(made, unlearn=made.unlearn), 7) == pytest.approx(494 / 2400)


# ---- sweeps


def test_other_seeds_run_the_chosen_setting_alone(tmp_path, monkeypatch):
    ran = []

    def run(cell, base):
        ran.append((base, cell.name))
        perplexity = 2.0 if cell.config.unlearn.learning_rate == 1e-3 else 3.0
        return {"tuning": {"familiarity": 0.01, "perplexity_retain": perplexity}}

    monkeypatch.setattr(sweep, "_base", lambda config, seed, folder: seed)
    monkeypatch.setattr(sweep, "_base_figures", lambda base: {})
    monkeypatch.setattr(sweep, "_run", run)
    monkeypatch.setattr(sweep, "write_sweep", lambda folder, found: None)
    monkeypatch.setattr(sweep, "announce", lambda folder, found: None)
    made = load_config("universe")
    c = Sweep(methods=("whp", "whp_inference"), rates=(1e-4, 1e-3), seeds=(3, 4), tuning_seeds=1)
    sweep.sweep(dataclasses.replace(made, sweep=c, run=Run(dir=str(tmp_path))))
    first = [(3, "whp_rate=0.0001"), (3, "whp_rate=0.001"), (3, "whp_inference")]
    assert ran == [*first, (4, "whp_rate=0.001"), (4, "whp_inference")]


def test_a_cell_with_a_reset_starts_from_its_plain_neighbour(tmp_path):
    plain, name = tmp_path / "npo_rate=0.001", "npo_reset.share=0.1_reset.heal.learning_rate=1e-3_rate=0.001"
    config = dataclasses.replace(BASE, reset=Reset(share=0.1), run=Run(dir=str(tmp_path / name)))
    cell = CellRun(config, RunDirectory(config), None)
    sweep._share_unlearned(cell)
    assert not (cell / "unlearned_before_reset").exists()  # there is none yet
    for folder in ("unlearned", "evals"):
        (plain / folder).mkdir(parents=True)
    rows = [{"stage": "unlearn", "event": "seconds", "seconds": s} for s in (2.0, 3.0)]
    (plain / "metrics.jsonl").write_text("\n".join(map(json.dumps, [{"stage": "unlearn", "step": 1}, *rows])))
    sweep._share_unlearned(cell)
    assert not (cell / "unlearned_before_reset").exists()  # not finished
    (plain / "evals" / "unlearned.json").write_text("{}")
    for _ in range(2):
        sweep._share_unlearned(cell)
    assert (cell / "unlearned_before_reset").resolve() == plain / "unlearned" and cell.folder.seconds() == {
        "unlearn": 5.0
    }


def test_a_sweep_relearns_every_method_at_the_same_rates(world, capsys):
    command = ["sweep", str(world / "world.py"), f"run.dir={world / 'unequal'}", "eval.relearn_rates="]
    assert main(command) == 2
    assert "a sweep that relearns needs eval.relearn_rates" in capsys.readouterr().err
    assert not (world / "unequal").exists()


SWEEP = (
    "npo,whp_soft whp.top=4 whp.offset=contrast reset.share=0.1 reset.heal.steps=4,whp_inference,"
    "prompting unlearn.subject=Zara"
)


def test_a_sweep_runs_every_cell_once_and_goes_on_where_it_was(world, capsys):
    command = [
        sys.executable, "-m", "jaxunlearn", "sweep", str(world / "world.py"), f"run.dir={world / 'sweep'}",
        f"sweep.methods={SWEEP}", "unlearn.steps=4", "pretrain.twin=False", "sweep.reach=0.5",
        "sweep.rtt=True", "attack.rtt.rates=1e-2", "attack.rtt.epochs=1", "attack.rtt.pairings=1",
    ]  # fmt: skip
    first = subprocess.run(command, capture_output=True, text=True, env=env())
    assert first.returncode == 0, first.stderr
    found = json.loads((world / "sweep" / "sweep.json").read_text())
    assert [r["cell"] for r in found["cells"]] == [
        "npo", "whp_soft_top=4_offset=contrast_reset.share=0.1_reset.heal.steps=4", "whp_inference",
        "prompting_subject=Zara",
    ]  # fmt: skip
    by = {r["name"]: r for r in found["table"]}
    assert by["npo"]["familiarity"]["value"] < by["baseline"]["familiarity"]["value"] / 2
    assert by["whp_inference"]["familiarity"]["value"] < by["baseline"]["familiarity"]["value"] / 2
    assert by["npo"]["relearned, explicit"] and by["baseline"]["RTT"] and by["npo"]["RTT"]
    assert by["whp_inference"]["RTT"] is None  # has no weights to retrain
    text = (world / "sweep" / "sweep.md").read_text()
    assert text == markdown(found) and text.count("\n|") == 6
    assert (world / "sweep" / "pareto.png").stat().st_size > 5000
    soft = world / "sweep/seed_0/whp_soft_top=4_offset=contrast_reset.share=0.1_reset.heal.steps=4"
    assert (soft / "unlearned_before_reset").is_dir() and (soft / "unlearned" / "model.safetensors").is_file()
    p = np.load(soft / "labels/translated_soft/alpha_5_p.npy")
    assert p.shape[-1] == 4 and (p.sum(-1) <= 1.01).all() and p.max() > 0.1
    for cell, prompt in (("whp_inference", "Zara went to"), ("prompting_subject=Zara", "Zara went to")):
        model_dir = str(world / "sweep/seed_0" / cell / "unlearned")
        assert main(["generate", "--model", model_dir, "--prompt", prompt, "--max-new-tokens", "2", "--json"]) == 0
        made = json.loads(capsys.readouterr().out)["completions"][0]
        assert len(made["tokens"]) == 2 and made["prompt"] == prompt
        assert main(["export", "--model", model_dir, "--format", "hf", "--out", str(world / "exported")]) == 2
        assert "no weights of its own" in capsys.readouterr().err and not (world / "exported").exists()
    again = subprocess.run(command, capture_output=True, text=True, env=env())
    assert again.returncode == 0 and "[unlearn]" not in again.stderr and "[baseline]" not in again.stderr
    assert json.loads((world / "sweep" / "sweep.json").read_text())["cells"] == found["cells"]
