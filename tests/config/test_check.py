"""Values that no run could use are refused."""

import re

import pytest

from jaxunlearn.config import Config, check, override
from jaxunlearn.errors import InputError

BASE = Config(name="x")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("whp.alpha=-1", "whp.alpha must be at least 0"),
        ("text.context=2", "text.context must be at least 8"),
        ("text.holdout=1", "text.holdout"),
        ("unlearn.batch=0", "unlearn.batch must be at least 1"),
        ("unlearn.learning_rate=5", "unlearn.learning_rate"),
        ("eval.temperature=-1", "eval.temperature"),
        ("attack.probes.temperatures=", "attack.probes.temperatures"),
        ("attack.shares.of=0", "attack.shares.of"),
        ("attack.rtt.pairings=6", "attack.rtt.pairings lies between 1 and attack.rtt.splits = 5 (got 6)"),
        ("init.K=3", "init.N = 4 must be a multiple of init.K = 3"),
        ("name=", "name must have 1 to 200 characters"),
    ],
)
def test_values_that_cannot_run_are_refused(bad, said):
    with pytest.raises(InputError, match=re.escape(said)):
        check(override(BASE, [bad]))


@pytest.mark.parametrize("stage", ["pretrain", "reinforce", "unlearn", "repair", "reset.heal"])
def test_shares_that_rounding_to_bf16_would_undo_are_refused(stage):
    """A bf16 number has 8 bits: 0.999 x 1.5 is nearer to 1.5 than to the number below it, 1.5 - 2^-7."""
    bf16 = override(BASE, [f"{stage}.moment_dtype=bfloat16"])
    for kept in (["b2=0.99"], ["b2=0.999", "optimiser=sgd"], ["b1=0.999", "optimiser=lion"]):
        check(override(bf16, [f"{stage}.{k}" for k in kept]))
    check(override(BASE, [f"{stage}.b2=0.999"]))
    for kept in (["b2=0.999"], ["b1=0.995"], ["b1=0.999", "optimiser=sgd"], ["b2=0.999", "optimiser=lion"]):
        name, _, value = kept[0].partition("=")
        said = f"{stage}.moment_dtype=bfloat16 needs {stage}.{name} of at most 0.99 with optimiser="
        with pytest.raises(InputError, match=re.escape(said) + rf".* \(got {value}\)"):
            check(override(bf16, [f"{stage}.{k}" for k in kept]))
