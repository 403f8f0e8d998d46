"""What "erased" needs: every condition is named where it fails, and attacks have to be shown to work."""

import pytest
from support.reports import e, entry, report_of

from jaxunlearn.certificate.needed import WORDS, conditions, of_attacks
from jaxunlearn.report.verdict import HIDDEN

STRESS = f"half frozen {HIDDEN}"


def report(**relearned):
    """Return a report in which relearning takes models from the first familiarity to the second."""
    found = report_of(unlearned=entry(0.1), other=entry(0.1), **{STRESS: entry(0.1)})
    found["relearn"] = {
        {"hidden": STRESS}.get(name, name): [{"step": 9 * n, "familiarity": f, "n": 90} for n, f in enumerate(ends)]
        for name, ends in {"twin": (0.1, 0.1), **relearned}.items()
    }
    return found


def test_a_condition_that_is_not_known_to_hold_fails():
    assert conditions(dict.fromkeys(WORDS, True)) == dict.fromkeys(WORDS.values(), True)
    assert not any(conditions({}).values())


@pytest.mark.parametrize(
    ("relearned", "shown"),
    [
        ({"unlearned": (0.1, 0.1)}, False),  # a learning rate of 1e-12: nobody came back
        ({"unlearned": (0.1, 0.7)}, False),  # the certified model itself is no control
        ({"unlearned": (0.1, 0.1), "other": (0.1, 0.7)}, True),
        ({"unlearned": (0.1, 0.1), "other": (0.7, 0.7)}, False),  # it was never away
        ({"unlearned": (0.1, 0.1), "other": (0.1, 0.2)}, False),
    ],
)
def test_relearning_is_shown_to_work_on_another_model(relearned, shown):
    assert of_attacks(report(**relearned), "unlearned")["shown"] is shown


def test_without_a_twin_or_relearning_nothing_is_shown():
    found = report(unlearned=(0.1, 0.1), other=(0.1, 0.7))
    del found["relearn"]["twin"], found["models"]["twin"]
    assert not of_attacks(found, "unlearned")["shown"] and not of_attacks(report_of(), "twin")["shown"]


@pytest.mark.parametrize(("end", "exposed"), [(0.1, False), (0.5, False), (0.85, True)])
def test_a_model_that_hides_must_be_exposed(end, exposed):
    assert of_attacks(report(hidden=(0.1, end)), "unlearned")["exposed"] is exposed


def test_a_damaged_twin_is_no_clean_control():
    assert of_attacks(report(), "unlearned")["clean"]
    damaged = report()
    damaged["models"]["twin"]["accuracy"] = {"general": e(0.3, 0.005)}
    assert not of_attacks(damaged, "unlearned")["clean"]
