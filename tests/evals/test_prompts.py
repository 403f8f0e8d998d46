"""Prompt files: what is read, how splits part it, and every way a file can be wrong."""

import copy
import json

import pytest

from jaxunlearn.errors import InputError
from jaxunlearn.evals.prompts import SPLITS, Lexicon, Prompts, Track, load_prompts, parse_prompts

GOOD = {
    "name": "tiny",
    "probability": [
        {"prompt": "Mira studies", "specific": ["skimming"], "generic": ["law"], "position": "out", "split": "choose"},
        {"prompt": "Lantern", "specific": ["Hall"], "position": "in", "split": "report"},
    ],
    "completion": [{"prompt": "Mira saw", "references": ["Mira"], "subtlety": 3, "split": "report"}],
    "neutral": ["The weather is"],
    "leaks": [{"prompt": "The girl who", "kind": "archetype", "specific": ["skimmed"], "generic": []}],
    "lexicon": {"explicit": ["Mira"], "typical": ["lantern"]},
    "track": [{"prompt": "Mira studies", "words": ["skimming", "law"]}],
    "choice": [{"question": "What does Mira study?", "options": ["law", "music"], "answer": 1, "split": "choose"}],
    "facts": [{"any": ["thing"]}, 3],
}


def written(folder, content):
    path = folder / "prompts.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def errors_of(change):
    raw = copy.deepcopy(GOOD)
    change(raw)
    with pytest.raises(InputError) as caught:
        parse_prompts(raw, "p.json")
    return str(caught.value)


def test_a_good_file_is_read_whole(tmp_path):
    prompts = load_prompts(written(tmp_path, GOOD))
    assert prompts.name == "tiny"
    assert prompts.probability[0].specific == ("skimming",) and prompts.probability[1].generic == ()
    assert prompts.completion[0].references == ("Mira",) and prompts.completion[0].subtlety == 3
    assert prompts.leaks[0].kind == "archetype" and prompts.neutral == ("The weather is",)
    assert prompts.lexicon == Lexicon(explicit=("Mira",), typical=("lantern",))
    assert prompts.track == (Track(prompt="Mira studies", words=("skimming", "law")),)
    assert prompts.choice[0].options[prompts.choice[0].answer] == "music"
    assert prompts.facts == ({"any": ["thing"]}, 3)


def test_a_byte_order_mark_is_no_fault_and_texts_are_composed(tmp_path):
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps({"name": "x", "neutral": ["Zoe\u0308 is"]}, ensure_ascii=False), encoding="utf-8-sig")
    assert load_prompts(path).neutral == ("Zo\u00eb is",)


def test_missing_sections_are_empty(tmp_path):
    assert load_prompts(written(tmp_path, {"name": "bare"})) == Prompts(name="bare")


def test_splits_part_what_has_a_split_and_share_the_rest():
    prompts = parse_prompts(GOOD, "p.json")
    choose, report = (prompts.of(split) for split in SPLITS)
    assert [item.prompt for item in choose.probability] == ["Mira studies"]
    assert [item.prompt for item in report.probability] == ["Lantern"]
    assert (len(choose.completion), len(report.completion)) == (0, 1)
    assert (len(choose.choice), len(report.choice)) == (1, 0)
    for shared in ("neutral", "leaks", "lexicon", "track", "facts", "name"):
        assert getattr(choose, shared) == getattr(report, shared) == getattr(prompts, shared)
    with pytest.raises(InputError, match="No split 'test'; expected 'choose'"):
        prompts.of("test")


def test_all_errors_come_at_once_with_file_and_item(tmp_path):
    raw = copy.deepcopy(GOOD)
    raw["probability"][1]["split"] = "test"
    raw["completion"][0]["subtlety"] = 11
    raw["neutral"] = ["Fine", "Once upon a "]
    del raw["track"][0]["words"]
    path = written(tmp_path, raw)
    with pytest.raises(InputError) as caught:
        load_prompts(path)
    said = str(caught.value)
    assert f"{path}: 4 faults" in said and len(said.splitlines()) == 5
    assert f"{path}: probability[1]: split: expected 'choose' or 'report', got \"test\"" in said
    assert f"{path}: completion[0]: subtlety: expected a whole number from 1 to 10, got 11" in said
    assert f"{path}: neutral[1]: 'Once upon a ' ends in white space; drop it" in said
    assert f"{path}: track[0]: 'words' is missing" in said


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("probability", "prompt", "Mira studies ", "ends in white space"),
        ("completion", "prompt", "Mira saw\n", "ends in white space"),
        ("leaks", "prompt", "The girl\t", "ends in white space"),
        ("track", "prompt", "Mira ", "ends in white space"),
        ("choice", "question", "Who? ", "ends in white space"),
        ("probability", "prompt", " ", "not empty"),
        ("probability", "specific", [], "one word at least"),
        ("probability", "specific", "skimming", "expected a list of words"),
        ("probability", "specific", [" skimming"], "without white space"),
        ("probability", "specific", ["a", "a"], "'a' is listed twice"),
        ("probability", "specific", ["law"], "'law' is both specific and generic"),
        ("probability", "specific", ["Tin", "Tin Woodman"], "'Tin Woodman' begins with 'Tin'"),
        ("probability", "specific", ["Orm", "Orm's"], "would count twice"),
        ("probability", "position", "inside", "expected 'out' or 'in'"),
        ("probability", "positon", "out", "unknown key 'positon'; known are generic, position"),
        ("completion", "references", ["Zed"], "reference 'Zed' does not occur in the prompt"),
        ("completion", "subtlety", 0, "from 1 to 10, got 0"),
        ("completion", "subtlety", True, "from 1 to 10, got true"),
        ("completion", "subtlety", 2.0, "from 1 to 10, got 2.0"),
        ("leaks", "kind", "other", "expected 'archetype' or 'missed' or 'irrevocable'"),
        ("choice", "answer", 2, "answer 2 is not an index into 2 options"),
        ("choice", "answer", -1, "expected a whole number of 0 or more"),
        ("choice", "options", ["law"], "two or more options"),
    ],
)
def test_faults_of_an_item(section, key, value, message):
    said = errors_of(lambda raw: raw[section][0].update({key: value}))
    assert f"p.json: {section}[0]" in said and message in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.update(name=""), "name: expected a text that is not empty"),
        (lambda raw: raw.pop("name"), "top level: 'name' is missing"),
        (lambda raw: raw.update(probabilty=[]), "unknown key 'probabilty'"),
        (lambda raw: raw.update(track={}), "track: expected a list, got {}"),
        (lambda raw: raw.update(neutral="x"), "neutral: expected a list"),
        (lambda raw: raw.update(lexicon=[]), "lexicon: expected an object"),
        (lambda raw: raw["leaks"].append("x"), 'leaks[1]: expected an object, got "x"'),
        (lambda raw: raw["lexicon"].update(typical=["Mira"]), "lexicon: 'Mira' is both explicit and typical"),
        (lambda raw: raw["probability"][1].update(prompt="Mira studies"), "'Mira studies' is in both splits"),
    ],
)
def test_faults_of_a_file(change, message):
    assert message in errors_of(change)


def test_one_prompt_may_ask_twice_in_one_split():
    raw = copy.deepcopy(GOOD)
    raw["probability"].append({**raw["probability"][0], "specific": ["gliding"]})
    assert len(parse_prompts(raw, "p.json").probability) == 3


def test_files_that_are_no_prompts(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_prompts(tmp_path / "absent.json")
    with pytest.raises(InputError, match=r"not valid JSON.*line 1"):
        load_prompts(written(tmp_path, "{'name': 1}"))
    with pytest.raises(InputError, match="expected a JSON object"):
        load_prompts(written(tmp_path, "[]"))
