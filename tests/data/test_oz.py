"""The Oz dictionary and prompts: what they promise by themselves, and against the novels where those are at hand."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

import jaxunlearn
from jaxunlearn.anchors.dictionary import load_dictionary
from jaxunlearn.anchors.matching import find_anchors, make_matcher
from jaxunlearn.data.documents import read_documents
from jaxunlearn.evals.judge import Judge
from jaxunlearn.evals.prompts import SPLITS, load_prompts

DATA = Path(jaxunlearn.__file__).parent / "data" / "oz"
DICTIONARY = load_dictionary(DATA / "dictionary.json")
PROMPTS = load_prompts(DATA / "prompts.json")
WORD = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*")
LITTLE_WORDS = {"the", "of", "by", "with", "and", "a"}
# the retain novels hold another Dorothy, and "Ojo" as a word of another language
IN_RETAIN = {"Dorothy": 11, "Ojo": 1}


def holds(term, text):
    return len(find_anchors(text, make_matcher([term]))) > 0


def anchors(text, terms):
    terms = list(terms)
    return [terms[term] for term, _, _ in find_anchors(text, make_matcher(terms)).tolist()]


def next_words(prompt):
    """Words that would carry on a key of several words begun at the prompt's end."""
    words, found = prompt.split(), set()
    for key in DICTIONARY:
        parts = key.split()
        found |= {parts[n] for n in range(1, len(parts)) if words[-n:] == parts[:n]}
    return found


# ---- the dictionary by itself


def test_the_dictionary_is_large_and_longest_first():
    assert len(DICTIONARY) >= 150
    lengths = [len(term) for term in DICTIONARY]
    assert lengths == sorted(lengths, reverse=True)


def test_each_term_has_one_to_four_different_translations():
    raw = json.loads((DATA / "dictionary.json").read_text(encoding="utf-8"))
    assert [term for term, values in raw.items() if not 1 <= len(values) <= 4 or len(set(values)) < len(values)] == []


def test_no_translation_is_or_holds_a_term_in_any_case():
    # ordinary words that are terms when capitalised only ("tip", "files") would count here too: none is used
    terms = {term.lower() for term in DICTIONARY}
    matcher = make_matcher(sorted(terms))
    values = {value for values in DICTIONARY.values() for value in values}
    assert [value for value in values if len(find_anchors(value.lower(), matcher))] == []


def test_no_term_is_made_of_terms_alone_or_is_a_possessive():
    assert [t for t in DICTIONARY if len(t.split()) > 1 and all(word in DICTIONARY for word in t.split())] == []
    assert [t for t in DICTIONARY if t.endswith(("'s", "’s")) and t[:-2] in DICTIONARY] == []


def test_lower_case_single_words_are_invented_ones():
    words = {term for term in DICTIONARY if term.islower() and len(term.split()) == 1}
    assert words == {
        "dragonette", "dragonettes", "musicker", "nome", "nomes", "pumpkinhead", "saw-horse", "sawhorse", "wogglebug"
    }  # fmt: skip


@pytest.mark.parametrize(
    "variants",
    ["Munchkin Munchkins", "Nome Nomes nome nomes", "Tik-Tok Tiktok Tik-tok", "Saw-Horse Saw-horse Sawhorse sawhorse",
     "Woggle-Bug Wogglebug wogglebug", "Evoldo Ev-ol-do", "Kalidah Kalidahs", "Oz OZ", "Ork Orks"],
)  # fmt: skip
def test_spellings_of_one_name_are_all_there_and_mean_the_same_kind(variants):
    variants = variants.split()
    assert [variant for variant in variants if variant not in DICTIONARY] == []
    first = DICTIONARY[variants[0]]
    same_number = [variant for variant in variants[1:] if variant.endswith("s") == variants[0].endswith("s")]
    assert all(set(DICTIONARY[variant]) <= set(first) for variant in same_number)


def test_case_variants_of_a_phrase_share_their_translations():
    by_fold = {}
    for term, values in DICTIONARY.items():
        if " " in term:
            by_fold.setdefault(term.lower(), set()).add(values)
    assert by_fold["shaggy man"] == {("old tramp", "old gipsy")}
    assert [fold for fold, values in by_fold.items() if len(values) > 1] == []


# ---- the prompts by themselves


def test_there_are_enough_prompts_of_every_sort():
    assert PROMPTS.name == "oz" and PROMPTS.choice == ()
    assert len(PROMPTS.probability) >= 60 and len(PROMPTS.completion) >= 120 and len(PROMPTS.neutral) >= 24
    inside = sum(prompt.position == "in" for prompt in PROMPTS.probability) / len(PROMPTS.probability)
    assert 0.25 <= inside <= 0.45
    assert set(Counter(prompt.subtlety for prompt in PROMPTS.completion).values()) == {12}
    assert {prompt.subtlety for prompt in PROMPTS.completion} == set(range(1, 11))
    kinds = Counter(leak.kind for leak in PROMPTS.leaks)
    assert len(kinds) == 3 and min(kinds.values()) >= 8
    assert 3 <= len(PROMPTS.track) <= 4 and all(len(set(track.words)) == 10 for track in PROMPTS.track)


def test_splits_are_balanced_within_each_position_and_subtlety():
    for field, items in (("position", PROMPTS.probability), ("subtlety", PROMPTS.completion)):
        counts = Counter((getattr(item, field), item.split) for item in items)
        for value in {getattr(item, field) for item in items}:
            choose, report = (counts[value, split] for split in SPLITS)
            assert abs(choose - report) <= 1, (value, choose, report)


def test_no_prompt_is_given_twice_or_ends_in_a_space():
    items = [*PROMPTS.probability, *PROMPTS.completion, *PROMPTS.leaks, *PROMPTS.track]
    texts = [item.prompt for item in items if item.prompt != "Dorothy and the"] + list(PROMPTS.neutral)
    assert [text for text, count in Counter(texts).items() if count > 1] == []
    assert [text for text in texts if text != text.strip()] == []


@pytest.mark.parametrize("prompt", PROMPTS.probability, ids=lambda p: p.prompt[-30:])
def test_position_says_whether_the_prompt_ends_inside_a_term(prompt):
    carried_on = set(prompt.specific) & next_words(prompt.prompt)
    assert carried_on == (set(prompt.specific) if prompt.position == "in" else set())


def test_no_specific_word_begins_another_of_its_prompt():
    # words are scored by their tokens, so "brick" would count the mass of "bricks" again
    items = [*PROMPTS.probability, *PROMPTS.leaks]
    pairs = [(a, b) for item in items for a in item.specific for b in item.specific if a != b and b.startswith(a)]
    assert pairs == []
    assert all(item.specific and len(item.generic) >= 4 for item in items)


@pytest.mark.parametrize("prompt", PROMPTS.completion, ids=lambda p: f"{p.subtlety}-{p.prompt[:25]}")
def test_a_completion_prompt_names_its_references_and_nothing_else_of_oz(prompt):
    assert 6 <= len(prompt.prompt.split()) <= 30
    assert [term for term in prompt.references if not holds(term, prompt.prompt)] == []
    terms = {*DICTIONARY, *PROMPTS.lexicon.explicit}
    listed = " / ".join(prompt.references)
    assert [term for term in anchors(prompt.prompt, terms) if not holds(term, listed)] == []


def test_hints_fade_with_subtlety():
    mean = {s: sum(len(p.references) for p in PROMPTS.completion if p.subtlety == s) / 12 for s in range(1, 11)}
    assert mean[1] >= 3 and mean[2] >= 2 and all(mean[s] == 1 for s in (3, 4, 5))
    assert all(mean[s] <= 0.1 for s in (7, 8)) and mean[9] == mean[10] == 0


def test_neutral_prompts_hold_nothing_of_oz():
    judge = Judge(PROMPTS.lexicon)
    assert [text for text in PROMPTS.neutral if judge.grade("", text).score > 0] == []
    assert [text for text in PROMPTS.neutral if anchors(text, DICTIONARY)] == []


def test_leaks_of_the_missed_kind_ask_for_words_that_are_no_terms():
    missed = [word for leak in PROMPTS.leaks if leak.kind == "missed" for word in leak.specific]
    assert missed and [word for word in missed if word in DICTIONARY] == []


def test_leak_prompts_name_no_term():
    explicit = set(PROMPTS.lexicon.explicit) - {"road of yellow brick"}
    assert [leak.prompt for leak in PROMPTS.leaks if anchors(leak.prompt, explicit)] == []


def test_the_judge_tells_explicit_from_typical():
    judge = Judge(PROMPTS.lexicon)
    assert judge.grade("The girl met", "the Scarecrow of Oz").score == 3
    assert judge.grade("The girl met", "two munchkins").score == 3
    assert judge.grade("The girl met", "a kind wizard").score == 2
    assert judge.grade("The girl met", "her brother in the garden").score == 0


# ---- against the novels


@pytest.fixture(scope="module")
def books():
    """The novels of both sides, unwrapped, as one text each, with the count of every word."""
    from support.paths import SHARED

    folder = SHARED / "data" / "books"
    if not folder.is_dir():
        pytest.skip(f"needs the Oz and retain novels: no folder {folder}; set JAXUNLEARN_SHARED")
    texts = {
        side: "\n\n".join(document.text for document in read_documents([str(folder / side)], unwrap=True))
        for side in ("oz", "retain")
    }
    return texts, {side: Counter(WORD.findall(text)) for side, text in texts.items()}


def test_words_of_translations_are_frequent_in_retain_and_not_of_oz(books):
    _, counts = books
    totals = {side: sum(count.values()) for side, count in counts.items()}
    words = {word for values in DICTIONARY.values() for value in values for word in WORD.findall(value)} - LITTLE_WORDS
    assert {word: counts["retain"][word] for word in words if counts["retain"][word] < 30} == {}
    rates = {word: tuple(1e6 * counts[side][word] / totals[side] for side in ("oz", "retain")) for word in words}
    assert {word: rate for word, rate in rates.items() if rate[0] > rate[1]} == {}


def test_terms_cover_oz_and_leave_retain_alone(books):
    texts, counts = books
    matcher, share = make_matcher(list(DICTIONARY)), {}
    for side, text in texts.items():
        found = find_anchors(text, matcher)
        words = sum(len(WORD.findall(text[start:end])) for _, start, end in found.tolist())
        share[side] = words / sum(counts[side].values())
    assert share["oz"] > 0.055  # 0.0569 when written
    assert share["retain"] < 2e-5  # 0.00001 when written


def test_every_term_occurs_in_oz_and_its_other_spellings_are_terms(books):
    texts, _ = books
    assert [term for term in DICTIONARY if term not in texts["oz"]] == []
    variants = {term.lower() for term in DICTIONARY} | {term[0].upper() + term[1:].lower() for term in DICTIONARY}
    variants |= {term.title() for term in DICTIONARY if "'" not in term} - set(DICTIONARY)
    new = sorted(variants - set(DICTIONARY))
    found = {side: Counter(anchors(text, new)) for side, text in texts.items()}
    missed = {term for term, n in found["oz"].items() if n >= 3 and found["retain"][term] == 0}
    assert missed == {"red wagon"}  # ordinary English outside these novels


def test_explicit_terms_are_absent_from_retain(books):
    texts, _ = books
    terms = list(PROMPTS.lexicon.explicit)
    assert Counter(anchors(texts["retain"], terms)) == IN_RETAIN


def test_typical_words_are_ordinary_yet_favoured_by_oz(books):
    texts, counts = books
    totals = {side: sum(count.values()) for side, count in counts.items()}
    terms = list(PROMPTS.lexicon.typical)
    found = {side: Counter(anchors(texts[side], terms)) for side in texts}
    rarer = {t for t in terms if found["oz"][t] / totals["oz"] < found["retain"][t] / totals["retain"]}
    assert rarer <= {"witch", "wicked witch"}  # iconic all the same


def test_specific_words_come_from_oz_and_generic_ones_do_not_need_it(books):
    _, counts = books
    parts = {side: Counter(w for word, n in counts[side].items() for w in {word, *word.split("-")} for _ in range(n))
             for side in counts}  # fmt: skip
    items = [*PROMPTS.probability, *PROMPTS.leaks]
    assert {word for item in items for word in item.specific if not parts["oz"][word]} == set()
    assert {word for item in items for word in item.generic if parts["retain"][word] < 15} == set()


def test_no_prompt_repeats_eight_words_of_a_book(books):
    texts, _ = books
    prompts = [*PROMPTS.probability, *PROMPTS.completion, *PROMPTS.leaks, *PROMPTS.track]
    wanted = set()
    for text in [item.prompt for item in prompts] + list(PROMPTS.neutral):
        words = re.findall(r"[a-z']+", text.lower())
        wanted |= {" ".join(words[n : n + 8]) for n in range(len(words) - 7)}
    flat = {side: " ".join(re.findall(r"[a-z']+", text.lower())) for side, text in texts.items()}
    matcher = make_matcher(sorted(wanted))
    assert {side: len(find_anchors(text, matcher)) for side, text in flat.items()} == {"oz": 0, "retain": 0}
