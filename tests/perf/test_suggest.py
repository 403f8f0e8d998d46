"""The first configuration for a model and texts."""

import ast
import shlex

import pytest
from support.model_files import write_model

from jaxunlearn.config import load_config
from jaxunlearn.data.documents import Document
from jaxunlearn.errors import InputError
from jaxunlearn.perf import suggest

ROWS = "".join(
    f"{lead} {name}, and nobody was glad of it in the least that day.\n"
    for lead in ("Long after dark there came", "In the middle of the road sat", "With both hands they held")
    for name in ("Zindra", "Marrow", "Vashti", "Ollo", "Quenby", "Tarn", "Ebbel", "Wumbo", "Sarp", "Drune")
)
KEEP = "They went home at last and ate their bread with the others of the house. " * 60


@pytest.fixture
def given(tmp_path, monkeypatch):
    monkeypatch.setattr(suggest, "FEWEST", 1)  # the text has few places
    (tmp_path / "forget.txt").write_text(ROWS)
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / "a.txt").write_text(KEEP)
    return [str(write_model(tmp_path / "model")), [str(tmp_path / "forget.txt")], [str(tmp_path / "keep")]]


def made(folder, *given):
    folder.mkdir(exist_ok=True)
    text, said = suggest.suggest(folder, *given)
    (folder / suggest.CONFIG).write_text(text)
    return load_config(str(folder / suggest.CONFIG)), said, text


def test_without_a_model_and_texts_the_file_names_folders_to_fill(mesh, tmp_path):
    config, said, text = made(tmp_path / "mine", "", [], [])
    here = str(tmp_path / "mine")
    assert (config.model, config.text.forget, config.text.retain) == (
        f"{here}/model",
        (f"{here}/forget",),
        (f"{here}/retain",),
    )
    assert config.text.prompts == f"{here}/prompts.json" and str(config.directory) == f"{here}/run"
    assert config.text.dictionary == "build" and config.controls and config.eval.members and config.eval.relearn_steps
    assert "put what is to be used into" in said[0] and not config.pretrain.steps
    assert (config.unlearn.learning_rate, config.reinforce.learning_rate) == (1e-6, 3e-6), "the paper's, the lowest"
    assert "with --model they follow from the model's size" in said[1]
    assert max(map(len, text.split("\n"))) <= 120 or here in text


@pytest.mark.parametrize(("p", "taught"), [(0.0, True), (0.5, False)], ids=["unknown", "known"])
def test_a_model_that_does_not_know_the_text_is_taught_it_first(mesh, tmp_path, given, monkeypatch, p, taught):
    monkeypatch.setattr(suggest, "masses", lambda model, words, windows: {c.prompt: p for c in windows})
    config, said, text = made(tmp_path / "mine", *given)
    assert (config.pretrain.steps > 0) == taught
    assert any(("is taught the text first" if taught else "unlearned as it is") in line for line in said)
    assert config.text.forget == tuple(given[1]) and config.text.context == 32, "no longer than the model's"
    assert "tried on 656 thousand parameters" in text and config.unlearn.learning_rate == 5e-4


def test_the_places_that_were_asked_are_counted_and_few_are_not_asked(mesh, tmp_path, given, monkeypatch):
    asked = {}
    monkeypatch.setattr(suggest, "masses", lambda m, w, windows: asked.update((c.prompt, 0) for c in windows) or asked)
    _, said, text = made(tmp_path / "mine", *given)
    assert 0 < len(asked) < suggest.WINDOWS
    assert any(f"knows 0% of {len(asked)} places" in line for line in said) and f"of {len(asked)} places" in text
    (tmp_path / "model" / "chat_template.jinja").write_text("{{ messages[0].content }}")
    _, said, _ = made(tmp_path / "mine", *given)
    assert any("of the text to forget (asked in running text, not through its chat template)" in line for line in said)
    monkeypatch.setattr(suggest, "FEWEST", len(asked) + 1)
    config, said, _ = made(tmp_path / "mine", *given)
    assert not config.pretrain.steps and any(f"has {len(asked)} windows for a prompt, fewer" in line for line in said)


@pytest.mark.parametrize("name", ["my books", "it's", "a\\new", 'say "this"', 'end"', '"""', "$HOME;x", "{HERE}"])
def test_any_name_of_a_folder_makes_a_file_that_loads_and_commands_that_a_shell_takes(mesh, tmp_path, name):
    config, said, text = made(tmp_path / name, "", [], [])
    file = str(tmp_path / name / suggest.CONFIG)
    assert config.text.prompts == f"{tmp_path / name}/prompts.json"
    commands = [line.strip() for line in said if line.startswith("  jaxunlearn")]
    assert len(commands) == 3 and all(file in shlex.split(command) for command in commands)
    assert all(command in ast.get_docstring(ast.parse(text)) for command in commands)


def test_a_large_model_is_not_asked_here(mesh, tmp_path, given, monkeypatch):
    monkeypatch.setattr(suggest, "ASKABLE", {})
    monkeypatch.setattr(suggest, "_parameters", lambda c: 7e9)
    config, said, _ = made(tmp_path / "mine", *given)
    assert not config.pretrain.steps and any("was not asked on this device" in line for line in said)
    assert config.unlearn.learning_rate == 1e-6


def test_the_microbatch_has_room_on_the_device(mesh, tmp_path, given, monkeypatch):
    monkeypatch.setattr(suggest, "masses", lambda model, words, windows: {c.prompt: 1.0 for c in windows})
    monkeypatch.setattr(suggest, "device_bytes", lambda: 1)
    config, _, _ = made(tmp_path / "mine", *given)
    assert (config.unlearn.batch, config.unlearn.accumulate, config.whp.label_batch) == (1, 8, 1)


def test_hard_line_breaks_are_found():
    printed = "A line of a printed book that breaks at its width, always.\n" * 40
    assert suggest.is_wrapped([Document(name="a", text=printed)])
    assert not suggest.is_wrapped(
        [Document(name="a", text="A whole paragraph in one line. " * 20 + "\n\n") for _ in "ab"]
    )
    assert not suggest.is_wrapped([Document(name="a", text=ROWS.replace(", and", ", and" * 30))])


def test_a_text_or_model_that_is_not_there_is_refused(mesh, tmp_path, given):
    with pytest.raises(InputError, match=r"none\.txt does not exist"):
        suggest.suggest(tmp_path, given[0], [str(tmp_path / "none.txt")], given[2])
    with pytest.raises(InputError, match="is not a directory"):
        suggest.suggest(tmp_path, str(tmp_path / "no" / "model"), *given[1:])
