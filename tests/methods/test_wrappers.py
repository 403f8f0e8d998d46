"""What goes around a loss: two steps of their own are refused, and the card names each."""

import dataclasses

import pytest

from jaxunlearn.config import Adversary, Collapse, Config, Mudman, Select, Text, Unlearn, as_dict
from jaxunlearn.errors import InputError
from jaxunlearn.methods import card_sentence, check_config, wrappers

GIVEN = Config(name="x", model="m", text=Text(forget=("a",), retain=("b",), dictionary="d"))
EACH = {
    "select": Select(budget=0.01), "mudman": Mudman(every=4), "collapse": Collapse(norm=0.2),
    "adversary": Adversary(every=4),
}  # fmt: skip


def with_(*names):
    made = Unlearn(method="gradient_difference", steps=1, **{name: EACH[name] for name in names})
    return dataclasses.replace(GIVEN, unlearn=made)


@pytest.mark.parametrize("pair", [("select", "mudman"), ("collapse", "adversary"), ("select", "adversary")])
def test_a_run_has_one_step_of_its_own(pair):
    with pytest.raises(InputError, match=r"each have a step of their own: leave one"):
        check_config(with_(*pair))
    for name in pair:
        check_config(with_(name))


def test_the_card_names_what_went_around_the_loss():
    said = {name: card_sentence(as_dict(with_(name))) for name in EACH}
    assert "along the minor components of its gradient to a KL of 0.01 (RepSelect" in said["select"]
    assert "by masked gradients at a fork of every 4 steps (MUDMAN" in said["mudman"]
    assert "by collapsed gradients of norm 0.2 (CIR" in said["collapse"]
    assert "against an adversary forked every 4 steps" in said["adversary"]
    assert wrappers.said({"invariance": 0.5, "folds": 3}) == [
        "with a penalty of 0.5 on what scaling the weights changes (ILU, arXiv 2506.01339)",
        "3 folds one upon another (Layered Unlearning, arXiv 2505.09500)",
    ]
    assert wrappers.said({"sam": 0.01}) == ["with SAM at 0.01"] and wrappers.said({}) == []  # an earlier version's


def test_selection_keeps_the_baseline_for_its_budget():
    assert wrappers.asks(with_("select")) == ("baseline",) and wrappers.asks(with_("mudman")) == ()
