"""The measured step that unlearning keeps."""

from jaxunlearn.stages.unlearn import damage


def test_without_a_stop_rule_the_least_held_out_loss_is_kept():
    points = [{"held_loss": 3.0}, {"held_loss": 2.0}]
    assert min(points, key=lambda p: damage(p, 0.0)) == {"held_loss": 2.0}


def test_the_stop_rule_takes_the_least_perplexity_of_those_that_came_down_far_enough():
    far, farther, short = ({"familiarity": f, "perplexity_retain": p} for f, p in ((0.1, 5.0), (0.01, 9.0), (0.3, 1.0)))
    assert sorted([short, farther, far], key=lambda p: damage(p, 0.1)) == [far, farther, short]
