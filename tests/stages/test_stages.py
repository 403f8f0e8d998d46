"""A whole run on a small world: every stage, its files, killed and resumed, and what bad input gets."""

import json
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.command import cli, env
from support.notebooks import run_notebook
from support.paths import ROOT
from support.world import NAMES, PLACES, PLAIN_NAMES, PLAIN_PLACES, PLAIN_THINGS, THINGS

from jaxunlearn.attacks import form
from jaxunlearn.certificate.rules import MEANING as RULES
from jaxunlearn.cli import main
from jaxunlearn.estimates import number
from jaxunlearn.parallel import preemption
from jaxunlearn.run.resume import kept

LINES = {
    "baseline 100/150": signal.SIGKILL,
    "reinforce 4/8": signal.SIGTERM,
    "label 32/": signal.SIGKILL,
    "unlearn 4/8": signal.SIGKILL,
    "twin 20/": signal.SIGTERM,
    "[attack]": signal.SIGKILL,
}
pytestmark = pytest.mark.xdist_group("run")  # one worker: the runs that its tests share are made once


def plain(figures):
    """Return {name: a number} of figures and counts; intervals as further numbers."""
    ends = ("value", "low", "high", "n")
    flat = {(n, end): f.get(end) for n, f in figures.items() if isinstance(f, dict) for end in ends}
    return {k: v for k, v in flat.items() if v is not None} | {n: f for n, f in figures.items() if type(f) is int}


def weights(folder):
    return {name: array.tobytes() for name, array in load_file(folder / "model.safetensors").items()}


@pytest.fixture(scope="module")
def finished(world):
    """The run directory of an undisturbed run, with every control."""
    code, _, err = cli("run", world / "world.py", "--ablate")
    assert code == 0, err
    assert "alpha 5: " in err and "of the labels differ from the text; before its terms " in err
    return world / "run"


def test_a_run_leaves_what_the_design_names(finished):
    for name in ("baseline", "twin", "reinforced", "unlearned", "unlearned_last", "controls/own_argmax"):
        assert (finished / name / "model.safetensors").is_file(), name
        assert (finished / name / "tokenizer.json").is_file(), name
    report = json.loads((finished / "report.json").read_text())
    assert set(report["models"]) == {
        "baseline", "unlearned", "twin", "reinforced", "own argmax labels", "dictionary alone (alpha 0)",
        "reinforcement alone", "dictionary built offline", "retain text alone",
    }  # fmt: skip
    for entry in report["models"].values():
        for figure in (
            entry["familiarity"]["probability"],
            entry["familiarity"]["completion"],
            entry["perplexity"]["retain"],
            entry["perplexity"]["retain_fitted"],
            entry["accuracy"]["general"],
            entry["leaks"]["explicit"],
        ):
            if figure["n"] > 1:
                assert set(figure) == {"value", "low", "high", "n"}
                assert figure["low"] <= figure["value"] <= figure["high"]
        assert entry["accuracy"]["general"] | {"value": 1.0} == {
            "value": 1.0, "low": None, "high": None, "n": 1, "note": "one item only: no interval can be given"
        }  # fmt: skip
    assert [p["step"] for p in report["curve"]] == [0, 4, 8]
    assert [p["step"] for p in report["relearn"]["unlearned"]] == [0, 2]
    assert report["relearn"]["unlearned"][1]["rate"] == 1e-2  # the attacker's better one of two
    assert set(report["seconds"]) >= {"baseline", "twin", "reinforce", "label", "unlearn", "evaluate", "attack"}
    assert report["manifest"]["versions"]["jax"] and len(report["manifest"]["hashes"]["text.forget"]) == 64
    assert 0 <= report["labels"]["named_share"] < 0.2 < report["labels"]["changed_share"]
    form().model_validate(report)
    page = (finished / "report.html").read_text()
    assert "<svg" in page and "http://" not in page.replace("http://www.w3.org", "") and "Zara" in page


def test_the_small_world_is_forgotten_and_the_rest_is_kept(finished):
    models = json.loads((finished / "report.json").read_text())["models"]
    before, after, twin = (models[n] for n in ("baseline", "unlearned", "twin"))
    assert before["familiarity"]["probability"]["value"] > 0.8 and twin["familiarity"]["probability"]["value"] < 0.05
    assert after["familiarity"]["probability"]["value"] < before["familiarity"]["probability"]["value"] / 4
    assert after["accuracy"]["general"]["value"] == before["accuracy"]["general"]["value"] == 1
    assert models["own argmax labels"]["familiarity"]["probability"]["value"] > 0.8


def test_labels_are_stored_with_their_provenance(finished):
    folder = finished / "labels" / "translated"
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["complete"] and provenance["alphas"] == [5.0, 0.0, 10.0]
    assert provenance["whp"]["seen_translation"] == "mean" and len(provenance["baseline"]) == 64
    five, zero = (np.load(folder / f"alpha_{a}.npy") for a in (5, 0))
    assert five.dtype == np.int32 and five.shape == tuple(provenance["shape"])
    assert (five != zero).any() and ((five == -100) == (zero == -100)).all()


def test_running_again_does_nothing_and_says_the_same(finished, world, capsys):
    before = (finished / "unlearned" / "model.safetensors").stat().st_mtime_ns
    report = json.loads((finished / "report.json").read_text())
    assert main(["run", str(world / "world.py"), "--ablate"]) == 0
    said = capsys.readouterr().err
    assert "[unlearn]" not in said and "[evaluate]" not in said
    assert (finished / "unlearned" / "model.safetensors").stat().st_mtime_ns == before
    assert json.loads((finished / "report.json").read_text())["models"] == report["models"]


def test_the_notebook_goes_on_from_a_run_and_asks_its_models(finished, world, tmp_path, monkeypatch, capsys):
    """examples/quickstart.ipynb, cell by cell in this process: with a kernel it would take ten seconds more."""
    run = shutil.copytree(finished, tmp_path / "run", symlinks=True)
    given = {"CONFIG": str(world / "world.py"), "SETTINGS": [f"run.dir={run}", "controls="], "PROMPT": None}
    run_notebook(ROOT / "examples" / "quickstart.ipynb", given)
    said = capsys.readouterr().out
    known = json.loads((run / "report.json").read_text())["models"]["unlearned"]["familiarity"]["probability"]["value"]
    assert f"unlearned  familiarity {known:.4f} (" in said and f"{run}/report.html" in said
    assert re.search(r"baseline +\d\.\d\d nats a token of the prompt, then: \w+", said) and "2 steps: " in said
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL)
    assert len(program.splitlines()) <= 15  # the page's example, which is compiled by now
    run.parent.joinpath("runs").mkdir()
    run.rename(run.parent / "runs" / "universe")
    monkeypatch.chdir(run.parent)
    exec(compile(program, "docs/api.md", "exec"), {})
    assert re.search(r"^Once upon a time.*\n\{'tokens': 8, 'nll': [\d.]+\}\n$", capsys.readouterr().out)


def test_a_model_measured_without_its_run_has_the_figures_of_the_run(finished, world, tmp_path, capsys):
    out = tmp_path / "out" / "found.json"
    settings = ["eval.batch=8", "eval.blocks=8", "eval.completions=8", "eval.new_tokens=8"]
    asked = ["evaluate", "--model", str(finished / "unlearned"), "--prompts", str(world / "prompts.json"), "--out"]
    assert main([*asked, str(out), *settings]) == 0
    report = json.loads(out.read_text())
    form().model_validate(report)
    mine = report["models"]["unlearned"]
    of_run = kept(finished / "evals" / "unlearned.json")
    for group in ("familiarity", "accuracy", "leaks", "grades", "writing"):
        assert mine[group] and plain(mine[group]) == pytest.approx(plain(of_run[group]), rel=1e-4), group
    shown = capsys.readouterr().out
    known = number(of_run["familiarity"]["probability"]["value"])
    assert re.search(rf"^Familiarity, next word +{re.escape(known)} +\S+ to \S+ +2$", shown, re.MULTILINE)
    assert main([*asked, str(out), *settings, "seed=1"]) == 0  # its own file is written again
    out.write_text("mine")
    assert main([*asked, str(out), *settings]) == 2 and "did not write there" in capsys.readouterr().err


def test_stopped_in_every_stage_and_resumed_gives_the_same_weights_bit_for_bit(finished, world, tmp_path):
    run = tmp_path / "run"
    asked = ["run", str(world / "world.py"), f"run.dir={run}", "controls=own_argmax"]
    for line, by in LINES.items():
        process = subprocess.Popen(
            [sys.executable, "-m", "jaxunlearn", *asked],
            stderr=subprocess.PIPE, text=True, env=env(),
        )  # fmt: skip
        for said in process.stderr:
            if line in said:
                process.send_signal(by)
                break
        rest = process.communicate()[1]
        assert process.returncode == (preemption.CODE if by == signal.SIGTERM else -by), f"never said {line!r}"
        assert by == signal.SIGKILL or "the same command goes on" in rest
    code, _, err = cli(*asked)
    assert code == 0, err
    for name in ("baseline", "twin", "reinforced", "unlearned", "unlearned_last", "controls/own_argmax"):
        assert weights(run / name) == weights(finished / name), name
    a, b = (json.loads((d / "report.json").read_text()) for d in (run, finished))
    assert len(a["models"]) == 5 and a["curve"] == b["curve"]  # the undisturbed run has more controls
    for part in ("models", "relearn"):
        assert a[part] and a[part] == {name: b[part][name] for name in a[part]}


def test_a_run_of_a_given_model_needs_no_text_to_keep(finished, world, tmp_path, capsys):
    given = ("pretrain.steps=0", f"model={finished / 'baseline'}", "text.retain=", "attack.kinds=relearn", "controls=")
    assert main(["run", str(world / "world.py"), f"run.dir={tmp_path / 'run'}", *given]) == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["models"].keys() == {"baseline", "unlearned", "reinforced"} and report["relearn"]["unlearned"]
    assert "perplexity" in report["models"]["unlearned"] and "no twin" not in capsys.readouterr().out


def test_fused_mode_reaches_the_same_model(finished, world, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("baseline", "twin", "reinforced"):
        shutil.copytree(finished / name, run / name)
    code, _, err = cli("unlearn", world / "world.py", f"run.dir={run}", "whp.mode=fused")
    assert code == 0, err
    assert not (run / "labels").exists() and "labelled on the fly" in err
    a, b = load_file(run / "unlearned" / "model.safetensors"), load_file(finished / "unlearned" / "model.safetensors")
    for name in a:
        np.testing.assert_allclose(a[name], b[name], atol=1e-5, err_msg=name)


def test_another_configuration_or_changed_text_is_refused(finished, world, capsys):
    assert main(["run", str(world / "world.py"), "whp.alpha=3"]) == 2
    assert "whp.alpha: 5.0 -> 3.0" in capsys.readouterr().err
    text = (world / "forget.txt").read_text()
    (world / "forget.txt").write_text(text + " Zara took the rune .")
    try:
        assert main(["run", str(world / "world.py")]) == 2
        assert "text.forget" in capsys.readouterr().err
    finally:
        (world / "forget.txt").write_text(text)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("unlearned/model.safetensors", "model.safetensors is not what was saved there: its SHA-256 is another; put"),
        ("baseline/tokenizer.json", "tokenizer.json is not what was saved there"),
        ("metrics.jsonl", "metrics.jsonl is damaged: line"),
    ],
)
def test_a_damaged_file_of_a_run_is_named(finished, world, capsys, name, says):
    whole = (finished / name).read_bytes()
    place = len(whole) // 2
    (finished / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    try:
        assert main(["run", str(world / "world.py"), "--ablate"]) == 1 and says in capsys.readouterr().err
    finally:
        (finished / name).write_bytes(whole)


def test_a_run_of_a_version_with_fewer_fields_goes_on(finished, world):
    path = finished / "config.json"
    whole = json.loads(path.read_text())
    old = {key: value for key, value in whole.items() if key != "remat"}
    old["unlearn"] = {key: value for key, value in whole["unlearn"].items() if key != "optimiser"}
    path.write_text(json.dumps(old))
    assert main(["run", str(world / "world.py")]) == 0
    now = json.loads(path.read_text())
    assert now.keys() == whole.keys() and (now["remat"], now["unlearn"]) == (whole["remat"], whole["unlearn"])


# ---- the other commands, on the run's models


def test_labels_show_one_block_side_by_side(finished, world, capsys):
    assert main(["labels", "show", str(world / "world.py"), "--block", "2", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    labels = np.load(finished / "labels" / "translated" / "alpha_5.npy")[2]
    assert shown["labels"] == labels[: len(shown["tokens"])].tolist() and shown["alpha"] == 5
    plain = dict(zip(NAMES + PLACES + THINGS, PLAIN_NAMES + PLAIN_PLACES + PLAIN_THINGS, strict=True))
    for token, place in zip(shown["tokens"], shown["map"], strict=True):
        assert shown["translation"][place] == plain.get(token, token)
    assert main(["labels", "show", str(world / "world.py")]) == 0 and "translation" in capsys.readouterr().out
    assert main(["labels", "show", str(world / "world.py"), "--block", "9999"]) == 2


def test_score_counts_every_token_once(finished, world, capsys):
    assert main(["score", "--model", str(finished / "unlearned"), "--text", str(world / "retain.txt"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tokens"] == len((world / "retain.txt").read_text().split())
    assert 0 < found["nll"] < np.log(32)


def test_generate_is_greedy_seeded_and_prints_one_object(finished, capsys):
    common = [
        "generate",
        "--model",
        str(finished / "baseline"),
        "--prompt",
        "Zara went to",
        "--max-new-tokens",
        "5",
        "--json",
    ]
    texts = []
    for extra in ([], [], ["--temperature", "1", "--seed", "1"], ["--temperature", "1", "--seed", "1"]):
        assert main(common + extra) == 0
        texts.append(json.loads(capsys.readouterr().out)["completions"][0]["text"])
    assert texts[0] == texts[1] and texts[2] == texts[3]
    assert texts[0].split()[0] in ("Orm", "Drall")
    with pytest.raises(SystemExit, match="2"):
        main([*common[:-3], "--max-new-tokens", "0"])


def test_export_says_what_rounding_loses(finished, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert main(["export", "--model", str(finished / "unlearned"), "--out", out, "--dtype", "bfloat16"]) == 0
    assert "of the edit" in capsys.readouterr().out
    assert main(["export", "--model", str(finished / "unlearned"), "--out", out]) == 0
    assert weights(tmp_path / "out") == weights(finished / "unlearned")


def test_the_report_is_written_again_byte_for_byte(finished, capsys):
    before = (finished / "report.html").read_bytes()
    (finished / "report.html").unlink()
    assert main(["report", str(finished)]) == 0
    assert (finished / "report.html").read_bytes() == before and "unlearned" in capsys.readouterr().out
    assert main(["report", str(finished / "labels")]) == 2


# ---- attacks


FEW = ("attack.rtt.epochs=2", "attack.rtt.splits=2", "attack.rtt.batch=8", "attack.ways.of=retain")


def test_every_attack_runs_on_a_finished_run_is_reported_and_never_done_twice(finished, world):
    before = {n: weights(finished / n) for n in ("baseline", "unlearned", "twin")}
    code, _, err = cli("attack", world / "world.py", "--quick", *FEW)
    assert code == 0, err
    report = json.loads((finished / "report.json").read_text())
    main = ("baseline", "unlearned", "twin")
    for name in main:
        entry = report["models"][name]
        for group, key in (("leaks", "explicit"), ("leaks", "near"), ("rtt", "accuracy"), ("rtt", "recovery")):
            figure = entry[group][key]
            assert figure["n"] == 1 or figure["low"] <= figure["value"] <= figure["high"], (name, group, key)
        assert entry["leaks"]["completions"]["n"] == 2  # the rate on completion prompts keeps a name of its own
        assert set(report["attacks"]["quantise"][name]) == {"int8", "int4", "nf4"}
        assert len(report["attacks"]["latent"][name]["layers"]) == 2
        assert report["attacks"]["context"][name]["alone"] == report["models"][name]["familiarity"]["probability"]
    form().model_validate(report)
    near = report["attacks"]["leaks"]["near_miss"]
    assert near["false_positives"]["n"] > 0 and "twin" in near["calibrated_on"]
    assert report["models"]["baseline"]["rtt"]["recovery"]["value"] == 1
    assert "half frozen (must be exposed)" in report["models"]
    hidden = report["models"]["output filter (must be exposed)"]
    assert hidden["familiarity"]["probability"]["value"] < 1e-6  # it says nothing of the target ...
    assert hidden["leaks"]["probability"]["value"] < 1e-6
    assert hidden["rtt"] == report["models"]["baseline"]["rtt"]  # ... and has forgotten nothing
    for kind in ("latent", "quantise"):
        assert report["attacks"][kind]["output filter (must be exposed)"] == report["attacks"][kind]["baseline"]
    assert report["relearn"]["output filter (must be exposed)"][0]["familiarity"] > 0.8
    assert {"unlearned, unrelated text", "unlearned, 1% of the text (1 block, 3 epochs)"} <= set(report["relearn"])
    assert {n: weights(finished / n) for n in before} == before  # attacks leave the models alone
    again = cli("attack", world / "world.py", "--quick", *FEW)
    assert again[0] == 0 and "[attack]" not in again[2], again[2]
    more = ("attack.kinds=probes", "attack.probes.samples=2", "eval.relearn_steps=0,1", "eval.every=3")
    changed = cli("attack", world / "world.py", *more)
    assert changed[0] == 0 and "[attack] probes, twin" in changed[2] and "[attack] rtt" not in changed[2]
    assert "measured of other models or settings; attack.kinds=rtt does it again" in changed[2]  # these were quick
    assert "[evaluate]" not in changed[2]  # neither setting bears on what was measured


# ---- bad input


def test_facts_that_leave_a_split_empty_stop_an_attack_before_any_work(world, tmp_path, capsys):
    assert main(["attack", str(world / "world.py"), f"run.dir={tmp_path}/run", "attack.rtt.splits=40"]) == 2
    assert "RTT needs a fact in each of 40 splits, got 10 facts" in capsys.readouterr().err
    assert not list((tmp_path / "run").glob("baseline*"))


def test_a_tokenizer_with_more_tokens_than_the_weights_is_refused(finished, world, tmp_path, capsys):
    model = tmp_path / "model"
    shutil.copytree(finished / "baseline", model)
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["extra"] = 32
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    changes = [f"run.dir={tmp_path}/run", f"model={model}", f"tokenizer={model}", "pretrain.steps=0"]
    assert main(["run", str(world / "world.py"), *changes]) == 2
    assert "largest token, id 32, has no row in the embedding, which has 32" in capsys.readouterr().err


def test_a_given_model_is_used_without_a_copy_and_without_a_twin(finished, world, tmp_path):
    code, _, err = cli(
        "reinforce",
        world / "world.py",
        f"run.dir={tmp_path}/run",
        f"model={finished}/baseline",
        "pretrain.steps=0",
        "--quick",
    )
    assert code == 0, err
    assert (tmp_path / "run-quick" / "baseline").resolve() == finished / "baseline"
    assert not (tmp_path / "run-quick" / "twin").exists()


def test_a_hub_name_becomes_a_baseline_that_can_be_read(finished, world, tmp_path, monkeypatch):
    """The download is stubbed: the hub gives the folder of a finished baseline."""
    asked = []
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda name, **_: asked.append(name) or str(finished / "baseline")
    )
    changes = [f"run.dir={tmp_path}/run", "model=owner/name", "pretrain.steps=0", "reinforce.steps=1"]
    assert main(["reinforce", str(world / "world.py"), *changes]) == 0
    assert set(asked) == {"owner/name"} and (tmp_path / "run" / "baseline").resolve() == finished / "baseline"
    assert (tmp_path / "run" / "reinforced" / "model.safetensors").is_file()


def test_a_full_disk_stops_with_1_and_the_run_goes_on_after(world, tmp_path):
    """A file size limit stands in for a full disk: the same OSError at the same places."""
    limit = f"ulimit -f 16; exec {sys.executable} -m jaxunlearn pretrain {world}/world.py run.dir={tmp_path}/run"
    done = subprocess.run(["bash", "-c", limit], capture_output=True, text=True, env=env(JAX_COMPILATION_CACHE_DIR=""))
    assert done.returncode == 1 and not (tmp_path / "run" / "baseline" / "model.safetensors").exists(), done.stderr
    assert "[baseline] cannot write: " in done.stderr and "Traceback" not in done.stderr
    code, _, err = cli("pretrain", world / "world.py", f"run.dir={tmp_path}/run")
    assert code == 0 and (tmp_path / "run" / "baseline" / "model.safetensors").is_file(), err


def test_a_run_gets_a_certificate_that_verifies_until_something_is_changed(finished, tmp_path, capsys):
    out, copy = tmp_path / "certificate", tmp_path / "run"
    export = ["export", "--model", str(finished / "unlearned"), "--dtype", "bfloat16", "--out", str(tmp_path / "bf16")]
    assert main(export) == 0
    asked = ["certify", str(finished), "--out", str(out), "--by", "A. Tester", "--windows", "24", "--json"]
    capsys.readouterr()
    exports = [str(tmp_path / "bf16"), str(finished / "baseline")]  # the second one is no export of this model
    assert main([*asked, "--export", *exports]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["word"] in RULES and said["exports"]["baseline"] is False
    found = json.loads((out / "statement.json").read_text())
    p = found["predicate"]
    assert p["by"] == "A. Tester" and p["preregistration"]["in_time"]
    changed = p["preregistration"]["differs"]  # another test may have attacked the run with settings of its own
    assert [c for c in changed if not c.startswith(("attack.", "eval."))] == ["windows of the text, at most: 400 -> 24"]
    assert {s["name"] for s in found["subject"]} >= {"unlearned/model.safetensors", "export/bf16/model.safetensors"}
    assert p["extraction"]["clipped"] and p["extraction"]["models"]["baseline"] and str(tmp_path) not in json.dumps(p)
    given = ["--run", str(finished), "--export", *exports]
    assert main(["verify", str(out), *given, "--json"]) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert all(
        any(f"windows asked again of {n}" in c["what"] for c in checks) for n in ("baseline", "unlearned", "twin")
    )
    assert any("prompts asked again" in c["what"] and c["outcome"] == "agrees" for c in checks)
    forged = tmp_path / "forged"
    shutil.copytree(out, forged)
    gone = {"side_effects": [], "missing": [], "limits": [], "budget": [], "steps_to_half": {"model": {}}}
    differs = {"preregistration": p["preregistration"] | {"differs": []}, "compared_with": {}}
    (forged / "statement.json").write_text(json.dumps(found | {"predicate": p | gone | differs}))
    assert main(["verify", str(forged), "--run", str(finished)]) == 1
    told = capsys.readouterr().out
    assert all(name in told.partition("not so: ")[2].partition("\n")[0] for name in [*gone, "preregistration"])
    assert "the models compared with are those of the run: baseline, twin" in told
    shutil.copytree(finished, copy)
    weights_file = copy / "unlearned" / "model.safetensors"
    shutil.copy(copy / "baseline" / "model.safetensors", weights_file)
    assert main(["verify", str(out), "--run", str(copy)]) == 1
    assert "DOES NOT AGREE: file unlearned/model.safetensors of the model: its SHA-256" in capsys.readouterr().out
    assert main(["certify", str(copy), "--out", str(tmp_path / "other")]) == 1  # the sealed model is another
    (out / "certificate.html").write_text("<p>erased</p>")
    assert main(["certify", str(finished), "--out", str(out)]) == 2  # edited since, so it is somebody's own


def test_what_cannot_be_certified_is_said(finished, tmp_path, capsys):
    copy, report = tmp_path / "run", "report.json"
    shutil.copytree(finished, copy, ignore=shutil.ignore_patterns("checkpoints", "controls"))
    assert main(["certify", str(copy), "--model", "nosuch"]) == 2
    assert "--model nosuch: the run's report has baseline, unlearned, twin" in capsys.readouterr().err
    assert main(["certify", str(copy), "--export", str(tmp_path / "nosuch")]) == 2
    content = json.loads((copy / report).read_text())
    low = {"value": 0.0006, "low": 0.0002, "high": 0.002, "n": 2}
    content["models"]["baseline"]["familiarity"]["probability"] = low
    del content["seal"]
    (copy / report).write_text(json.dumps(content))
    assert main(["certify", str(copy), "--windows", "24"]) == 1
    assert "report.json says 0.0006 of baseline's next-word familiarity, measured again" in capsys.readouterr().err
    (copy / report).unlink()
    assert main(["certify", str(copy)]) == 2 and "it has no report.json" in capsys.readouterr().err
    assert not (copy / "certificate").exists()
