"""Variants: the method of a run, then its controls, each once and by its present name."""

from jaxunlearn.config import Config
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
