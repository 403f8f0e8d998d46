"""Every field has a type that is checked, and every number bounds."""

import dataclasses
import math
from typing import Literal, get_args, get_origin

import pytest

from jaxunlearn.attacks.quantise import GROUP
from jaxunlearn.config import Config, QuantiseAttack, check, override
from jaxunlearn.config.bounds import BOUNDS, Range, faults, range_of
from jaxunlearn.errors import InputError

BASE = Config(name="x")


def walk(section=BASE, prefix=""):
    """Yield (dotted name, section, field) of every field that is no section."""
    for f in dataclasses.fields(section):
        value = getattr(section, f.name)
        if dataclasses.is_dataclass(value):
            yield from walk(value, f"{prefix}{f.name}.")
        else:
            yield f"{prefix}{f.name}", section, f


def with_value(name, value, section=BASE):
    """Return the configuration with one field set, whatever the value."""
    first, _, rest = name.partition(".")
    inner = with_value(rest, value, getattr(section, first)) if rest else value
    return dataclasses.replace(section, **{first: inner})


def scalar(kind):
    """Return (the type of one value, whether a field holds several)."""
    if get_origin(kind) is tuple:
        return scalar(get_args(kind)[0])[0], True
    some = [k for k in get_args(kind) if k is not type(None)]
    return (kind if get_origin(kind) is Literal or not some else some[0]), False


NUMBERS = [(name, section, f) for name, section, f in walk() if scalar(f.type)[0] in (int, float)]


def test_every_number_has_bounds_and_every_bound_a_number():
    assert len(NUMBERS) > 110
    for name, section, f in NUMBERS:
        within = range_of(type(section), f.name)
        assert math.isfinite(within.least) and math.isfinite(within.most), name
    used = {(kind, f.name) for _, section, f in NUMBERS for kind in type(section).__mro__}
    assert not [(kind.__name__, name) for kind, rows in BOUNDS.items() for name in rows if (kind, name) not in used]


@pytest.mark.parametrize("section", sorted({name.partition(".")[0] for name, _, _ in NUMBERS}))
def test_numbers_out_of_bounds_are_refused_by_name_and_those_at_the_ends_are_taken(section):
    for name, owner, f in NUMBERS:
        if name.partition(".")[0] != section:
            continue
        (kind, several), within = scalar(f.type), range_of(type(owner), f.name)
        bad = [math.nan, math.inf, -math.inf, True, "1", 10**400 if kind is int else None]
        least, most = within.least, within.most
        bad += [least - 3, most + 1, *([least] if within.above else []), *([most] if within.below else [])]
        bad += [1.5] if kind is int else [[]]
        for value in bad:
            if value is None:
                continue
            said = faults(with_value(name, (value,) if several else value))
            assert len(said) == 1 and said[0].startswith(f"{name} must be"), (name, value, said)
        good = [least] * (math.isfinite(least) and not within.above) + [most] * (
            math.isfinite(most) and not within.below
        )
        for value in [*good, *within.also]:
            assert not faults(with_value(name, (kind(value),) if several else kind(value))), (name, value)


def test_texts_switches_and_words_are_checked_by_type():
    for name, _, f in walk():
        kind, several = scalar(f.type)
        if kind in (int, float):
            continue
        for value in (3, None, b"x", ["\ud800"], "\ud800", "a\0b"):
            said = faults(with_value(name, (value,) if several else value))
            assert len(said) == 1 and said[0].startswith(f"{name} must be"), (name, value, said)
    assert "text.forget must be several values" in faults(with_value("text.forget", "a.txt"))[0]
    assert "unlearn must be a Unlearn (got 3)" in faults(dataclasses.replace(BASE, unlearn=3))[0]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("unlearn.clip=-1", "unlearn.clip must be at least 0 and at most 1,000,000,000 (got -1.0)"),
        ("reset.heal.b2=1", "reset.heal.b2 must be at least 0 and below 1 (got 1.0)"),
        ("whp.alpha=inf", "whp.alpha must be at least 0 and at most 1,000,000 (got inf)"),
        ("eval.temperature=nan", "eval.temperature must be at least 0 and at most 1,000 (got nan)"),
        ("seed=4294967296", "seed must be at least 0 and below 2,147,483,648 (got 4294967296)"),
        ("init.L=0", "init.L must be at least 1"),
        ("eval.new_tokens=0", "eval.new_tokens must be at least 1"),
        ("eval.top_k=-1", "eval.top_k must be at least 0"),
        ("unlearn.beta=nan", "unlearn.beta must be at least -1,000,000,000 and at most 1,000,000,000 (got nan)"),
        ("mesh.fsdp=0", "mesh.fsdp must be at least 1 and at most 1,048,576 or -1 (got 0)"),
    ],
)
def test_what_was_taken_before_is_refused(bad, said):
    with pytest.raises(InputError) as error:
        check(override(BASE, [bad]))
    assert said in str(error.value)


def test_schemes_of_rounding_are_those_that_exist():
    (words,) = [scalar(f.type)[0] for f in dataclasses.fields(QuantiseAttack)]
    assert get_args(words) == tuple(GROUP)
    with pytest.raises(InputError, match="int3"):
        override(BASE, ["attack.quantise.schemes=int3"])


def test_a_long_list_of_faults_is_cut_and_long_values_are_shortened():
    many = dataclasses.replace(BASE, sweep=dataclasses.replace(BASE.sweep, seeds=(-1,) * 100), title=3)
    with pytest.raises(InputError, match=r"and 71 more"):
        check(many)
    assert len(faults(with_value("title", ["x" * 1000]))[0]) < 120


def test_a_range_says_what_it_takes():
    assert str(Range(0, 1, above=True, below=True)) == "above 0 and below 1"
    assert Range(1, 2, also=(-1,)).holds(-1) and not Range(1, 2).holds(-1) and not Range(0, 1).holds(math.nan)
