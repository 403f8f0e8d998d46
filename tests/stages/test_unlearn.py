"""The measured step that unlearning keeps, and the held-out labels that tell it."""

from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest

from jaxunlearn.config import Config, Unlearn, Whp
from jaxunlearn.run.variants import variants
from jaxunlearn.stages.unlearn import damage, keeps_best, kept_point

STAGE = import_module("jaxunlearn.stages.unlearn")  # the package's name is the stage's function


def test_without_a_stop_rule_the_least_held_out_loss_is_kept():
    points = [{"held_loss": 3.0}, {"held_loss": 2.0}]
    assert min(points, key=lambda p: damage(p, 0.0)) == {"held_loss": 2.0}


def test_the_stop_rule_takes_the_least_perplexity_of_those_that_came_down_far_enough():
    far, farther, short = ({"familiarity": f, "perplexity_retain": p} for f, p in ((0.1, 5.0), (0.01, 9.0), (0.3, 1.0)))
    assert sorted([short, farther, far], key=lambda p: damage(p, 0.1)) == [far, farther, short]


def test_the_last_step_is_kept_where_it_is_asked_for_whatever_the_stop_rule():
    points = [{"step": n, "familiarity": 0.05, "perplexity_retain": p} for n, p in ((1, 5.0), (2, 4.0), (3, 9.0))]
    rule = Config(name="x", unlearn=Unlearn(reach=0.1))
    last = Config(name="x", unlearn=Unlearn(reach=0.1), whp=Whp(keep="last"))
    assert keeps_best(rule, False) and keeps_best(rule, True) and kept_point(points, rule)["step"] == 2
    assert not keeps_best(last, False) and not keeps_best(last, True) and kept_point(points, last)["step"] == 3
    assert keeps_best(Config(name="x"), True) and not keeps_best(Config(name="x"), False)


@pytest.mark.parametrize(("offset", "of"), [("paper", ("b", "r")), ("contrast", ("b", "r", "d"))])
def test_held_out_labels_in_fused_mode_are_the_teachers_alone_beside_a_kl_to_the_baseline(monkeypatch, offset, of):
    kl = Unlearn(retain_weight=1.0, retain_loss="kl")
    config = Config(name="x", whp=Whp(mode="fused", offset=offset), unlearn=kl)
    asked, tokens_NT = [], np.arange(8).reshape(4, 2)
    passage = SimpleNamespace(rows=lambda rows: rows)
    run = SimpleNamespace(
        config=config, forget_split=(np.array([0, 1]), np.array([2, 3])), passage=lambda v: passage,
        inputs=SimpleNamespace(forget=SimpleNamespace(tokens_NT=tokens_NT)),
    )  # fmt: skip

    def labelled(config, models, rows, alphas):
        asked.append((tuple(models), list(rows), alphas))
        yield 0, 1, np.full((1, 1, 2), 7)

    monkeypatch.setattr(STAGE, "labelled", labelled)
    frozen = {"baseline": "b", "reinforced": "r", "diluted": "d"}
    found = STAGE._held_labels(run, variants(config)[0], frozen)
    assert asked == [(of, [2], (5.0,))] and [a.tolist() for a in found] == [[[4, 5]], [[7, 7]]]
