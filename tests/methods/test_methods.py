"""The table of methods: each is described, and what cannot run is refused before anything is loaded."""

import dataclasses
import math

import pytest
from support.paths import ROOT

from jaxunlearn.cli import main
from jaxunlearn.config import Config, Reset, Text, Train, Unlearn, Whp
from jaxunlearn.errors import InputError
from jaxunlearn.methods import METHODS, NEEDS, check_config, check_method, needs_of

BASE = Config(name="x", model="m", text=Text(forget=("a",), retain=("b",), dictionary="d"), unlearn=Unlearn(steps=1))


def refused(said, layers=4, **parts):
    with pytest.raises(InputError, match=said):
        check_config(dataclasses.replace(BASE, **parts), layers)


def test_bad_methods_are_refused_before_anything_is_loaded():
    bare = Text(forget=("a",), dictionary="d")
    nothing_held = dataclasses.replace(BASE.text, holdout=0.0)
    refused("did you mean 'npo'", unlearn=Unlearn(method="nppo"))
    refused("beta must be above 0", unlearn=Unlearn(method="npo", beta=0.0))
    refused("it needs 'retain'", unlearn=Unlearn(method="gradient_difference"), text=bare)
    refused("it needs 'retain'", unlearn=Unlearn(method="npo", retain_weight=1.0), text=bare)
    refused("it needs 'answers'", unlearn=Unlearn(method="idk"))
    refused("it needs 'reinforced'", unlearn=Unlearn(method="task_vector"), reinforce=Train(steps=0))
    refused("layer must lie between 0 and 3", unlearn=Unlearn(method="rmu"))
    retained = Unlearn(retain_weight=1.0)
    check_config(dataclasses.replace(BASE, whp=Whp(mode="fused"), unlearn=retained), 4)  # the term is in the same step
    refused("'beta' is no setting of it", unlearn=Unlearn(method="undial", beta=0.1))
    refused("whp.offset=contrast needs text to keep", whp=Whp(offset="contrast"), text=bare)
    refused("reset.share needs text to keep", reset=Reset(share=0.1), text=bare)
    refused("reset.share is a share", reset=Reset(share=1.1))
    bare_reset = {"reset": Reset(share=0.1), "unlearn": Unlearn(method="npo")}
    refused("reset.by=importance needs the reinforced", reinforce=Train(steps=0), **bare_reset)
    refused("kga needs text to keep that no step trains on", unlearn=Unlearn(method="kga"), text=nothing_held)
    refused("kga needs text to keep", unlearn=Unlearn(method="kga", retain_weight=0.0), text=bare)
    refused("would have the baseline teach the target again", reset=Reset(share=0.1, on="all"))
    heal = Reset(share=0.5, on="all", teacher="unlearned")
    refused("would have the baseline teach the target again", reset=heal, unlearn=Unlearn(method="reset_heal"))
    check_config(dataclasses.replace(BASE, reset=heal))
    refused("whp_inference works while a model", reset=Reset(share=0.1), unlearn=Unlearn(method="whp_inference"))
    told = Unlearn(method="prompting", subject="x")
    refused("prompting works while a model answers", reset=Reset(share=0.1, by="random"), unlearn=told)
    refused("noise at share 1 leaves no norm", reset=Reset(share=1.0, by="noise"))
    refused("not for reset.by=noise", reset=Reset(share=0.5, by="noise"), controls=("random_reset",))
    refused("unlearn.reach is a familiarity: set text.prompts", unlearn=Unlearn(reach=0.1))
    refused("whp.forbid=keys is for generic labels", whp=Whp(forbid="keys"), unlearn=Unlearn(method="npo"))
    refused("set it, 0.1 to 0.2", unlearn=Unlearn(method="reset_heal"))
    refused("nothing to compare with", controls=("random_reset",))
    refused("learns nothing: set unlearn.retain_loss=nll", unlearn=Unlearn(method="retain_only", retain_loss="kl"))
    refused("unknown controls \\['nothing'\\]: expected some of", controls=("nothing",))
    refused("offset_context=original is for hard labels", whp=Whp(labels="soft", offset_context="original"))
    for name in METHODS:
        c = Unlearn(method=name, layer=1 if name == "rmu" else None, subject="x" if name == "prompting" else "")
        text = dataclasses.replace(BASE.text, answers="q")
        share = 0.1 if name == "reset_heal" else 0.0
        check_config(dataclasses.replace(BASE, unlearn=c, text=text, reset=Reset(share=share)), 4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["unlearn.method=gradient_difference", "text.retain="], "it needs 'retain', text to keep: set text.retain"),
        (["unlearn.method=npo", "unlearn.beta=0"], "beta must be above 0 (got 0.0): the loss divides by beta"),
        (["unlearn.method=rmu", "unlearn.layer=2"], "layer must lie between 0 and 1 (got 2): the model has 2 layers"),
        (["unlearn.method=dpo", "text.answers="], "it needs 'answers'"),
        (["unlearn.method=npo", "pretrain.steps=0"], "no baseline: give model=DIR"),
        (
            ["unlearn.method=npo", "unlearn.retain_weight=1", "unlearn.settings=beta=2"],
            "beta has a field of its own, unlearn.beta",
        ),
        (["unlearn.settings=alpha=2"], "alpha has a field of its own, whp.alpha"),
        (["reset.share=0.1", "reset.heal.lora.rank=2"], "reset.heal.lora: healing trains every weight"),
        (["sweep.tuning_seeds=2"], "sweep.tuning_seeds lies between 0 and the 1 of sweep.seeds"),
        (
            ["unlearn.method=rmu", "unlearn.layer=1", "unlearn.retain_loss=kl"],
            "the loss of rmu keeps text by a term of its own",
        ),
        (["sweep.attacks=rtt"], "sweep.attacks=rtt needs attack.rtt.rates"),
        (["sweep.attacks=halfway"], "sweep.attacks=halfway needs attack.halfway.rates"),
        (
            ["sweep.most_perplexity=1.02", "eval.relearn_steps="],
            "relearning brings back, and eval.relearn_steps is empty",
        ),
        (["sweep.most_perplexity=1.02", "pretrain.twin=False"], "no twin is made (pretrain.twin)"),
        (["sweep.rtt=True"], "sweep.rtt is a setting of earlier versions; it is now sweep.attacks=rtt"),
        (["eval.relearn_rates=1e-3,1"], "eval.relearn_rates must be above 0 and below 1"),
        (["unlearn.update=layers", "unlearn.retain_weight=1"], "; whp reads labels and retain"),
        (["unlearn.update=layers", "unlearn.method=npo"], "unlearn.update=layers is for cross-entropy on stored"),
        (["reset.share=0.1", "reset.heal.update=layers"], "healing learns from a teacher"),
        (["reset.share=0.1", "reset.heal.batch=0"], "reset.heal.batch must be at least 1"),
        (
            ["reset.share=0.2", "unlearn.learning_rate=1e-6", "reinforce.learning_rate=3e-6"],
            "reset.heal.learning_rate (0.003) is over 100 times",
        ),
    ],
)
def test_the_command_refuses_bad_methods_before_anything_is_loaded(world, tmp_path, capsys, changes, said):
    assert main(["run", str(world / "world.py"), f"run.dir={tmp_path}/run", *changes]) == 2
    assert said in capsys.readouterr().err and not list((tmp_path / "run").glob("[!c]*"))


# ---- relearning


# ---- the table


def test_every_method_is_described_and_its_defaults_pass():
    for name, m in METHODS.items():
        needs = needs_of(m, m.defaults)
        assert m.name == name and m.paper and m.summary and m.card and needs <= set(NEEDS)
        assert all(s.why for s in m.settings.values() if not isinstance(s.default, str))
        check_method(name, needs, **({"subject": "the saga"} if name == "prompting" else {}))
        for need in needs:
            with pytest.raises(InputError, match=f"it needs '{need}'"):
                check_method(name, needs - {need}, **({"subject": "x"} if name == "prompting" else {}))
    assert {name for name, m in METHODS.items() if not m.trains} == {
        "task_vector",
        "whp_inference",
        "prompting",
        "reset_heal",
    }


def test_the_table_of_docs_methods_is_that_of_the_records():
    lines = (ROOT / "docs" / "methods.md").read_text().splitlines()
    rows = [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in lines if line.startswith("| `")]
    found = {
        name.strip("`"): (what, settings, paper) for name, what, _, settings, paper in (r for r in rows if len(r) == 5)
    }
    said = {
        name: ", ".join(key if isinstance(value, str) else f"{key} {value:g}" for key, value in m.defaults.items())
        for name, m in METHODS.items()
    }
    assert found == {name: (m.summary, said[name], m.paper) for name, m in METHODS.items()}


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("npo", {"beta": 0}, r"beta must be above 0 \(got 0\): the loss divides by beta"),
        ("npo", {"beta": math.nan}, "beta must be a number"),
        ("npo", {"beta": "0.1"}, "beta must be a number"),
        ("npo", {"betta": 1.0}, "'betta' is no setting of it; did you mean 'beta'"),
        ("npo", {"retain_weight": 1.0}, "it needs 'retain', text to keep"),
        ("npo", {"retain_weight": -1.0}, "retain_weight must be at least 0"),
        ("whp_averaged", {"alpha": 5.0}, "'alpha' is no setting of it"),
        ("whp_averaged", {"translations": 1.5}, "translations must be a whole number"),
        ("rmu", {"layer": 4}, r"layer must lie between 0 and 3 \(got 4\): the model has 4 layers"),
        ("rmu", {"layer": -1}, "layer must be at least 0"),
        ("prompting", {}, "subject must be a text"),
        ("nppo", {}, "no method 'nppo'; did you mean 'npo'"),
    ],
)
def test_a_method_that_cannot_run_is_refused_with_the_reason(name, settings, said):
    have = {"reference", "dictionary"} | ({"retain"} if name == "rmu" else set())
    with pytest.raises(InputError, match=said):
        check_method(name, have, layers=4, **settings)


def test_everything_wrong_is_said_at_once():
    with pytest.raises(InputError) as error:
        check_method("rmu", set(), layers=4, layer=9, steering=0.0)
    assert all(s in str(error.value) for s in ("layer", "steering", "'retain'", "'reference'"))
