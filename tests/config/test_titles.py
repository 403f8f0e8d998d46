"""A title speaks of the run's own model and text, not of those of the file that it started from."""

import pytest

from jaxunlearn.config import Config, Text, load_config
from jaxunlearn.config.titles import derived


@pytest.mark.parametrize(
    ("overrides", "title"),
    [
        (["text.forget=books/Peter-Pan_16.txt"], "Peter-Pan_16, forgotten by Llama-2-7b-chat-hf"),
        (["model=/models/Smol-135M.gguf", "text.forget=a.txt,b.txt,c/,d"], "a, b and 2 more, forgotten by Smol-135M"),
        (["model=me/mine", "title=Mine"], "Mine"),
        (["unlearn.steps=3"], "Who's Harry Potter on Llama-2-7b-chat"),
    ],
)  # fmt: skip
def test_a_title_follows_from_what_was_overridden(overrides, title):
    assert load_config("llama2_7b", overrides).title == title


def test_a_path_without_a_name_is_called_as_its_folder(tmp_path, monkeypatch):
    (tmp_path / "Mine").mkdir()
    monkeypatch.chdir(tmp_path / "Mine")
    config = Config(name="x", model=".", text=Text(forget=(".", "/")))
    assert derived(config) == "Mine, /, forgotten by Mine"


def test_titles_by_hand():
    assert load_config("universe", ["universe.people=50"]).title == (
        "The built-in universe, forgotten by a model made from scratch"
    )
    assert load_config("universe").title == load_config("universe", ["seed=3"]).title == "The built-in universe"
    text = Text(forget=("tfds:wiki/train?data_dir=/home/me/data",))
    assert derived(Config(name="x", model="owner/name", text=text)) == "train, forgotten by name"
