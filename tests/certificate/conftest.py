"""A report and windows that certificates are made of by hand."""

import math

import pytest
from support.reports import entry, report_of

SURE, NEVER = [math.log(0.9)] * 40, [math.log(1e-9)] * 40


@pytest.fixture
def report():
    """A report in which relearning brings an unlearned model back."""
    found = report_of(unlearned=entry(0.1))
    found["relearn"] = {"unlearned": [{"step": 10, "familiarity": 0.8, "n": 400}],
                        "twin": [{"step": 10, "familiarity": 0.1, "n": 400}]}  # fmt: skip
    return found


@pytest.fixture
def logps():
    """Log-probabilities of 40 windows: the baseline alone recites them."""
    return {"baseline": {"10": SURE}, "unlearned": {"10": NEVER}, "twin": {"10": NEVER}}
