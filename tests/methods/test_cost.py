"""Cost in forward passes, by hand."""

import dataclasses

import pytest

from jaxunlearn.config import Adversary, Collapse, Config, Mudman, Pretrain, Reset, Select, Text, Train, Unlearn, Whp
from jaxunlearn.methods import cost

BASE = Config(name="x", model="m", text=Text(forget=("a",), retain=("b",), dictionary="d"), unlearn=Unlearn(steps=1))


def test_cost_by_hand():
    made = dataclasses.replace(
        BASE,
        pretrain=Pretrain(steps=100, batch=8),  # 2,400 passes
        reinforce=Train(steps=10, batch=8),  # 240
        unlearn=Unlearn(steps=5, batch=8, accumulate=2),  # 80 places
    )

    def passes(method, **more):
        return cost.method_passes(
            dataclasses.replace(made, unlearn=dataclasses.replace(made.unlearn, **method), **more), 7
        )

    assert passes({"method": "whp"}) == 240 + 7 * 2 + 80 * 3
    assert passes({"method": "gradient_difference"}) == 80 * 6
    assert passes({"method": "npo", "retain_weight": 1.0, "retain_loss": "kl"}) == 7 + 80 * 7
    assert passes({"method": "whp_soft"}, whp=Whp(offset="contrast")) == 480 + 80 * (3 + 3)
    assert passes({"method": "retain_only"}) == 80 * 3
    more = {"retain_batch": 16}  # two places of text to keep for each of text to forget; the baseline is asked there
    assert passes({"method": "mlp_breaking"} | more) == 80 * (3 + 1 + 2 * (3 + 1))
    assert passes({"method": "mlp_breaking", "retain_weight": 0.0}) == 80 * (3 + 1)
    assert passes({"method": "jensun"} | more) == passes({"method": "rmu"} | more) == 80 * (3 + 2 * (3 + 1))
    kl = {"method": "whp", "retain_weight": 1.0, "retain_loss": "kl"}
    assert passes(kl | {"retain_batch": 16}) == 240 + 7 * 2 + 80 * (3 + 2 * 4)
    adverse = {"adversary": Adversary(every=4, blocks=4)}  # 5 steps of 4 blocks, and the labels' loss once more
    assert passes(kl | {"retain_batch": 16} | adverse) == 240 + 7 * 2 + 80 * (3 + 2 * 4) + 80 * 3 + 5 * 4 * 3
    assert passes({"method": "whp", "adversary": Adversary(every=4, weight=0.0)}) == 240 + 7 * 2 + 80 * 3
    assert passes(kl | {"sam": 0.01}) == 240 + 7 * 2 + 80 * (2 * 3 + 4)
    assert passes(kl | {"mudman": Mudman(every=4)}) == 240 + 7 * 2 + 80 * (3 + 4) + 5 * 8 * 3  # the fork's microbatch
    assert passes(kl | {"collapse": Collapse(norm=0.1)}) == 240 + 7 * 2 + 80 * (3 + 4)
    assert passes(kl | {"invariance": 1.0, "retain_batch": 16}) == 240 + 7 * 2 + 80 * (3 + 2 * 4 + 2 * 9)
    chosen = {
        "method": "gradient_difference",
        "select": Select(budget=0.01, blocks=4),
    }  # 5 steps of 4 blocks, asked twice
    assert passes(chosen) == 7 * (3 + 3) + 5 * 4 * 2
    assert (
        passes(chosen | {"select": Select(budget=0.01, blocks=4, elicit=0.0, of="retain")}) == 7 * (3 + 3) + 5 * 4 * 2
    )
    heal = Train(steps=20, batch=8)
    assert passes({"method": "reset_heal"}, reset=Reset(share=0.1, batches=2, heal=heal)) == 240 + 96 + 20 * 8 * 4
    assert passes({"method": "reset_heal"}, reset=Reset(share=1, heal=heal)) == 20 * 8 * 4
    assert cost.share(dataclasses.replace(made, unlearn=made.unlearn), 7) == pytest.approx(494 / 2400)
