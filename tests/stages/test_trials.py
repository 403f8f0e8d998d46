"""The trials of a sweep: grids, as many draws for every entry, and what an entry may set."""

import dataclasses

import pytest

from jaxunlearn.config import Config, Sweep, Text, Train, Unlearn
from jaxunlearn.errors import InputError
from jaxunlearn.stages.trials import cells, check_cell

BASE = Config(
    name="x", model="m", text=Text(forget=("a",), retain=("b",), dictionary="d"),
    unlearn=Unlearn(steps=1, learning_rate=1e-5), reinforce=Train(steps=3),
)  # fmt: skip


def made(*methods, **settings):
    return list(cells(dataclasses.replace(BASE, sweep=Sweep(methods=methods, **settings)), 7))


def test_a_grid_is_the_product_of_alternatives_rates_and_alphas():
    found = made("whp", "npo unlearn.beta=0.1|0.5", rates=(1e-4, 1e-3), alphas=(2.0, 5.0), reach=0.2)
    assert [c.name for c in found] == [
        "whp_rate=0.0001_alpha=2", "whp_rate=0.0001_alpha=5", "whp_rate=0.001_alpha=2", "whp_rate=0.001_alpha=5",
        "npo_beta=0.1_rate=0.0001", "npo_beta=0.1_rate=0.001", "npo_beta=0.5_rate=0.0001", "npo_beta=0.5_rate=0.001",
    ]  # fmt: skip
    assert [c.setting for c in found[:2]] == ["rate 0.0001, alpha 2", "rate 0.0001, alpha 5"]
    assert (found[1].config.whp.alpha, found[6].config.unlearn.beta) == (5.0, 0.5)
    assert {(c.config.seed, c.config.unlearn.reach) for c in found} == {(7, 0.2)}


def test_an_entry_has_at_most_so_many_trials_the_same_on_every_seed():
    entry, rates = "npo unlearn.beta=0.05|0.1 unlearn.retain_weight=0|3", (1e-4, 1e-3)
    all_of, drawn = made(entry, rates=rates), made(entry, rates=rates, trials=3)
    assert len(all_of) == 8 and len({c.name for c in drawn}) == 3
    assert {c.name for c in drawn} <= {c.name for c in all_of}
    other = cells(dataclasses.replace(BASE, sweep=Sweep(methods=(entry,), rates=rates, trials=3)), 8)
    assert [c.name for c in other] == [c.name for c in drawn]
    assert len(made("retain_only", rates=rates, trials=10)) == 2  # all that it has


SHARED = (
    "text.holdout=0.1", "pretrain.steps=9", "eval.relearn_steps=0", "seed=1", "init.D=8", "unlearn.reach=0",
    "unlearn.optimiser=adafactor",  # the attacker's optimiser follows it
)  # fmt: skip


@pytest.mark.parametrize("given", SHARED)
def test_what_all_entries_share_is_refused_in_one(given):
    with pytest.raises(InputError, match=f"npo {given}.*{given.split('=')[0]} is shared by every entry"):
        made(f"npo {given}")


def test_settings_of_the_reinforced_model_are_honoured():
    (one,) = made("task_vector reinforce.steps=9 reinforce.learning_rate=1e-2")
    assert (one.config.reinforce.steps, one.config.reinforce.learning_rate) == (9, 1e-2)


def test_a_cell_that_cannot_run_is_refused_by_its_entry():
    (cell,) = made("npo unlearn.beta=0")
    with pytest.raises(InputError, match=r"(?s)sweep\.methods 'npo unlearn\.beta=0': .*beta must be above 0"):
        check_cell(cell, BASE)
