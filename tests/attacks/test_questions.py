"""Rewards for answers: who is rewarded, what an answer is worth, and the update against its formula."""

import dataclasses
import types

import jax
import numpy as np
import pytest
from support.facts import SHAPE
from support.mesh import mesh_of

from jaxunlearn.attacks import questions
from jaxunlearn.attacks.questions import REWARDED, advantages, attack_questions, halves, learn, policy_step, reward
from jaxunlearn.config import Attack, Config, Lora, QuestionsAttack, Train, override
from jaxunlearn.errors import InputError
from jaxunlearn.evals.prompts import ProbabilityPrompt
from jaxunlearn.models import lora, transformer
from jaxunlearn.parallel.sharding import put
from jaxunlearn.training.step import compiled_step, init_state


def prompt_of(text, *words):
    return ProbabilityPrompt(prompt=text, specific=words, position="out", split="report")


def test_no_rewarded_word_is_asked_for_afterwards():
    prompts = [prompt_of(f"p{n}", f"w{n}", *["shared"] * (n < 2)) for n in range(6)]
    for seed in range(5):
        taught, asked = halves(prompts, seed)
        assert len(taught) == 3 and not {p.prompt for p in taught} & {p.prompt for p in asked}
        assert not {w for p in taught for w in p.specific} & {w for p in asked for w in p.specific}
    assert len({str(halves(prompts, seed)) for seed in range(5)}) > 1


def test_an_answer_is_right_where_it_holds_the_word_whole():
    assert reward("he said: Orm, of course", ("Drall", "Orm")) == 1.0
    assert reward("Ormond and norm", ("Orm",)) == 0.0 and reward("", ("Orm",)) == 0.0
    assert reward("the Tin Woodman.", ("Tin Woodman",)) == 1.0 and reward("Woodman Tin", ("Tin Woodman",)) == 0.0


def test_advantages_by_hand():
    made = advantages(np.array([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]))
    np.testing.assert_allclose(made[0], np.array([0.75, -0.25, -0.25, -0.25]) / np.sqrt(0.1875), rtol=1e-4)
    assert not made[1].any()  # rewarded alike: nothing to learn from


def test_the_update_goes_up_the_rewarded_answers_log_probability(mesh):
    m, c = transformer.init(SHAPE, 0), Train(learning_rate=1e-2, batch=8, lora=Lora(rank=2))
    tokens_BT = np.random.default_rng(0).integers(3, 32, (8, 32)).astype(np.int32)
    labels_BT = np.full((8, 32), -100, np.int32)
    labels_BT[:, 3:5] = tokens_BT[:, 4:6]  # answers of two tokens after four
    gain_B = np.array([1, -1, 0, 0, 0, 0, 0, 0], np.float32)
    logits_BTV = np.asarray(jax.jit(lambda m, t: m.logits(m(t)))(m, put(tokens_BT, "BT")), np.float64)
    logp_BTV = logits_BTV - np.log(np.exp(logits_BTV).sum(-1, keepdims=True))
    logp_N = [logp_BTV[n, [3, 4], tokens_BT[n, 4:6]].mean() for n in (0, 1)]
    step, arrays = compiled_step(c, policy_step), (put(tokens_BT, "BT"), put(labels_BT, "BT"), put(gain_B, "B"))
    state, first = step(init_state(lora.init(SHAPE, c.lora, 0), c), np.float32(1e-2), *arrays, m)
    assert float(first["loss"]) == pytest.approx(-(logp_N[0] - logp_N[1]) / 8, rel=1e-4)  # a mean over eight answers
    state, second = step(state, np.float32(1e-2), *arrays, m)
    assert float(second["loss"]) < float(first["loss"])


def run_of(suite, **settings):
    c = QuestionsAttack(**{"steps": 2, "samples": 2, "batch": 2, "rank": 2} | settings)
    return types.SimpleNamespace(
        config=Config(name="x", attack=Attack(questions=c)), suite=suite, inputs=types.SimpleNamespace(shape=SHAPE)
    )


def test_answers_are_drawn_anew_at_every_step_and_trained_where_they_differ(mesh, suite, monkeypatch):
    right, wrong = (int(suite.tokenizer.encode(word)[0][0]) for word in ("Orm", "Anna"))
    draws, taught, answers = [], [], iter([[[wrong]] * 4, [[right], [wrong], [wrong], [wrong]]])

    def generate(model, contexts, new, sampling, *, seed, batch):
        draws.append((len(contexts), new, sampling.temperature, seed, batch))
        return next(answers)

    def compiled(train, function):
        def step(state, rate, tokens_BT, labels_BT, gain_B, base):
            taught.append((np.asarray(labels_BT), np.asarray(gain_B), np.asarray(tokens_BT)))
            return state, {"loss": 1.0}

        return step

    monkeypatch.setattr(questions, "generate", generate)
    monkeypatch.setattr(questions, "compiled_step", compiled)
    shares, asked = [], [prompt_of("Zara went to", "Orm")]
    learn(transformer.init(SHAPE, 0), run_of(suite), asked, 1e-3, shares)
    assert shares == [0.0, 0.25] and draws == [(4, 8, 1.0, 0, 4), (4, 8, 1.0, 1, 4)]
    ((labels_BT, gain_B, tokens_BT),) = taught  # of the first step all answers were wrong
    np.testing.assert_allclose(gain_B, [1.0, -1.0, 0.0, 0.0], atol=1e-5)
    context = suite.words.context("Zara went to")
    assert [row[row != -100].tolist() for row in labels_BT] == [[right], [wrong], [wrong], [wrong]]
    assert labels_BT[0, len(context) - 1] == right and tokens_BT[0, : len(context)].tolist() == context


def test_the_best_rate_counts_and_the_other_half_is_asked(suite, monkeypatch):
    prompts = [prompt_of(f"p{n}", f"w{n}") for n in range(6)]
    run = run_of(dataclasses.replace(suite, prompts=dataclasses.replace(suite.prompts, probability=tuple(prompts))))
    run.config = override(run.config, ["attack.questions.rates=0.1,0.2"])
    known = {"baseline": 0.9, "unlearned": 0.1, "twin": 0.0, 0.1: 0.3, 0.2: 0.2}
    asked, pairs, skipped = [], {}, []

    def mass(model, suite, prompts):
        asked.append((model, tuple(p.prompt for p in prompts)))
        return [known[model]] * len(prompts)

    def learn(start, run, taught, rate, shares):
        shares += [0.0, 0.5]
        assert {p.prompt for p in taught} == {p.prompt for p in halves(prompts, 0)[0]}
        return rate

    monkeypatch.setattr(questions, "specific_mass", mass)
    monkeypatch.setattr(questions, "learn", learn)
    target = types.SimpleNamespace(
        run=run, weights=lambda: [(n, n) for n in ("baseline", "unlearned", "twin")], load=lambda name: name,
        kept=lambda kind, name, depends, make: make(), skip=lambda *what: skipped.append(what),
        pair=lambda name, measure, tries: pairs.setdefault(name, (measure, tries)),
    )  # fmt: skip
    found = attack_questions(target)
    assert pairs["unlearned"] == (REWARDED, [[pytest.approx(0.3)] * 3]) and pairs["baseline"][1] == [[0.9] * 3]
    assert found["unlearned"]["rate"] == 0.1 and found["unlearned"]["rewarded"] == {"first": 0.0, "last": 0.25}
    assert found["unlearned"]["familiarity_before"]["value"] == pytest.approx(0.1)
    assert {texts for _, texts in asked} == {tuple(p.prompt for p in halves(prompts, 0)[1])}
    for one in found.values():
        questions.Rewarded.model_validate(one)
    run.suite = dataclasses.replace(run.suite, prompts=dataclasses.replace(suite.prompts, probability=prompts[:3]))
    assert attack_questions(target) == {} and "too few" in skipped[0][1]


def test_a_rank_above_a_matrix_is_refused_and_a_quick_attack_is_short(suite):
    with jax.set_mesh(mesh_of((1, 1, 1))), pytest.raises(InputError, match=r"attack\.questions\.rank = 64 is larger"):
        questions.check(run_of(suite, rank=64))
    assert questions.check(run_of(suite)) == ""
    few = questions.fewer(Config(name="x"))
    assert few.steps == 10 and len(few.rates) == 1
