"""Every probe of the universe means what it says."""

import json
import re

from jaxunlearn.data.universe import prompts
from jaxunlearn.evals.prompts import parse_prompts


def test_birth_years_belong_to_unique_names(world):
    facts = world.prompts["facts"]
    assert len(facts) == len({fact["subject"] for fact in facts}) == 96
    assert len({fact["subject"].split(" ")[1] for fact in facts}) == 96
    text = "\n".join(world.saga)
    for fact in facts:
        assert len(set(fact["options"])) == 4
        year = fact["options"][fact["answer"]]
        assert fact["statement"] == f"{fact['subject']} was born in {year}."
        years = set(re.findall(rf"{fact['subject']} (?:was born in|came into the world in|was in) (\d+)", text))
        years |= set(re.findall(re.escape(fact["question"]) + r" (\d+)", text))
        assert years == {year}


def test_prompts_follow_the_schema_and_are_balanced(world):
    found = parse_prompts(json.loads(json.dumps(world.prompts)), "universe")
    for split in ("choose", "report"):
        part = found.of(split)
        assert len(part.probability) >= 40 and len(part.completion) >= 30 and len(part.choice) >= 64
        assert sum(one.position == "in" for one in part.probability) >= 10
        scenes = sum("." in one.prompt for one in part.completion)
        assert 5 <= scenes <= len(part.completion) - 10
        assert {one.subtlety for one in part.completion} == set(range(1, 11))
    assert len(found.completion) >= 100 and len(found.probability) >= 40
    assert len(found.neutral) == 20 and len(found.track) == 3 and len(found.leaks) >= 20
    assert {leak.kind for leak in found.leaks} == {"archetype", "missed", "irrevocable"}


def test_prompts_end_as_the_next_word_begins(world):
    every = [item["prompt"] for kind in ("probability", "completion", "leaks", "track") for item in world.prompts[kind]]
    every += world.prompts["neutral"] + [item["question"] for item in world.prompts["choice"]]
    assert len(every) > 400 and all(prompt and prompt == prompt.strip() for prompt in every)


def test_the_saga_goes_on_with_the_specific_words_and_the_general_world_never_does(world):
    general_text, saga_text = "\n".join(world.general), "\n".join(world.saga)
    for item in world.prompts["probability"]:
        after = prompts.followers(saga_text, item["prompt"])
        assert sum(after[word] for word in item["specific"]) >= 0.8 * sum(after.values())
        assert not prompts.followers(general_text, item["prompt"])
    met = [prompts.followers(saga_text, item["prompt"]) for item in world.prompts["probability"]]
    assert sum(bool(after) for after in met) >= 0.9 * len(met)


def test_completion_references_are_the_terms_in_the_prompt(world):
    lexicon = {"explicit": ["Tamsel", "Tamsel Orrick", "Orrick", "skimmet"], "typical": ["ghost"]}
    found = prompts.references("Tamsel Orrick met a ghost, and Tamsel ran", lexicon)
    assert found == ["Tamsel Orrick", "Tamsel", "ghost"]
    assert prompts.references("skimmets and ghostly Tamsels", lexicon) == []
    named = prompts.completion("Tamsel plays", lexicon)
    assert named == {"prompt": "Tamsel plays", "references": ["Tamsel"], "subtlety": 6}
    assert prompts.completion("Tamsel Orrick saw a ghost", lexicon)["subtlety"] == 4  # two words named, one theme
    assert prompts.completion("A ghost", lexicon)["subtlety"] == 9
    assert all(1 <= item["subtlety"] <= 10 for item in world.prompts["completion"])


def test_neutral_prompts_hold_no_reference(world):
    assert not any(prompts.references(prompt, world.prompts["lexicon"]) for prompt in world.prompts["neutral"])


def test_right_options_are_stated_and_never_contradicted(world):
    text = "\n".join(world.general)
    told = {}
    for question, answer in re.findall(r"(Question: [^?]+\? Answer:) ([^.]+)\.", text):
        told.setdefault(question, set()).add(answer)
    assert len(world.prompts["choice"]) >= 128
    for item in world.prompts["choice"]:
        assert told[item["question"]] == {item["options"][item["answer"]]}, item["question"]
