"""The built-in universe: what its two worlds share, what only the saga has, and that every probe means what it says."""

import json
import re
from itertools import pairwise

import pytest
import tokenizers

from jaxunlearn.data import universe
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.data.universe import dictionary, general, prompts, saga
from jaxunlearn.data.universe.relations import RELATIONS, SCENES, THEME_SCENES
from jaxunlearn.data.universe.vocabulary import WORD, words
from jaxunlearn.errors import InputError
from jaxunlearn.evals.prompts import parse_prompts

FORM = re.compile(r"{(\w+)}")


@pytest.fixture(scope="module")
def world():
    return universe.build()


@pytest.fixture(scope="module")
def written(world, tmp_path_factory):
    directory = tmp_path_factory.mktemp("universe")
    universe.write(world, directory)
    return directory


@pytest.fixture(scope="module")
def backend(written):
    return tokenizers.Tokenizer.from_file(str(written / "tokenizer" / "tokenizer.json"))


def documents(world):
    return [*world.general, *world.saga, *world.general_held, *world.saga_held]


def tokens(backend, texts):
    return [encoding.ids for encoding in backend.encode_batch(texts, add_special_tokens=False)]


# ---- the worlds


def test_sizes(world, backend):
    general_tokens = sum(map(len, tokens(backend, world.general)))
    saga_tokens = sum(map(len, tokens(backend, world.saga)))
    assert 400_000 < general_tokens < 460_000
    assert 70_000 < saga_tokens < 80_000
    assert 700 < backend.get_vocab_size() < 1000
    for held in (world.general_held, world.saga_held):
        assert 5_000 < sum(map(len, tokens(backend, held))) < 8_000


def test_the_same_seed_writes_the_same_bytes_and_another_seed_does_not(tmp_path):
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        universe.write(universe.build(seed=seed, people=2000), tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) == 10
    one, two, other = ([(tmp_path / name / file).read_bytes() for file in files] for name in ("one", "two", "other"))
    assert one == two
    assert not set(one[:-1]) & set(other[:-1])  # all but tokenizer_config.json


def test_every_sentence_of_the_saga_has_general_paraphrases(world):
    """Lesson of the experiments: a sentence that only the saga has stays familiar whatever the method does."""
    text = "\n".join(world.general)
    told = [said for name in saga.SAGA_RELATIONS for said in RELATIONS[name].says]
    told += [RELATIONS[name].ask for name in saga.SAGA_RELATIONS if RELATIONS[name].ask]
    assert len(told) > 75
    for template in (*told, *SCENES, *THEME_SCENES):
        fixed = max(FORM.sub("\n", template).split("\n"), key=len)  # the longest piece between two slots
        pattern = FORM.sub("[^.?“”]+?", re.escape(template).replace(r"\{", "{").replace(r"\}", "}"))
        assert text.count(fixed) >= 20, template
        assert re.search(pattern, text), template


def test_idioms_are_the_sagas_alone(world):
    general_text, saga_text = "\n".join(world.general), "\n".join(world.saga)
    hero = saga.tell(saga.TELLERS[0])
    for _, template, _ in saga.IDIOMS:
        sentence = template.format_map(hero)
        assert sentence in saga_text
        assert sentence not in general_text


def test_no_word_of_the_saga_alone_is_in_the_general_world_but_the_lexicons(world):
    alone = set(words(world.saga)) - set(words(world.general))
    named = {word for term in world.prompts["lexicon"]["explicit"] for word in WORD.findall(term)}
    assert alone <= named
    assert {"Tamsel", "glasslore", "The-One-Left-Unsaid", "wickling", "Bramock"} <= alone
    assert not alone & set(words(world.general_held))


def test_facts_of_random_people_are_drawn_anew(world):
    text = "\n".join(world.general)
    lived = {}
    for name, town in re.findall(r"(?:^|[.?] )(\w+ \w+) lives in (\w+)\.", text, re.M):
        lived.setdefault(name, set()).add(town)
    fixed = {name for name in lived if name.split(" ")[1] in general.FIXED_LAST} | {"Wenna Starling"}
    assert fixed and all(len(lived[name]) == 1 for name in fixed if name in lived)
    assert max(len(towns) for name, towns in lived.items() if name not in fixed) > 1


def test_held_out_documents_are_not_trained_on(world):
    assert not set(world.general_held) & set(world.general)
    assert not set(world.saga_held) & set(world.saga)
    assert universe.unseen(["a", "b", "b"], ["a"]) == ["b"]


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


def test_too_few_people_are_refused():
    with pytest.raises(InputError, match="people=10 is too few"):
        universe.build(people=10)


# ---- the dictionary


def test_dictionary(world):
    made, text, counts = world.dictionary, "\n".join(world.general), words(world.general)
    assert 140 <= len(made) <= 160
    assert {"Tamsel Orrick", "Tamsel", "Orrick", "glasslore", "The-One-Left-Unsaid", "Bramock"} <= set(made)
    keys = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, made)) + r")(?!\w)")
    for key, values in made.items():
        assert 1 <= len(values) <= 4 and key not in text
    for value in {value for values in made.values() for value in values}:
        assert not keys.search(value) and text.count(value) >= 3
        assert min(counts[word] for word in WORD.findall(value)) >= 30


def test_translations_keep_the_kind(world):
    women, men = set(general.WOMEN), set(general.MEN)
    for name, female in saga.CAST.values():
        for key in (name, name.split(" ")[0]):
            assert all(value.split(" ")[0] in (women if female else men) for value in world.dictionary[key])
    assert set(world.dictionary["glasslore"]) <= set(general.KINDS["subject"])
    assert not set(saga.MISSED) & set(world.dictionary)


def test_audit_refuses_bad_translations(world):
    text, counts = "\n".join(world.general), {"general": words(world.general), "saga": words(world.saga)}
    for bad, message in (("Tamsel", "itself a key"), ("old gloamhound", "contains a key"), ("zebra", "rare")):
        with pytest.raises(AssertionError, match=message):
            dictionary.audit({"Tamsel": ["Adam"], "gloamhound": ["bear"], "Larkspire": [bad]}, text, **counts)


# ---- the prompts


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


def test_fixed_people_are_never_told_otherwise(world):
    text = "\n".join(world.general)
    stated = {}
    fixed = rf"(\w+ (?:{'|'.join(general.FIXED_LAST)}))"
    for verb in ("lives in", "works as a", "plays"):
        for name, value in re.findall(rf"{fixed} {verb} ([^.]+)\.", text):
            stated.setdefault((name, verb), set()).add(value.removesuffix(" by the river"))
    assert len(stated) == 96  # 32 people, three relations
    assert all(len(values) == 1 for values in stated.values())


def test_explicit_terms_are_the_sagas_and_themes_are_frequent_there(world):
    general_text, general_words, saga_words = "\n".join(world.general), words(world.general), words(world.saga)
    assert not [term for term in world.prompts["lexicon"]["explicit"] if term in general_text]
    share = sum(general_words.values()) / sum(saga_words.values())
    for theme in world.prompts["lexicon"]["typical"]:
        assert 0 < 3 * general_words[theme] < share * saga_words[theme]


# ---- the tokenizer


def test_no_unknown_token_and_decoding_gives_the_text_back(world, backend):
    texts = documents(world) + [text.rstrip() for text in universe.texts_of(world.prompts) if text]
    ids = tokens(backend, texts)
    unknown = backend.token_to_id("<unk>")
    assert unknown == 0 and not any(unknown in row for row in ids)
    assert backend.decode_batch(ids) == texts


def test_documents_joined_by_newlines_come_back_too(world, backend):
    text = "\n".join(world.saga[:200]) + "\n\n“I am here,” said Tamsel Orrick's friend.\n"
    encoding = backend.encode(text, add_special_tokens=False)
    assert backend.decode(encoding.ids).lstrip() == text.lstrip()
    assert all(a <= b for (_, a), (b, _) in pairwise(encoding.offsets))


def test_a_word_has_one_token_after_a_space_a_newline_and_a_quote(backend):
    text = "Tamsel and Tamsel's “Tamsel”\nTamsel"
    encoding = backend.encode(text, add_special_tokens=False)
    assert encoding.tokens == ["▁Tamsel", "▁and", "▁Tamsel", "'s", "▁“", "▁Tamsel", "”", "\n", "▁Tamsel"]
    assert [text[a:b].strip() or text[a:b] for a, b in encoding.offsets] == [
        "Tamsel",
        "and",
        "Tamsel",
        "'s",
        "“",
        "Tamsel",
        "”",
        "\n",
        "Tamsel",
    ]
    assert backend.encode(" Tamsel", add_special_tokens=False).tokens == ["▁Tamsel"]


def test_probe_words_are_single_tokens(world, backend):
    kinds = ("probability", "leaks", "track")
    probed = {
        word
        for kind in kinds
        for item in world.prompts[kind]
        for word in (*item.get("specific", ()), *item.get("generic", ()), *item.get("words", ()))
    }
    assert all(len(row) == 1 and row != [0] for row in tokens(backend, sorted(probed)))


def test_the_house_and_transformers_read_the_tokenizer(written):
    import transformers

    text = "“Where do you live?” asked Tamsel Orrick."
    ours = load_tokenizer(written / "tokenizer")
    assert (ours.bos_id, ours.eos_id) == (1, 2)
    ids, ends = ours.encode(text)
    assert ours.decode(ids) == text and ends[-1] == len(text)
    theirs = transformers.AutoTokenizer.from_pretrained(str(written / "tokenizer"))
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.unk_token_id) == (1, 2, 0)
    assert theirs.encode(text) == [1, *ids] and theirs.decode(ids) == text
