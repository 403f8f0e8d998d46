"""What subcommands share: a configuration with its controls, and its quick form."""

from jaxunlearn.cli.common import configured, quick
from jaxunlearn.methods.controls import ablations


def test_controls_are_trained_where_asked_for():
    assert configured("universe", []).controls == ()
    assert configured("universe", ["seed=3"], ablate=True).controls == ablations(True)
    without = configured("universe", ["universe.people=0", "text.retain="], ablate=True).controls
    assert set(ablations(True)) - set(without) == {"retain_only"} and len(without) == 4


def test_the_quick_form_is_short_and_has_its_own_folder():
    whole = configured("universe", ["run.dir=mine", "reinforce.steps=2"])
    short = quick(whole)
    assert [getattr(short, n).steps for n in ("pretrain", "reinforce", "unlearn", "repair")] == [3, 2, 3, 0]
    assert str(short.directory) == "mine-quick" and whole.pretrain.steps > 3
    assert short.eval.completions == short.eval.blocks == 8
