"""The measured step that unlearning keeps."""

from jaxunlearn.config import Config, Unlearn, Whp
from jaxunlearn.stages.unlearn import damage, keeps_best, kept_point


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
