"""What subcommands share: a configuration with its controls, and its quick form."""

import argparse

import pytest

from jaxunlearn.cli import parse, parser
from jaxunlearn.cli.common import configured, quick
from jaxunlearn.methods.controls import ablations


def test_controls_are_trained_where_asked_for():
    assert configured("universe", []).controls == ()
    assert configured("universe", ["seed=3"], ablate=True).controls == ablations(True)
    both = configured("universe", ["controls=hard_labels,own_argmax"], ablate=True).controls  # beside those that it has
    assert both[:2] == ("hard_labels", "own_argmax") and sorted(both) == sorted({*ablations(True), "hard_labels"})
    without = configured("universe", ["universe.people=0", "text.retain="], ablate=True).controls
    assert set(ablations(True)) - set(without) == {"retain_only"} and len(without) == 4


def test_the_quick_form_is_short_and_has_its_own_folder():
    whole = configured("universe", ["run.dir=mine", "reinforce.steps=2"])
    short = quick(whole)
    assert [getattr(short, n).steps for n in ("pretrain", "reinforce", "unlearn", "repair")] == [3, 2, 3, 0]
    assert str(short.directory) == "mine-quick" and whole.pretrain.steps > 3
    assert short.eval.completions == short.eval.blocks == 8
    assert short.eval.allow_unknown and not whole.eval.allow_unknown  # three steps teach a baseline nothing
    parted = quick(configured("universe", ["unlearn.folds=4", "unlearn.collapse.every=50", "reset.heal.steps=400"]))
    assert (parted.unlearn.folds, parted.unlearn.collapse.every, parted.reset.heal.steps) == (3, 1, 3)


def options(parser):
    """Yield every option of a parser and of its subcommands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from options(inner)


def test_every_option_that_is_a_number_has_bounds():
    kinds = {action.type for action in options(parser())}
    assert not kinds & {int, float} and len([k for k in kinds if k]) > 10


def test_a_number_out_of_range_is_bad_usage(capsys):
    bad = {"--seed": ("4294967296", "-1", "x"), "--temperature": ("nan", "inf", "-1"), "--top-p": ("0", "1.5"),
           "--top-k": ("-1", "1.5"), "--max-new-tokens": ("0", "9" * 30)}  # fmt: skip
    for option, values in bad.items():
        for value in values:
            with pytest.raises(SystemExit) as ended:
                parse(["generate", "--model", "m", "--prompt", "a", f"{option}={value}"])
            said = capsys.readouterr().err
            assert ended.value.code == 2 and f"argument {option}: " in said and "Traceback" not in said
    a = parse(["generate", "--model", "m", "--prompt", "a", "--top-p", "1", "--temperature", "0.5", "--seed", "7"])
    assert (a.top_p, a.temperature, a.seed) == (1.0, 0.5, 7)
