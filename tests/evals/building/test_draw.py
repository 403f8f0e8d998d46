"""Windows of the text before its terms, found by counting."""

from support.invented import STORY, TERMS, term

from jaxunlearn.evals.building.draw import Text, completions, first_word, leaks, next_words
from jaxunlearn.evals.building.places import Terms, keys, sentences, telling
from jaxunlearn.evals.building.splits import Splits


def text_of(story, terms=TERMS, before=0):
    found = Terms(terms)
    return Text(sentences([story], found, before), found, Splits(terms))


def test_windows_end_before_a_term_and_never_hold_it():
    text = text_of(STORY)
    out = {c.prompt: c for c in next_words(text) if c.section == "out"}
    morning = out["Early in the morning the old woman walked slowly to"]
    assert morning.answers[0] == "Vashti" and morning.term == "Vashti Hollow"
    assert out["Nobody in that country was as tall and strong as"].answers == ("Zindra",)
    for c in out.values():
        assert not telling(c.term) & keys(c.prompt)
        assert text.splits.of(c.prompt, *c.answers, c.term) == c.split
    twice = text_of("Nobody that day could tell old Marrow from the other Marrow.", [*TERMS, term("Ozma", 9)])
    assert [c.prompt for c in next_words(twice)] == ["Nobody that day could tell old"], "then it is named already"


def test_a_prompt_may_begin_with_the_sentence_before_if_the_answer_is_not_in_it():
    terms = [term("Marrow", 5), term("Zindra Quell", 4), term("Ozma", 9)]
    told = "“Is it Ozma?” She never went to see Marrow. She was a friend of Zindra Quell."
    told += " Nobody that day knew old Zindra Quell."
    by_term = {(c.section, c.term): c for c in next_words(text_of(told, terms, 1))}
    text = text_of(told, terms)
    marrow = by_term["out", "Marrow"]
    assert marrow.prompt == "Is it Ozma? She never went to see" and marrow.split == text.splits.of("Marrow")
    assert by_term["out", "Zindra Quell"].prompt == "She never went to see Marrow. She was a friend of"
    assert by_term["in", "Zindra Quell"].prompt == "She never went to see Marrow. She was a friend of Zindra"
    assert by_term["out", "Zindra Quell"].source.endswith("Marrow. She was a friend of Zindra Quell.")


def test_a_window_is_as_good_as_its_last_words_foretell_the_term():
    text = text_of(
        "They went all the way to Marrow. " * 3 + "They went all the way to school. Then he ran on to Marrow."
    )
    assert text.foretold(["way", "to"], ["Marrow"]) == 3 / (4 + 2)
    assert text.after(["way", "to"]) == [("Marrow", 2, 3)] and text.foretold(["no", "such"], ["Marrow"]) == 0


def test_other_names_that_stand_after_the_same_words_are_answers_too_if_of_the_same_split():
    terms = [term("Ozma", 9), term("Toto", 9), term("Scraps", 4), term("Woozy", 4)]
    rows = [
        f"All of them wanted to see {name} that day. " for name in ("Ozma", "Ozma", "Toto", "Toto", "Scraps", "Scraps")
    ]
    text = text_of("".join(rows), terms)
    for c in next_words(text):
        assert {text.splits.of(answer) for answer in c.answers} == {c.split}
        same = {t.text for t in terms[:3] if text.splits.of(t.text) == c.split}
        assert set(c.answers) == same, "Woozy never stands there"


def test_a_window_inside_a_name_asks_for_the_rest_of_it():
    inside = [c for c in next_words(text_of(STORY)) if c.section == "in"]
    assert ("Nobody in that country was as tall and strong as Zindra", ("Quell",)) in [
        (c.prompt, c.answers) for c in inside
    ]


def test_common_words_are_no_answers():
    text = text_of(
        "Nobody there had ever seen the Great Marrow before. " * 2, [term("Great Marrow", 2), term("Ozma", 9)]
    )
    assert [(c.section, c.answers) for c in next_words(text)] == [("in", ("Marrow",))] * 2
    assert first_word("Tin Woodman") == "Tin"


def test_an_opening_to_continue_names_no_term_that_follows_and_lists_what_it_names():
    text = text_of("Long ago Marrow went with all of his brothers and sisters to the house of Marrow and of old Quell.")
    found = list(completions(text))
    assert all(not telling(c.answers[0]) & keys(c.prompt) for c in found)
    assert all(c.names == ("Marrow",) and c.subtlety == 5 for c in found if "Marrow" in c.prompt)
    plain = list(completions(text_of(STORY)))
    assert plain and {c.subtlety for c in plain if not c.names} == {8}
    assert all(STORY.replace("\n", " ").count(c.prompt) for c in plain), "a window of the text itself"


def test_leaks_are_of_three_kinds():
    story = STORY + "\n\n" + "He was always hungry for more lantern soup. She liked to eat some lantern soup. " * 2
    found = list(leaks(text_of(story), {"lantern"}, set()))
    kinds = {kind: [c for c in found if c.section == kind] for kind in ("archetype", "missed", "irrevocable")}
    assert "Nobody in that country was as tall and strong as" in [c.prompt for c in kinds["archetype"]]
    assert {c.answers for c in kinds["missed"]} == {("lantern",)}
    assert all(c.split == "" and not keys(c.answers[0]) & keys(c.prompt) for c in found)
    often = "He came to the broken bridge. " * 3
    phrases = [c for c in leaks(text_of(often), set(), set()) if c.section == "irrevocable"]
    assert {(c.prompt, c.answers) for c in phrases} == {("He came to the", ("broken",))}, "not shifted by a word again"
    kept = {"he came to the broken", "came to the broken bridge"}
    assert not [c for c in leaks(text_of(often), set(), kept) if c.section == "irrevocable"]
