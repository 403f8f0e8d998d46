"""Repair: it teaches from its own text, says when that text names the target, and what came back."""

import json

from support.command import cli
from support.world import PLAIN_NAMES, PLAIN_PLACES, PLAIN_THINGS, sentences

from jaxunlearn.cli import main
from jaxunlearn.report.findings import NEXT_WORD
from jaxunlearn.stages.repair import verdict


def measured(value, items):
    leaks = {"explicit": {"value": 0.0 if value < 0.2 else 0.1}}
    return {"familiarity": {"probability": {"value": value}}, "leaks": leaks, "items": {NEXT_WORD: items}}


def test_the_verdict_names_what_came_back_beyond_the_intervals():
    before = measured(0.1, [0.1] * 40)
    assert verdict(before, measured(0.3, [0.3] * 40)).endswith("leaks 0 -> 0.1; the repair brought back familiarity")
    said = verdict(before, before)  # 40 prompts that agree do not show that nothing can have come back
    assert "no rise is shown, up to 0.0" in said and said.endswith(" of familiarity")
    assert "no rise is shown, up to 0.88" in verdict(measured(0.3, [0.3] * 3), measured(0.3, [0.3] * 3))
    assert verdict(measured(0.3, [0.3]), measured(0.3, [0.3])).endswith("too few prompts to judge by")


def test_a_run_is_repaired_and_measured_again(world, tmp_path, capsys):
    run, text = tmp_path / "run", tmp_path / "keep.txt"
    text.write_text(sentences(PLAIN_NAMES, PLAIN_PLACES, PLAIN_THINGS, 200, 7))
    given = [str(world / "world.py"), f"run.dir={run}", "pretrain.twin=False", "eval.relearn_steps="]
    given += ["unlearn.learning_rate=3e-2", "repair.batch=8", "repair.learning_rate=3e-3"]
    assert main(["run", *given, "repair.steps=4"]) == 2 and not (run / "baseline").exists()
    assert "repair.steps needs repair.text" in capsys.readouterr().err
    assert cli("run", *given)[0] == 0 and not (run / "repaired").exists()
    code, _, said = cli("run", *given, "repair.steps=6", "repair.lora.rank=4", f"repair.text={text}")  # later, too
    assert code == 0
    assert "[repair] 6 steps" in said and "[unlearn]" not in said.split("[repair]")[1] and "anchored" not in said
    report = json.loads((run / "report.json").read_text())
    before, after = (report["models"][n] for n in ("unlearned", "repaired"))
    assert after["perplexity"]["retain"]["value"] < before["perplexity"]["retain"]["value"]
    assert after["familiarity"]["probability"]["value"] < 0.2
    assert any(note.startswith("repair: familiarity") for note in report["notes"])
    assert "repaired" in report["leak_probes"][0]["texts"] and "repair" in report["seconds"]
    curve = [json.loads(x) for x in (run / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in curve if r["stage"] == "repair" and r.get("event") == "eval"] == [0, 4, 6]


def test_a_text_that_names_the_target_is_said_before_the_work(world, tmp_path, capsys):
    given = [f"run.dir={tmp_path / 'run'}", "pretrain.steps=2", "pretrain.twin=False", "repair.steps=2"]
    assert main(["pretrain", str(world / "world.py"), *given, f"repair.text={world / 'forget.txt'}"]) == 0
    assert "anchored terms (" in capsys.readouterr().err.split("[baseline]")[0]
