"""Where text and model come from: what is missing is said; the universe gives every file that a run reads."""

import types

import pytest

from jaxunlearn.config import Config, Pretrain, Text, Universe
from jaxunlearn.errors import InputError
from jaxunlearn.run.sources import located, read_texts, with_universe


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (Config(name="x"), "text.forget names no text to forget"),
        (Config(name="x", text=Text(forget=("a.txt",)), pretrain=Pretrain(steps=0)), "no baseline: give model=DIR"),
    ],
)
def test_a_run_of_nothing_is_refused(config, said):
    with pytest.raises(InputError, match=said):
        located(config, types.SimpleNamespace(begun=False))


def test_texts_are_read_as_far_as_a_run_reads_them(tmp_path):
    for name in ("forget", "retain"):
        (tmp_path / f"{name}.txt").write_text(f"{name} one\n\n{name} two\n")
    text = Text(forget=(f"{tmp_path}/forget.txt",), retain=(f"{tmp_path}/retain.txt",), most_characters=12)
    forget, retain = read_texts(Config(name="x", text=text))
    assert [d.text for d in (*forget, *retain)] == ["forget one\n", "retain one\n"]


def test_the_universe_gives_every_file_and_leaves_those_that_are_given(tmp_path):
    config = Config(name="x", universe=Universe(people=2000), text=Text(dictionary="own.json"))
    made = with_universe(config, tmp_path)
    files = *made.text.forget, *made.text.retain, *made.text.forget_held, *made.text.retain_held
    for file in (*files, made.text.prompts, made.text.answers, *made.repair.text, made.tokenizer):
        assert file and (tmp_path / file).exists(), file
    assert made.text.dictionary == "own.json"
    answers = with_universe(Config(name="x", text=Text(answers="own.json")), tmp_path, fresh=False).text.answers
    assert answers == "own.json"
