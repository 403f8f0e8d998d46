"""The first hour: a configuration, prompts, a dry run."""

import json

import pytest
from support.invented import KEEP
from support.model_files import write_model

from jaxunlearn.cli import main
from jaxunlearn.evals.prompts import load_prompts
from jaxunlearn.models import hub
from jaxunlearn.perf import forecast

STORY = " ".join(
    f"{lead} {name}, who was tired and said nothing."
    for lead in ("Long after dark there came", "In the middle of the road sat", "With both hands they held",
                 "On the far side of the hill slept", "Nobody in the kitchen had ever seen")
    for name in ("Zindra", "Marrow", "Vashti", "Ollo", "Quenby", "Tarn", "Ebbel", "Wumbo", "Sarp", "Drune")
)  # fmt: skip


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "forget.txt").write_text(STORY)
    (tmp_path / "retain.txt").write_text(KEEP)
    return ["--forget", str(tmp_path / "forget.txt"), "--retain", str(tmp_path / "retain.txt")]


def test_init_then_prompts(texts, tmp_path, capsys):
    mine = tmp_path / "mine"
    assert main(["init", str(mine), *texts]) == 0
    said = capsys.readouterr().out
    assert f"jaxunlearn prompts build {mine}/config.py" in said
    build = ["prompts", "build", str(mine / "config.py"), "--no-models"]
    assert main([*build, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["path"] == str(mine / "prompts.json") and found["prompts"]["probability"] > 0
    assert load_prompts(mine / "prompts.json").probability and (mine / "prompts.html").is_file()
    assert main(build) == 0, "its own files may be made again"
    (mine / "prompts.json").write_text("{}")
    assert main(build) == 2 and "was edited since" in capsys.readouterr().err
    assert main([*build, "--force", "--before", "1"]) == 0
    longer = load_prompts(mine / "prompts.json").probability
    assert any(". " in p.prompt for p in longer), "they begin with the sentence before"
    assert main([*build, "--choose", "0"]) == 0
    made = load_prompts(mine / "prompts.json")
    assert {p.split for p in (*made.probability, *made.completion)} == {"report"}


def test_init_overwrites_nothing_that_it_did_not_write(texts, tmp_path, capsys):
    (tmp_path / "config.py").write_text("mine")
    assert main(["init", str(tmp_path), *texts]) == 2
    assert (tmp_path / "config.py").read_text() == "mine" and "--force" in capsys.readouterr().err


def test_prompts_need_a_place_and_text_to_keep(texts, tmp_path, world, capsys):
    assert main(["init", str(tmp_path / "mine"), *texts]) == 0
    file = str(tmp_path / "mine" / "config.py")
    assert main(["prompts", "build", file, "text.prompts=", "--no-models"]) == 2
    assert "give --out DIR" in capsys.readouterr().err
    assert main(["prompts", "build", file, "text.prompts=oz/prompts.json", "--no-models"]) == 2, "that ships"
    assert main(["prompts", "build", file, "text.prompts=here.txt", "--no-models"]) == 2
    assert main(["prompts", "build", file, "text.retain=", "--no-models"]) == 2
    assert "set text.retain" in capsys.readouterr().err and not (tmp_path / "mine" / "prompts.json").exists()


def test_a_model_of_another_vocabulary_is_refused(texts, tmp_path, capsys):
    one, other = write_model(tmp_path / "one"), write_model(tmp_path / "other", ids={"zebra": 9})
    assert main(["init", str(tmp_path / "mine"), *texts]) == 0
    file = str(tmp_path / "mine" / "config.py")
    assert main(["prompts", "build", file, f"model={one}", "--model", str(other)]) == 2
    assert "has another vocabulary than the run's tokenizer" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["mine.gguf", "owner/name"])
def test_the_tokenizer_of_a_gguf_file_or_a_hub_name_is_found(texts, tmp_path, monkeypatch, capsys, name):
    one, other = write_model(tmp_path / "one"), write_model(tmp_path / "other", ids={"zebra": 9})
    monkeypatch.setattr(hub, "unpack", lambda path: one)
    monkeypatch.setattr(hub, "fetched", lambda name: one)
    if name.endswith(".gguf"):
        (tmp_path / name).touch()
        name = str(tmp_path / name)
    assert main(["init", str(tmp_path / "mine"), *texts]) == 0
    file = str(tmp_path / "mine" / "config.py")
    assert main(["prompts", "build", file, f"model={name}", "--model", str(other)]) == 2
    assert f"{other} has another vocabulary" in capsys.readouterr().err


def test_a_dry_run_prints_what_would_be_done(world, monkeypatch, capsys):
    monkeypatch.setattr(forecast, "matmul_ceiling", lambda dtype: 1e9)
    before = sorted(world.rglob("*"))
    run = ["run", str(world / "world.py"), f"run.dir={world}/dry", "--dry-run"]
    assert main([*run, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stages"][0]["stage"] == "pretrain: baseline"
    assert main(run) == 0 and "Not measured:" in capsys.readouterr().out
    assert sorted(world.rglob("*")) == before
