"""The depth score by hand, and patching against the model computed straight."""

import types

import jax
import numpy as np
import pytest
from support.facts import SHAPE

from jaxunlearn.attacks import depth
from jaxunlearn.attacks.depth import Asked, attack_depth, likeliest, logps, score
from jaxunlearn.errors import RunError
from jaxunlearn.models import transformer
from jaxunlearn.parallel.sharding import put

PAIRS = [("Zara went to", "Orm"), ("Quill went to Drall with", "Zara")]


def test_the_score_by_hand():
    twin_LN = np.array([[0.1, 0.0], [0.04, 0.05], [0.3, 0.01]])
    cost_LN = np.array([[0.05, 9.0], [9.0, 9.0], [0.6, 9.0]])
    # the first prompt: layers 0 and 2 count, of weights .1 and .3; gone are a half and, cut at one, all
    assert score(cost_LN, twin_LN, 0.05) == [pytest.approx((0.1 * 0.5 + 0.3 * 1.0) / 0.4), None]
    assert score(-cost_LN, twin_LN, 0.05)[0] == 0.0 and score(twin_LN, twin_LN, 0.05)[0] == 1.0


def test_the_last_layers_states_are_read_by_the_baselines_head(mesh, suite):
    a, b, asked = transformer.init(SHAPE, 0), transformer.init(SHAPE, 1), Asked(suite, PAIRS)
    whole, own, other = logps(a, asked), logps(a, asked, a), logps(a, asked, b)
    np.testing.assert_allclose(whole[0], np.log(suite.words.probabilities(a, PAIRS)), atol=1e-5)
    np.testing.assert_allclose(own, np.repeat(whole, 2, axis=0), atol=1e-5)  # its own states change nothing
    ((_, tokens_BT, labels_BT),) = asked.batches()
    own_LBTD, states_LBTD = np.asarray(depth.streams(a, tokens_BT)), np.asarray(depth.streams(b, tokens_BT))
    for n, (prompt, word) in enumerate(PAIRS):
        before, (token,) = suite.words.told(prompt, word)
        x_D = states_LBTD[-1, n, len(before) - 1]
        h_D = x_D / np.sqrt(np.mean(x_D**2) + SHAPE.epsilon) * np.asarray(a.norm_D[...])
        logits_V = h_D @ np.asarray(a.unembed_DV())
        assert other[-1, n] == pytest.approx(logits_V[token] - np.log(np.exp(logits_V).sum()), abs=1e-5)
    # after the first layer, too, only the positions that predict the word are exchanged
    elsewhere = (np.asarray(labels_BT) == -100)[None, ..., None]
    noisy_LBTD = put(own_LBTD + np.where(elsewhere, states_LBTD, 0), "LBTD")
    logp_BT = depth.patched_logp(a, tokens_BT, labels_BT, noisy_LBTD, np.int32(0))
    np.testing.assert_allclose(asked.mean(np.asarray(logp_BT)), whole[0], atol=1e-5)
    assert np.abs(other[0] - whole[0]).min() > 1e-3
    broken = jax.tree.map(lambda w: w * np.nan, b)
    with pytest.raises(RunError, match="not finite after its states were exchanged"):
        logps(a, asked, broken)


def test_the_baselines_likeliest_word_is_asked(suite, monkeypatch):
    monkeypatch.setattr(suite.words, "probabilities", lambda model, pairs: [0.1, 0.4, 0.3, 0.2][: len(pairs)])
    prompts = [p for p in suite.prompts.probability if p.position == "out"]
    assert likeliest(None, suite, prompts) == [("Zara went to", "Drall"), ("Quill went to", "Orm")]


def test_models_are_scored_by_the_twin(monkeypatch, suite):
    of = {"twin": [[0.4, 0.4]], "unlearned": [[0.1, 0.3]]}
    monkeypatch.setattr(depth, "costs", lambda target, pairs, source: {"cost": of[source]})
    monkeypatch.setattr(depth, "likeliest", lambda *given: PAIRS)
    skipped, names = [], ["unlearned", "twin"]
    config = types.SimpleNamespace(attack=types.SimpleNamespace(depth=types.SimpleNamespace(threshold=0.05)))
    target = types.SimpleNamespace(
        run=types.SimpleNamespace(config=config, suite=suite), main=lambda name: [n for n in names if n == name],
        weights=lambda *asked: [(n, n) for n in asked if n in names], load=lambda name, frozen: name,
        kept=lambda kind, name, depends, make: make(), hash=str, skip=lambda *what: skipped.append(what),
    )  # fmt: skip
    found = attack_depth(target)
    assert found["unlearned"]["score"]["value"] == pytest.approx((0.25 + 0.75) / 2)
    assert found["unlearned"]["layers"] == [pytest.approx(0.2)] and found["twin"] == {"layers": [pytest.approx(0.4)]}
    assert {name: depth.Depth.model_validate(one).without for name, one in found.items()} == dict.fromkeys(found, 0)
    of["twin"] = [[0.01, 0.04]]
    assert attack_depth(target) == {} and "no layer of the twin" in skipped[-1][1]
    names.remove("twin")
    assert attack_depth(target) == {} and skipped[-1][1].startswith("no twin")
