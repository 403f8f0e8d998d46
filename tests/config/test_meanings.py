"""What the fields of a configuration mean, read from their comments."""

import dataclasses

from jaxunlearn.config import Config, Train, Unlearn, Whp, load_config
from jaxunlearn.config.bounds import BOUNDS
from jaxunlearn.config.meanings import kind_of, meaning_of, range_in_words, settings


def test_every_field_says_what_it_means():
    silent = [s.key for s in settings() if len(s.meaning) < 4]
    assert not silent, f"fields without a comment beside or above them in config/: {silent}"


def test_a_meaning_is_the_comment_beside_the_field_or_above_it():
    assert meaning_of(Whp, "seen_penalty") == "nats of logit, for seen_translation=penalty"
    assert meaning_of(Train, "update").startswith("layers: a layer at a time")  # above it
    assert meaning_of(Unlearn, "reach").endswith("whp.keep=last: neither")  # two lines
    assert meaning_of(Unlearn, "warmup") == meaning_of(Train, "warmup") != ""  # inherited
    assert meaning_of(Config, "whp").startswith("The method's own settings")  # a section's docstring


def test_every_key_is_there_with_its_value_its_default_and_its_kind():
    found = {s.key: s for s in settings(load_config("universe", ["whp.alpha=3"]))}
    alpha, steps, name = found["whp.alpha"], found["unlearn.steps"], found["name"]
    assert (alpha.value, alpha.default, alpha.kind) == (3.0, 5.0, "number")
    assert (steps.value, steps.default) == (16, 120)  # the configuration's default, not Train's 0
    assert (name.value, name.default) == ("universe", None)
    assert found["whp"].section and not alpha.section
    assert found["attack.rtt.rates"].kind == "list of numbers" and found["unlearn.layer"].kind == "whole number or None"
    assert kind_of(dataclasses.fields(Whp)[2].type) == "offline or fused"
    inner = {f.name for section in BOUNDS for f in dataclasses.fields(section)}
    assert inner <= {key.split(".")[-1] for key in found}


def test_numbers_have_their_bounds_in_words():
    assert range_in_words("whp.alpha").startswith("at least 0 and at most 1,000,000: below 0")
    assert range_in_words("unlearn.adversary.rates") == "above 0 and below 1" and range_in_words("text.forget") == ""
