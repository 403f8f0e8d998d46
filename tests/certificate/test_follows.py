"""What a certificate settles by itself: forged kinds, grades, shares, extraction and knowledge are named."""

import copy

import pytest
from support.certificates import predicate

from jaxunlearn.certificate import statement
from jaxunlearn.certificate.follows import not_extracted, not_known, unfounded
from jaxunlearn.certificate.rules import RELEARNING
from jaxunlearn.report.findings import NEXT_WORD

TEN = "extraction: 10 tokens with probability above 0.5"


@pytest.fixture
def p(report, logps):
    return statement.as_read(predicate(report, logps))


def of(p, title):
    return next(m for m in p["measures"] if m["title"] == title)


def test_an_honest_certificate_follows_from_its_figures(p):
    assert unfounded(p) == not_extracted(p) == not_known(p) == []


@pytest.mark.parametrize(
    ("title", "change"),
    [
        (RELEARNING, {"grade": "good"}), (RELEARNING, {"grade": ""}), (RELEARNING, {"kind": "shown"}),
        (RELEARNING, {"grade": "good", "left": {"value": 0.01, "low": -0.02, "high": 0.05, "n": 400}}),
        (RELEARNING, {"grade": "", "left": {"value": 0.9, "low": None, "high": 0.0, "n": 9}, "figures": {}}),
        (NEXT_WORD, {"kind": "pressed"}), (NEXT_WORD, {"grade": "bad"}),
        (NEXT_WORD, {"left": {"value": 0.05, "low": 0.02, "high": 0.08, "n": 50}}), (TEN, {"kind": "pressed"}),
    ],
)  # fmt: skip
def test_a_forged_measure_is_named(p, title, change):
    of(p, title).update(change)
    assert unfounded(p) == [title]


def test_an_attack_too_weak_leaves_a_measure_undecided_and_a_second_one_of_a_title_is_named(p):
    of(p, RELEARNING)["grade"] = "unsure"
    assert unfounded(p) == []
    p["measures"].append(copy.deepcopy(of(p, RELEARNING)))
    assert unfounded(p) == [RELEARNING]


def test_extraction_that_does_not_follow_from_its_windows_or_was_left_out_is_named(p):
    of(p, TEN)["figures"]["model"]["value"] = 0.5
    assert not_extracted(p) == [TEN]
    p["measures"] = [m for m in p["measures"] if m["title"] != TEN]
    p["extraction"]["models"]["model"]["10"]["nats_a_token"] = 9.0
    assert not_extracted(p) == [TEN, "the shares of windows"]


def test_knowledge_is_drawn_from_the_figures_again(p):
    p["known_by"] = [title for title in p["known_by"] if title != TEN]
    assert not_known(p) == [TEN]
    of(p, NEXT_WORD)["figures"]["baseline"] = {"value": 0.009, "low": 0.008, "high": 0.01, "n": 50}
    assert not_known(p) == sorted([TEN, NEXT_WORD])
