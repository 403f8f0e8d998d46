"""Variants: the method of a run, then its controls, each once and by its present name."""

import pytest

from jaxunlearn.config import Config, Whp
from jaxunlearn.run.variants import variants


def test_the_method_comes_first_and_an_earlier_name_of_a_control_is_the_control():
    controls = ("no_translation", "reinforcement_alone", "built_dictionary")
    method, *others = variants(Config(name="x", controls=controls))
    assert (method.name, method.folder, method.stage, method.labels) == (
        "unlearned", "unlearned", "unlearn", "translated",
    )  # fmt: skip
    assert [(v.folder, v.stage, v.labels) for v in others] == [
        ("controls/reinforcement_alone", "reinforcement_alone", "original"),
        ("controls/built_dictionary", "built_dictionary", "built"),
    ]


@pytest.mark.parametrize(
    ("whp", "own"),
    [(Whp(), ""), (Whp(alpha=2.0, labels="soft", keep="last"), ""), (Whp(offset="contrast"), "hard_labels"),
     (Whp(forbid="keys"), "hard_labels")],
)  # fmt: skip
def test_labels_by_other_settings_than_the_runs_are_kept_apart(whp, own):
    method, paper, argmax = variants(Config(name="x", whp=whp, controls=("hard_labels", "own_argmax")))
    assert (method.rules, paper.rules, argmax.rules) == ("", own, "")
    assert paper.config.whp == Whp(alpha=whp.alpha)


def test_the_papers_labels_have_its_alpha_beside_another_offset():
    beside = Config(name="x", whp=Whp(offset="contrast", alpha=40.0), controls=("hard_labels",))
    assert variants(beside)[1].alpha == 5.0
