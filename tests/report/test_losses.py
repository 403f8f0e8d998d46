"""Losses in words: always a size and an interval; by hand."""

from support.reports import entry, report_of

from jaxunlearn.report.losses import Loss, amount, losses
from jaxunlearn.report.paired import Change


def said(what, value, low, high, tint="good"):
    return Loss(what=what, change=Change(value=value, low=low, high=high, n=60), tint=tint).said


def test_a_loss_is_said_with_its_size_and_interval():
    assert said("perplexity", 0.04, 0.03, 0.06, "so-so") == "costs 4% perplexity (3 to 6)"
    assert said("perplexity", 0.01, 0.005, 0.015) == "costs 1% perplexity (0.5 to 1.5), within 2%"
    assert said("accuracy", 0.0, -0.01, 0.01) == "accuracy within 2 points (loss 0 points, −1 to 1)"
    assert said("accuracy", 0.03, -0.01, 0.07, "unsure").endswith(
        "to change (loss 3 points, −1 to 7, n\u00a0=\u00a060)"
    )
    assert said("accuracy", 0.025, 0.01, 0.04, "unsure") == "costs 2.5 points of accuracy (1 to 4, n\u00a0=\u00a060)"
    assert said("perplexity", -0.05, -0.07, -0.03) == "perplexity better by 5% (3 to 7)"
    assert Loss(what="accuracy", change=None, tint="unsure").said == "accuracy has no interval"
    assert [amount(x) for x in (0.04, 0.005, 0.123, -0.0001, -0.02)] == ["4", "0.5", "12", "0", "−2"]


def test_only_what_both_models_have_is_compared():
    found = report_of(unlearned=entry(0.1, 0.87, 5.0))
    assert [(loss.what, loss.tint) for loss in losses(found, "unlearned")] == [
        ("accuracy", "so-so"),
        ("perplexity", "good"),
    ]
    del found["models"]["baseline"]["accuracy"]
    assert [loss.what for loss in losses(found, "unlearned")] == ["perplexity"] and losses({}, "unlearned") == []
