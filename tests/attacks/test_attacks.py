"""The registry: the attacks of a plain run, refusals, and that one record is all an attack needs."""

import dataclasses
import json

import pytest
from pydantic import ValidationError

from jaxunlearn import attacks
from jaxunlearn.attacks import ATTACKS, about, chosen, everything, form
from jaxunlearn.attacks.base import STRESS, Attack, NotKept, Target
from jaxunlearn.cli import main
from jaxunlearn.config import Config, as_dict, load_config, override
from jaxunlearn.errors import Diverged, InputError
from jaxunlearn.report.page import page
from jaxunlearn.report.schema import EACH, MODEL, Figure, Graded, Report
from jaxunlearn.stages import run_stages

BASE = Config(name="x")
E = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10}
MAKING = ("pretrain", "evaluate", "attack")
SMALL = ["pretrain.steps=2", "pretrain.twin=False"]


def recall(target: Target) -> dict:
    """Count the letters of a model's name: as good an attack as any, for a test."""
    return {name: {"hard": E | {"value": len(name) / 10}, "easy": E} for name in target.main()}


TOY = Attack(
    name="toy",
    title="A toy",
    tries="Ask the model for its name.",
    control="Nothing.",
    run=recall,
    form=dict[str, dict[str, Figure]],
    graded=(Graded(title="recall of its name", at=["attacks", "toy", MODEL, EACH]),),
)


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(ATTACKS, "toy", TOY)


@pytest.fixture(scope="module")
def config(world, tmp_path_factory):
    """The small world after two steps of pretraining, measured: what attacks find there costs little."""
    made = load_config(str(world / "world.py"), [f"run.dir={tmp_path_factory.mktemp('attacks')}/run", *SMALL])
    run_stages(made, MAKING[:2])
    return made


def test_one_record_is_all_that_an_attack_needs(toy, config):
    report = run_stages(override(config, ["attack.kinds=toy"]), MAKING)
    assert report["attacks"] == {"toy": {"baseline": {"hard": E | {"value": 0.8}, "easy": E}}, "unmeasured": []}
    form().model_validate(report)
    html = (config.directory / "report.html").read_text()
    attacks = html.partition('<h3 id="tried">')[2]
    assert "Ask the model for its name." in attacks.partition("</table>")[0]  # the list of what was measured
    appendix = attacks.partition('<summary class="attack">A toy</summary>')[2].partition("</table>")[0]
    assert "Hard" in appendix and "0.800" in appendix
    assert "recall of its name (hard)" in html  # in the verdict, the worst of its conditions
    missing = html.partition('id="unmeasured"')[2].partition("</ul>")[0]
    assert "rounding the weights" in missing and "a toy" not in missing
    broken = json.loads(json.dumps(report))
    broken["attacks"]["toy"]["baseline"]["hard"] = "much"
    Report.model_validate(broken)
    with pytest.raises(ValidationError, match=r"attacks\.toy\.baseline\.hard"):
        form().model_validate(broken)


def test_what_cannot_be_tried_is_said_and_not_run(monkeypatch, toy, config, capsys):
    monkeypatch.setitem(ATTACKS, "toy", dataclasses.replace(TOY, check=lambda run: "no reason"))
    report = run_stages(override(config, ["attack.kinds=toy"]), MAKING)
    assert report["attacks"] == {"unmeasured": ["A toy: no reason"]}
    assert "not measured: A toy: no reason" in capsys.readouterr().err
    assert "A toy: no reason" in page(report) and '<h3 id="tried">' not in page(report)


def test_a_report_holds_what_was_measured_before_and_names_what_is_of_other_settings(monkeypatch, config, capsys):
    made = []

    def count(depends):
        def run(target):
            found = target.kept("toy", "baseline", depends(), lambda: made.append("toy") or E)
            target.add("baseline", "toy", {"found": found})
            target.pair("baseline", "a toy's", [[0.5, 1.0]])
            return {"baseline": {"hard": found}}

        return run

    monkeypatch.setitem(ATTACKS, "toy", dataclasses.replace(TOY, run=count(lambda: len(setting))))
    monkeypatch.setitem(ATTACKS, "other", dataclasses.replace(TOY, name="other", title="Another"))
    setting = [1]
    first = run_stages(override(config, ["attack.kinds=toy"]), MAKING)
    for stages in (MAKING, MAKING[:2]):  # another attack; none at all
        report = run_stages(override(config, ["attack.kinds=other"]), stages)
        assert report["attacks"].keys() == {"toy", "other", "unmeasured"} and report["attacks"]["unmeasured"] == []
        assert report["attacks"]["toy"] == first["attacks"]["toy"] and report["models"]["baseline"]["toy"]["found"] == E
        measured = {about["name"] for about in report["attack_about"] if about["measured"]}
        assert measured == {"toy", "other"} and made == ["toy"]
    setting.append(2)
    report = run_stages(override(config, ["attack.kinds=other"]), MAKING)
    assert report["attacks"].keys() == {"other", "unmeasured"} and made == ["toy"]
    says = "A toy: measured of other models or settings; attack.kinds=toy does it again"
    assert report["attacks"]["unmeasured"] == [says] and says in capsys.readouterr().err


def test_what_is_kept_stays_where_the_models_that_only_hide_are_measured_by_other_settings(monkeypatch, config, capsys):
    def hidden(target):
        target.folders[STRESS] = target.folders["baseline"]
        target.models[STRESS] = {}
        if not target.makes:
            raise NotKept("measure")

    def recalled(target):
        return {name: {"hard": E, "easy": E} for name in target.main("baseline", STRESS)}

    toy = dataclasses.replace(TOY, run=recalled)
    monkeypatch.setitem(ATTACKS, "toy", toy)
    monkeypatch.setitem(ATTACKS, "other", dataclasses.replace(TOY, name="other", title="Another"))
    monkeypatch.setattr(attacks, "RTT", toy)
    monkeypatch.setattr(attacks, "add_hidden", hidden)
    first = run_stages(override(config, ["attack.kinds=toy"]), MAKING)
    assert first["attacks"]["toy"].keys() == {"baseline", STRESS}
    report = run_stages(override(config, ["attack.kinds=other"]), MAKING)
    assert report["attacks"]["toy"].keys() == {"baseline"} and STRESS not in report["models"]
    says = "models that only hide: measured of other models or settings; attack.kinds=toy does it again"
    assert report["attacks"]["unmeasured"] == [says] and says in capsys.readouterr().err


def test_an_attack_that_breaks_the_model_is_said_and_the_others_go_on(monkeypatch, toy, config, capsys):
    def breaks(target):
        raise Diverged("the loss is nan")

    monkeypatch.setitem(ATTACKS, "breaks", dataclasses.replace(TOY, name="breaks", title="One that breaks", run=breaks))
    report = run_stages(override(config, ["attack.kinds=breaks,toy"]), MAKING)
    assert report["attacks"].keys() == {"toy", "unmeasured"}
    assert report["attacks"]["unmeasured"] == ["One that breaks: the loss is nan"]
    assert "not measured: One that breaks: the loss is nan" in capsys.readouterr().err


def test_a_run_does_the_cheap_ones_and_the_command_all():
    assert [a.name for a in chosen(BASE)] == ["relearn", "quantise", "probes"]
    assert everything(BASE).attack.kinds == tuple(ATTACKS) and all(name == a.name for name, a in ATTACKS.items())
    one = override(BASE, ["attack.kinds=rtt", "attack.probes.samples=3", "unlearn.learning_rate=1e-3"])
    few = everything(one, quick=True).attack
    assert few.kinds == ("rtt",) and few.rtt.rates == (1e-3, 4e-3)
    assert (few.probes.samples, few.probes.blind, few.context.passages) == (3, 24, 2)
    assert everything(one).attack == one.attack


def test_unknown_attacks_are_refused():
    with pytest.raises(InputError, match=r"unknown attacks \['rt'\]: attack.kinds are some of \['relearn'"):
        chosen(override(BASE, ["attack.kinds=rt,probes"]))


def test_every_record_tells_the_report_of_itself():
    for one, told in zip(ATTACKS.values(), about(("rtt",)), strict=True):
        assert one.title and one.tries.endswith(".") and one.control.endswith(".")
        assert told["name"] == one.name and told["measured"] == (one.name == "rtt")
        assert told["at"][0] in Report.model_fields
    assert len({a.title for a in ATTACKS.values()}) == len(ATTACKS)
    assert not any("measured" in told for told in about())  # of a report of an earlier version the page looks itself


def test_a_report_of_an_earlier_version_is_given_its_words(tmp_path):
    models = {n: {"familiarity": {"probability": E | {"value": v}}} for n, v in (("baseline", 0.9), ("unlearned", 0.2))}
    old = {"models": models, "attacks": {"quantise": {n: {"int4": {"familiarity": E}} for n in models}}}
    (tmp_path / "report.json").write_text(json.dumps(old))
    assert "Quantise" in page(old)  # the page alone has the key for a title
    assert main(["report", str(tmp_path)]) == 0
    html = (tmp_path / "report.html").read_text()
    assert "Rounding the weights" in html and "familiarity after rounding (int4)" in html
    assert "the text in the prompt" in html.partition('id="unmeasured"')[2].partition("</ul>")[0]


def test_the_form_knows_the_findings_of_each_attack():
    known = form().model_fields["attacks"].annotation
    assert known is not None
    known.model_validate({"latent": {"twin": {"layers": [E], "chance": 0.25}}, "unmeasured": []})
    for wrong in (
        {"latent": {"twin": {"layers": [0.5], "chance": 0.25}}},
        {"quantise": {"twin": {"int8": 1}}},
        {"x": 1},
    ):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            known.model_validate(wrong)


def test_quick_attacks_leave_what_was_measured_in_full(capsys):
    full = load_config("universe")
    named = [one | {"measured": one["name"] in ("probes", "rtt")} for one in about([])]
    report = {"attack_about": named, "config": as_dict(full)}
    made = everything(full, quick=True, report=report).attack
    assert (made.probes, made.rtt) == (full.attack.probes, full.attack.rtt)  # measured with as many samples
    assert made.context == everything(full, quick=True).attack.context != full.attack.context
    assert "measured in full before, and left so by --quick: " in capsys.readouterr().err
    quick = everything(full, quick=True)
    again = everything(full, quick=True, report={"attack_about": named, "config": as_dict(quick)})
    assert again == quick != full  # what the report has is of few samples itself
    assert everything(full, report=report).attack.probes == full.attack.probes
