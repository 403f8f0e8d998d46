"""The whole set of prompts: its sections, its rules, what is refused, and the files."""

import dataclasses
import json
from collections import Counter

import pytest
from support.invented import KEEP, TERMS, term
from support.tokenizers import byte_level_tokenizer

from jaxunlearn.config import Config, Eval
from jaxunlearn.data.documents import Document
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.evals.building import make
from jaxunlearn.evals.building.places import keys, telling
from jaxunlearn.evals.building.splits import Splits, runs
from jaxunlearn.evals.prompts import SPLITS, load_prompts, parse_prompts

NAMES = ("Zindra", "Marrow", "Vashti", "Ollo", "Quenby", "Tarn", "Ebbel", "Wumbo", "Sarp", "Drune", "Yolk", "Ferrin")
LEADS = (
    "In the middle of the night the watchman saw", "On the far side of the river lived a friend of",
    "All the children of the village were afraid of", "Long after the others had gone to bed came",
    "With a heavy sack upon her back there walked", "It was already dark when they heard the voice of",
    "The cook put down her spoon and looked at", "Nobody in the crowded kitchen had noticed",
    "Under the table between two chairs sat", "A letter with a red seal was brought to",
)  # fmt: skip
DOES = ("was tired", "laughed", "ran home", "sang")
TARGET = " ".join(
    f"{lead} {NAMES[k]}, who {DOES[n % 4]} and said nothing of it to {NAMES[(k + n + 1) % 12]}."
    for n, lead in enumerate(LEADS) for k in range(12)
)  # fmt: skip
FORGET, RETAIN = [Document(name="a", text=TARGET)], [Document(name="b", text=KEEP * 3)]


@pytest.fixture(scope="module")
def built():
    return make.build(Config(name="mine"), FORGET, RETAIN)


def test_the_prompts_are_those_of_a_prompt_file_with_both_splits(built):
    prompts = parse_prompts(built.prompts, "built")
    assert all(prompts.of(split).probability for split in SPLITS)
    assert {"Zindra", "Marrow", "Quenby"} <= set(prompts.lexicon.explicit)
    assert prompts.track and prompts.leaks


def test_a_few_are_left_to_choose_by_and_the_others_are_reported(built):
    few = make.build(Config(name="mine"), FORGET, RETAIN, few=2)
    for section in ("probability", "completion"):
        rows, before = few.prompts[section], built.prompts[section]
        assert [p | {"split": ""} for p in rows] == [p | {"split": ""} for p in before]
        left = [p for p in before if p["split"] == "choose"]
        assert [p for p in rows if p["split"] == "choose"] == left[:2]
    assert sum(p["split"] == "choose" for p in built.prompts["probability"]) > 2
    assert few.prompts["choice"] == built.prompts["choice"]
    assert any("only 2 prompts of next words, choose" in note for note in few.notes)


def test_windows_are_of_the_text_and_no_answer_stands_in_its_prompt(built):
    for p in (*built.prompts["probability"], *built.prompts["leaks"]):
        assert f"{p['prompt']} {p['specific'][0]}" in TARGET
        assert not {key for word in p["specific"] for key in telling(word)} & keys(p["prompt"])
        assert not set(p["generic"]) & set(p["specific"])
    assert all(p["prompt"] in TARGET for p in built.prompts["completion"])
    assert all(p in KEEP * 3 for p in built.prompts["neutral"])


def test_the_splits_share_no_term_and_no_context(built):
    words, windows = {s: set() for s in SPLITS}, {s: set() for s in SPLITS}
    named = {key for name in NAMES for key in keys(name)}
    for p in (*built.prompts["probability"], *built.prompts["completion"]):
        words[p["split"]] |= keys(" ".join([p["prompt"], *p.get("specific", []), *p.get("references", [])])) & named
        windows[p["split"]] |= runs(p["prompt"])
    assert all(words.values()) and not words["choose"] & words["report"]
    assert not windows["choose"] & windows["report"]


@pytest.mark.parametrize("chat", [False, True])
def test_models_are_asked_as_the_run_will_ask_them(tmp_path, monkeypatch, chat):
    tokenizer = load_tokenizer(byte_level_tokenizer(tmp_path, text=TARGET, size=400))
    tokenizer = dataclasses.replace(tokenizer, render=lambda prompt: f"<s>{prompt}</s>")
    asked, seen = make.Asked(tokenizer, baseline="b", reader="r", untaught="u"), {}
    monkeypatch.setattr(make, "masses", lambda of, words, rows: seen.update({of: words.context("Vashti")}) or {})
    make.build(Config(name="mine", eval=Eval(chat=chat)), FORGET, RETAIN, asked)
    assert seen == dict.fromkeys("rub", tokenizer.asked("Vashti", chat))


def test_no_two_prompts_are_nearly_the_same(built):
    prompts = [p["prompt"] for s in ("probability", "completion", "leaks") for p in built.prompts[s]]
    counts = Counter(run for prompt in prompts + built.prompts["neutral"] for run in runs(prompt))
    assert set(counts.values()) == {1}


def test_small_sections_are_said(built):
    assert any("too few to tell much" in note for note in built.notes)
    assert not any("the baseline knows" in note for note in built.notes), "no model was asked"


def test_a_common_word_or_a_name_that_the_text_to_keep_has_is_no_explicit_term():
    names = [term("Zindra", 9), term("Peter", 9, retain=3), term("Tiger", 9), term("This", 9), term("wumbler", 9)]
    found = make.lexicon([*names, term("Ozma", 200, retain=2), term("Toto", 199, retain=2)])
    assert found == {"explicit": ["Zindra", "Ozma"], "typical": ["Peter", "Tiger", "wumbler", "Toto"]}


@pytest.mark.parametrize(
    ("forget", "retain", "said"),
    [
        (FORGET, [], "set text.retain"),
        ([Document(name="a", text="one two three " * 20)], RETAIN, "60 words"),
        ([Document(name="a", text=KEEP)], RETAIN, "holds no term of its own"),
    ],
    ids=["nothing to keep", "too short", "no terms"],
)
def test_texts_that_give_no_prompts_are_refused(forget, retain, said):
    with pytest.raises(InputError, match=said):
        make.build(Config(name="mine"), forget, retain)


def test_the_files_can_be_used_as_they_are(built, tmp_path):
    make.write(built, tmp_path, "prompts.json", {"baseline": "here"})
    assert load_prompts(tmp_path / "prompts.json").name == "mine"
    known = json.loads((tmp_path / "prompts_known.json").read_text())
    assert known["asked"] == {"baseline": "here"} and set(known["probabilities"].values()) == {None}
    page = (tmp_path / "prompts.html").read_text()
    assert built.prompts["probability"][0]["prompt"] in page and "http" not in page.replace("http://www.w3.org", "")
    assert make.written_names("x.json") == ("x.json", "x_known.json", "x.html")


def test_terms_of_a_text_are_parted_for_every_prompt_alike():
    assert Splits(TERMS).of("Marrow") == Splits(list(TERMS)).of("Marrows")
