"""What report.json is made of that no whole run shows: items of attacks that have a curve."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from jaxunlearn.config import Config, Pretrain, Reset, Run, Text, Unlearn
from jaxunlearn.evals.differences import differences
from jaxunlearn.report.findings import RELEARNED
from jaxunlearn.report.verdict import verdicts
from jaxunlearn.run import Run as Made
from jaxunlearn.run.directory import RunDirectory
from jaxunlearn.stages.summary import by_item, costs, without_places


def test_relearning_is_compared_by_prompt_and_its_curve_holds_no_items():
    known = {"baseline": [0.9] * 60, "unlearned": [0.0] * 60, "twin": [0.0] * 60}
    models = {name: {"items": {"familiarity, next word": items}} for name, items in known.items()}
    ends = {"unlearned": [0.1] * 30 + [0.9] * 30, "twin": [0.1] * 60, "unlearned, unrelated text": [0.0] * 60}
    curves = {
        name: [
            {"step": 0, "familiarity": 0.0},
            {"step": 5, "familiarity": round(sum(of) / 60, 9), "rate": 1e-3, "items": of},
        ]
        for name, of in ends.items()
    }
    attacked = {"relearn": curves, "items": {"twin": {"RTT accuracy": {"items": [1, 0], "floor": 0.3}}}}
    relearned, items = by_item(attacked, models)
    assert relearned["twin"] == [{"step": 0, "familiarity": 0.0}, {"step": 5, "familiarity": 0.1, "rate": 1e-3}]
    assert items["baseline"] == {RELEARNED: {"items": known["baseline"]}} and set(items["twin"]) == {
        "RTT accuracy", RELEARNED
    }  # fmt: skip
    few = {"step": 5, "familiarity": 0.15, "items": [0.1, 0.2], "asked": [3, 5]}  # the blocks stated the others
    shares = {"twin": [few], "twin, 1% of the text (2 blocks, 3 epochs)": [few | {"asked": [0, 1]}]}
    models["baseline"]["items"]["familiarity, next word"] = [n / 10 for n in range(6)]
    relearned, some = by_item({"relearn": shares}, models)
    assert some == {n: {RELEARNED: {"items": of}} for n, of in (("twin", [0.1, 0.2]), ("baseline", [0.3, 0.5]))}
    assert all(rows == [{"step": 5, "familiarity": 0.15}] for rows in relearned.values())
    falls = [{"step": 0, "familiarity": 0.4, "items": [0.5, 0.3]}, few]  # the strongest step counts, not the last
    assert by_item({"relearn": {"twin": falls}}, models)[1] == some | {"twin": {RELEARNED: {"items": [0.5, 0.3]}}}
    models["baseline"]["items"]["familiarity, next word"] = known["baseline"]
    relearned, items = by_item(attacked, models)
    assert "items" in curves["twin"][-1]  # what is kept on disk stays whole
    found = {(d["measure"], d["to"]): d for d in differences(models, items) if d["scale"] == "share"}
    assert round(found[RELEARNED, "unlearned"]["value"], 6) == 0.5 and found[RELEARNED, "unlearned"]["n"] == 60
    for name, of in known.items():
        value = sum(of) / 60
        near = {"value": value, "low": max(value - 0.02, 0.0), "high": value + 0.02, "n": 60}
        models[name]["familiarity"] = {"probability": near}
    report = {"models": models, "relearn": relearned, "differences": differences(models, items)}
    assert verdicts(report)["unlearned"][2].facts[0].note.startswith("50% back (")
    assert by_item({}, models) == ({}, {})


def test_a_report_that_is_shared_names_no_folder_of_the_machine_that_made_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {
        "text": {"forget": [f"{tmp_path}/texts/a.txt", "/home/someone/secret/b.txt", "texts/c.txt"]},
        "tfds": "tfds:mine/train?field=text&data_dir=/home/someone/data", "model": "owner/name", "seed": 1,
        "run": {"dir": "~/runs/mine", "track": None},
    }  # fmt: skip
    assert without_places(given) == {
        "text": {"forget": [str(Path("texts/a.txt")), "b.txt", "texts/c.txt"]},
        "tfds": "tfds:mine/train?field=text&data_dir=data", "model": "owner/name", "seed": 1,
        "run": {"dir": "mine", "track": None},
    }  # fmt: skip


SECONDS = {  # powers of two: a sum tells its parts
    "reinforce": 1, "label": 2, "unlearn": 4, "heal": 8, "heal_random_reset": 16, "dictionary_alone": 32,
    "retain_only": 64, "baseline": 128,
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "reset", "spent"),
    [
        ("npo", {}, {"unlearned": 4, "dictionary alone (alpha 0)": 1 + 2 + 32}),
        ("whp", {}, {"unlearned": 1 + 2 + 4, "dictionary alone (alpha 0)": 1 + 2 + 32}),
        (
            "npo",
            {"share": 0.1, "by": "importance"},
            {"unlearned": 1 + 4 + 8, "dictionary alone (alpha 0)": 1 + 2 + 32, "weights reset at random": 4 + 16},
        ),
        (
            "reset_heal",
            {"share": 0.1, "by": "fisher"},
            {"unlearned": 4 + 8, "dictionary alone (alpha 0)": 1 + 2 + 32, "weights reset at random": 4 + 16},
        ),
    ],
)
def test_a_model_took_the_seconds_of_the_stages_that_it_needs(tmp_path, method, reset, spent):
    names = ("dictionary_alone", "retain_only", *(["random_reset"] if reset else []))
    text = Text(forget=("a",), retain=("b",), dictionary="d")
    config = Config(
        name="x", model="m", text=text, unlearn=Unlearn(steps=1, method=method), reset=Reset(**reset),
        controls=names, run=Run(dir=str(tmp_path / "run")), pretrain=Pretrain(steps=0),
    )  # fmt: skip
    run = Made(config, RunDirectory(config), SimpleNamespace(forget=SimpleNamespace(tokens_NT=np.zeros((8, 4)))))
    for stage, seconds in SECONDS.items():
        run.folder.record(stage, event="seconds", seconds=float(seconds))
    for folder in ("unlearned", *(f"controls/{name}" for name in names)):
        (run / folder).mkdir(parents=True)
    found = {name: of["seconds"] for name, of in costs(run).items()}
    assert found == {"baseline": 128, "retain text alone": 64} | spent
