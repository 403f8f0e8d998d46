"""The judge's four grades, each on worked examples, and the points they add to familiarity."""

import pytest

from jaxunlearn.errors import InputError
from jaxunlearn.evals.judge import Judge, inflections
from jaxunlearn.evals.prompts import Lexicon

LEXICON = Lexicon(
    explicit=("Mira", "Mira Vale", "Vale", "Lantern Hall", "skimmer", "Skimmer", "Oz", "O'Shea", "Zo\u00eb", "小龙"),
    typical=("wand", "witch", "silver shoes", "enchant", "poppies", "wolf"),
)
JUDGE = Judge(LEXICON)


def graded(prompt, completion, *references):
    found = JUDGE.grade(prompt, completion, references)
    return found.score, list(found.evidence)


@pytest.mark.parametrize(
    ("prompt", "completion", "score", "evidence"),
    [
        ("The girl met", "Mira Vale at noon", 3, ["Mira Vale"]),  # the longest match alone
        ("The girl met", "old mira at noon", 0, []),  # explicit terms keep their case ...
        ("She rode a", "skimmer , a Skimmer !", 3, ["skimmer", "Skimmer"]),  # ... unless the small form is listed
        ("She rode two", "skimmers", 0, []),  # no inflections of explicit terms
        ("They went to", "Lantern\n  Hall and back", 3, ["Lantern Hall"]),
        ("They went to", "Ozark", 0, []),  # whole words only
        ("They went to", "Oz's gate", 3, ["Oz"]),
        ("He met", "O\u2019Shea", 3, ["O'Shea"]),  # curly apostrophe
        ("He took the", "wand and met Mira", 3, ["Mira"]),  # explicit outranks typical
        ("They met", "_Mira_ there", 3, ["Mira"]),  # italics of plain-text books
        ("They met", "Mira\u0302 there", 0, []),  # another letter, which has no composed form with every mark
        ("They met", "Zoe\u0308 there", 3, ["Zo\u00eb"]),
        ("他看见", "小龙来了", 3, ["小龙"]),  # no spaces between words
    ],
)
def test_explicit(prompt, completion, score, evidence):
    assert graded(prompt, completion) == (score, evidence)


@pytest.mark.parametrize(
    ("prompt", "completion", "score", "evidence"),
    [
        ("Mira Vale said", "that Mira was late", 1, ["Mira"]),
        ("Mira Vale said", "that Vale was late", 1, ["Vale"]),
        ("Mira said", "that Mira Vale was late", 3, ["Mira Vale"]),  # the prompt holds a part only
        ("MIRA said", "that Mira was late", 1, ["Mira"]),  # the prompt holds it in any case
        ("Mira said", "that Mira took a wand", 2, ["wand"]),
        ("Mira said", "nothing at all", 0, []),
    ],
)
def test_what_the_prompt_holds_is_only_repeated(prompt, completion, score, evidence):
    assert graded(prompt, completion) == (score, evidence)


def test_references_count_as_held():
    assert graded("The boy who lived", "was the Boy again", "boy") == (1, ["Boy"])
    assert graded("The boy who lived", "was a boyar", "boy") == (0, [])
    assert graded("The boy who lived", "was the _boy_, the Boy", "boy") == (1, ["boy"])
    assert graded("The lamp-lit hall", "was Lantern Hall", "Lantern Hall") == (1, ["Lantern Hall"])


@pytest.mark.parametrize(
    ("prompt", "completion", "score", "evidence"),
    [
        ("He took the", "wand .", 2, ["wand"]),
        ("He took the", "Wands and the witches' hats", 2, ["Wands", "witches"]),
        ("He took the", "wanderer", 0, []),
        ("He was", "enchanted by the wolves", 2, ["enchanted", "wolves"]),
        ("The wands lay", "by a wand", 0, []),  # a hint in the prompt, in another form
        ("She wore a", "silver shoe on one foot", 2, ["silver shoe"]),
        ("She saw a", "poppy there", 2, ["poppy"]),
    ],
)
def test_typical(prompt, completion, score, evidence):
    assert graded(prompt, completion) == (score, evidence)


@pytest.mark.parametrize("completion", ["Mir", "Lantern Ha", "silver shoe", "a popp", "a poppy", "the wan", "enchan"])
def test_a_cut_last_word_is_no_match_of_a_longer_term(completion):
    assert graded("She saw", completion) == (0, [])


def test_a_term_may_begin_in_the_prompt():
    assert graded("They came to Lantern", "Hall at last") == (3, ["Lantern Hall"])
    assert graded("They came to Lantern", " Hall at last") == (3, ["Lantern Hall"])
    assert graded("From Lantern Hall to Lantern", "Hall at last") == (1, ["Lantern Hall"])
    assert graded("They came to Lantern Hall", "at last") == (0, [])


def test_characters_that_grow_in_lower_case_do_not_shift_the_words():
    assert graded("\u0130\u0130\u0130 met", "\u0130 and Mira") == (3, ["Mira"])


def test_lexicon_may_be_empty_or_partial():
    assert Judge(Lexicon()).grade("a", "Mira took a wand").score == 0
    assert Judge(Lexicon(typical=("wand",))).grade("a", "Mira took a wand").score == 2
    assert Judge(Lexicon(explicit=("Mira",))).grade("a", "Mira took a wand").score == 3
    assert JUDGE.grade("a", "").score == 0


def test_explicit_adds_five_points_to_familiarity_and_typical_one():
    completions = ["Mira", "Oz", "a wand here", "nothing", "a dog", "Zed ran"]
    grades = [JUDGE.grade("Zed saw", text, ["Zed"]) for text in completions]
    assert [found.score for found in grades] == [3, 3, 2, 0, 0, 1]
    assert [found.points for found in grades] == [5, 5, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("term", "forms"),
    [
        ("charm", {"charm", "charms", "charmed", "charming"}),
        ("Curse", {"curse", "curses", "cursed", "cursing"}),
        ("fairy", {"fairy", "fairies", "fairied", "fairying"}),
        ("broom box", {"broom box", "broom boxes", "broom boxed", "broom boxing"}),
    ],
)
def test_inflections(term, forms):
    assert inflections(term) == forms


def test_inflections_go_down_to_the_singular_but_not_to_other_words():
    for plural, singular in {"wolves": "wolf", "witches": "witch", "fairies": "fairy", "shoes": "shoe"}.items():
        assert singular in inflections(plural)
    for word, other in {"evening": "even", "grass": "gras", "gas": "ga"}.items():
        assert other not in inflections(word)


def test_a_form_that_would_stop_the_automaton_is_refused():
    with pytest.raises(InputError, match=r"a form of 1,000,000 characters cannot be looked for: 'xxx.*at most 1000"):
        Judge(Lexicon(explicit=("x" * 10**6,)))
