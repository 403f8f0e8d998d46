"""Controls: which there are, and the configuration that each is trained by."""

import dataclasses

import pytest

from jaxunlearn.config import Collapse, Config, Mudman, Reset, Unlearn, Whp
from jaxunlearn.methods import method_of, reads, resolved, wrappers
from jaxunlearn.methods.controls import CONTROLS, ablations, control_config


def test_a_control_of_another_method_learns_the_papers_hard_labels():
    config = Config(name="x", unlearn=Unlearn(method="npo"), whp=Whp(labels="soft", mode="fused"))
    made = control_config("own_argmax", config)
    assert (made.unlearn.method, made.whp.labels, made.whp.mode, made.whp.alpha) == ("whp", "hard", "offline", 0.0)
    soft = control_config("reinforcement_alone", dataclasses.replace(config, unlearn=Unlearn()))
    assert (soft.unlearn.method, soft.whp.labels, soft.whp.alpha) == ("whp", "soft", 5.0)


@pytest.mark.parametrize("beside", [{"mudman": Mudman(every=4)}, {"invariance": 1.0}, {"collapse": Collapse(norm=0.1)}])
def test_a_control_of_another_method_leaves_the_filters_that_it_has_no_terms_for(beside):
    config = Config(name="x", unlearn=Unlearn(method="gradient_difference", retain_weight=2.0, steps=9, **beside))
    for name in CONTROLS.keys() - {"random_reset"}:  # which resets what the method itself made
        made = control_config(name, config)
        assert wrappers.faults(made, method_of(made), reads(method_of(made), made)) == []
    assert control_config("own_argmax", config).unlearn == Unlearn(steps=9)


def test_the_papers_method_stands_beside_a_deviation_from_it():
    config = resolved(Config(
        name="x", whp=Whp(alpha=2.5, label_batch=4, forbid="keys", keep="last"),
        unlearn=Unlearn(method="whp_plus", retain_weight=6.0, learning_rate=3e-5),
    ))  # fmt: skip
    assert (config.whp.labels, config.whp.offset, config.unlearn.retain_loss) == ("soft", "contrast", "kl")
    made = control_config("hard_labels", config)
    assert made.whp == Whp(label_batch=4)  # at the alpha of the paper: that of the contrast is of another scale
    assert made.unlearn == Unlearn(method="whp", learning_rate=3e-5)
    assert "hard_labels" not in ablations(True)  # a run of the paper's own method has it already


def test_text_to_keep_alone_is_learnt_whatever_the_run_has_beside_its_method():
    # the KL to the baseline would be 0 from the start; beta is NPO's own
    beside = Unlearn(method="npo", beta=0.5, retain_weight=6.0, retain_loss="kl", steps=9)
    made = control_config("retain_only", Config(name="x", unlearn=beside))
    assert made.unlearn == Unlearn(method="retain_only", steps=9)


def test_only_the_control_of_the_reset_keeps_it():
    config = Config(name="x", reset=Reset(share=0.1))
    kept = {name: control_config(name, config).reset for name in CONTROLS}
    assert {name for name, reset in kept.items() if reset.share} == {"random_reset"}
    assert kept["random_reset"].by == "random"


def test_the_ablation_leaves_out_what_needs_text_to_keep_where_there_is_none():
    assert set(ablations(True)) - set(ablations(False)) == {"retain_only"}
    assert "random_reset" not in ablations(True)
