"""What a run will do, need and not measure, before it does anything."""

import json
import shutil

import pytest

from jaxunlearn.config import Config, load_config
from jaxunlearn.errors import InputError
from jaxunlearn.models.weights import forward_flops
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.console import say
from jaxunlearn.perf import forecast as module
from jaxunlearn.perf.forecast import forecast, lines
from jaxunlearn.run import open_run
from jaxunlearn.run.sources import shape_of

SPEED = 1e9  # FLOP/s of a product


@pytest.fixture(autouse=True)
def slow(monkeypatch):
    monkeypatch.setattr(module, "matmul_ceiling", lambda dtype: SPEED)


@pytest.fixture
def place(world, tmp_path):
    copied = tmp_path / "world"
    shutil.copytree(world, copied, ignore=shutil.ignore_patterns("run*"))
    (copied / "world.py").write_text((world / "world.py").read_text().replace(str(world), str(copied)))
    return copied


def everything(folder):
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*")}


def test_stages_tokens_and_time_follow_from_the_configuration_and_nothing_is_written(place, mesh):
    config, before = load_config(str(place / "world.py")), everything(place)
    found = forecast(config)
    assert everything(place) == before
    rows = {row["stage"]: row for row in found["stages"]}
    assert [*rows] == ["pretrain: baseline", "reinforce: reinforced", "label: translated", "unlearn: unlearned",
                       "pretrain: twin", "evaluate", "attack: relearn"]  # fmt: skip
    assert (
        rows["pretrain: baseline"]["tokens"] == 150 * 8 * 32 and rows["reinforce: reinforced"]["tokens"] == 8 * 8 * 32
    )
    flops = 3 * forward_flops(shape_of(config, 32), 150 * 8 * 32, 32)
    assert rows["pretrain: baseline"]["flops"] == pytest.approx(flops, rel=1e-6)
    assert rows["pretrain: baseline"]["seconds"] == pytest.approx(flops / (SPEED * 0.5), rel=1e-6)
    assert found["seconds"] == pytest.approx(sum(row["seconds"] for row in rows.values()))
    forget, retain = (found["texts"][n]["blocks"] for n in ("forget", "retain"))
    assert rows["label: translated"]["blocks"] == forget and rows["label: translated"]["passes"] == 2
    share = rows["pretrain: twin"]["steps"] / 150
    assert share == pytest.approx(retain / (retain + forget), abs=0.02)


def test_a_selection_costs_its_passes_and_not_those_of_so_many_steps(place, mesh):
    chosen = ["unlearn.method=gradient_difference", "unlearn.steps=5", "unlearn.select.budget=0.01"]
    config = load_config(str(place / "world.py"), [*chosen, "unlearn.select.blocks=8", "text.holdout=0"])
    found = forecast(config)
    row = next(row for row in found["stages"] if row["stage"] == "unlearn: unlearned")
    forget = found["texts"]["forget"]["blocks"]
    assert row["blocks"] == forget + 5 * 8
    # adapter and gradient, 3 passes each of the text once; the KL asks two models at each of 5 steps
    assert row["blocks"] * row["passes"] == pytest.approx(6 * forget + 2 * 5 * 8)


def test_coverage_prompts_unknown_tokens_and_what_is_not_measured_are_said(place, mesh):
    found = forecast(load_config(str(place / "world.py")))
    words = (place / "forget.txt").read_text().split()
    terms = json.loads((place / "dictionary.json").read_text())
    assert found["dictionary"]["terms"] == found["dictionary"]["found"] == len(terms)
    assert found["dictionary"]["share"] == pytest.approx(sum(w in terms for w in words) / len(words))
    assert found["prompts"]["next word, out"] == {"choose": 1, "report": 2} and found["texts"]["forget"]["unknown"] == 0
    assert any(line.startswith("Memory and membership") for line in found["not_measured"])
    text = "\n".join(lines(found))
    assert "1 choose, 2 report (few)" in text and "Not measured:" in text and "steps at 50% of it" in text


def test_what_a_run_has_is_done(place, mesh):
    shutil.copytree(place / "tokenizer", place / "run" / "baseline")
    (place / "run" / ".jaxunlearn_run.lock").touch()
    found = forecast(load_config(str(place / "world.py")))
    assert [row["stage"] for row in found["stages"] if row["done"]] == ["pretrain: baseline"]
    assert found["seconds"] == pytest.approx(sum(r["seconds"] for r in found["stages"] if not r["done"]))


@pytest.mark.parametrize(
    ("given", "passes"), [((), {"hard_labels": 2}), (("whp.top=4",), {"soft": 3, "hard_labels": 2})]
)
def test_labels_are_those_that_the_variants_store(place, mesh, given, passes):
    config = load_config(str(place / "world.py"), ["unlearn.method=whp_plus", "controls=hard_labels", *given])
    rows = {r["stage"]: r["passes"] for r in forecast(config)["stages"] if r["stage"].startswith("label")}
    assert rows == {f"label: translated_{name}": count for name, count in passes.items()}


def test_a_folder_that_is_no_runs_and_changed_inputs_are_refused(place, mesh):
    config = load_config(str(place / "world.py"))
    (place / "run").mkdir()
    (place / "run" / "thesis.tex").touch()
    with pytest.raises(InputError, match=r"thesis\.tex and is no run's folder"):
        forecast(config)
    (place / "run" / "thesis.tex").unlink()
    open_run(config)
    before = everything(place)
    assert forecast(config) and everything(place) == before
    with (place / "forget.txt").open("a") as file:
        file.write(" " + (place / "forget.txt").read_text().split(".")[0] + ".")
    with pytest.raises(InputError, match=r"\['text.forget'\] changed since this run began"):
        forecast(config)


def test_several_processes_are_told_that_one_does_it(monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 2)
    with pytest.raises(InputError, match="a dry run is done by one process"):
        forecast(Config(name="x"))


def test_what_is_said_meanwhile_comes_at_once(place, mesh, monkeypatch, capsys):
    said = []

    def reading(config, folder, *more):
        say(f"{folder.path} is read")
        say("a beat")
        said.append(capsys.readouterr().err)
        raise InputError("enough")

    monkeypatch.setattr(module, "checked", reading)
    with pytest.raises(InputError, match="enough"):
        forecast(load_config(str(place / "world.py")))
    assert said == ["a beat\n"] and capsys.readouterr().err == ""


def test_a_dictionary_to_be_built_is_built_elsewhere_and_a_missing_one_is_said_loudly(place, mesh, capsys):
    before = everything(place)
    built = forecast(load_config(str(place / "world.py"), ["text.dictionary=build"]))
    assert built["dictionary"]["terms"] > 0 and everything(place) == before
    assert "tmp" not in capsys.readouterr().err.replace(str(place), "")
    none = forecast(load_config(str(place / "world.py"), ["text.dictionary="]))
    assert "NO DICTIONARY: text.dictionary is empty" in capsys.readouterr().err
    assert "dictionary NONE" in "\n".join(lines(none))
    forecast(load_config(str(place / "world.py"), ["text.dictionary=", "unlearn.method=npo"]))
    assert "NO DICTIONARY" not in capsys.readouterr().err, "npo needs none"


WITHOUT_SPLIT = {"name": "x", "probability": [{"prompt": "a", "specific": ["b"], "position": "out"}]}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [("prompts", json.dumps(WITHOUT_SPLIT), "'split' is missing"), ("dictionary", "[1]", "dictionary")],
    ids=["prompts", "dictionary"],
)
def test_small_files_are_checked_before_any_text_is_read(place, mesh, name, content, said):
    (place / f"{name}.json").write_text(content)
    (place / "forget.txt").unlink()
    with pytest.raises(InputError, match=said):
        forecast(load_config(str(place / "world.py")))
