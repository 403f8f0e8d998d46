"""Faults of users, disks and machines: the quick trials always, all of them with `-m nightly` (some minutes)."""

import pytest
from support.faults import SECTIONS, Place, Trial, Trials, all_trials, table

TRIALS = all_trials()
QUICK = [t for t in TRIALS if t.quick]
pytestmark = pytest.mark.xdist_group("faults")


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    return Trials(tmp_path_factory.mktemp("faults"))


@pytest.mark.parametrize("trial", QUICK, ids=lambda t: t.name)
def test_a_quick_trial_holds_and_nothing_is_lost(trials, trial):
    found = trials.try_(trial)
    assert found.held, table([found])


@pytest.mark.nightly
@pytest.mark.parametrize("trial", [t for t in TRIALS if not t.quick], ids=lambda t: f"{t.section}: {t.name}")
def test_a_trial_holds_and_nothing_is_lost(trials, trial):
    found = trials.try_(trial)
    assert found.held, table([found])


def test_a_trial_that_loses_a_file_or_says_nothing_does_not_hold(trials):
    def lose(place: Place):
        place.write("letter.txt", "mine")
        return ["methods"]

    def act(place, arguments):
        (place.folder / "letter.txt").unlink()
        return type("Outcome", (), {"code": 2, "err": ""})()

    found = trials.try_(Trial(section=SECTIONS[0], name="loses", make=lose, act=act))
    assert found.why == "says nothing" and [line.split("/")[1] for line in found.lost] == ["letter.txt is gone"]
    assert not found.held and "| bad inputs | 1 | 0 | 0 |" in table([found])
