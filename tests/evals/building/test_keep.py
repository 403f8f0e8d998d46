"""What is made of the text to keep: distractors, neutral openings, questions."""

from support.invented import KEEP, STORY, TERMS, term

from jaxunlearn.evals.building import keep
from jaxunlearn.evals.building.draw import Text
from jaxunlearn.evals.building.places import Terms, keys, sentences
from jaxunlearn.evals.building.splits import Splits, Taken

PLACES = ("by the river lived", "near a wood stood", "at the sea sat", "on a hill slept", "under the rocks sang")
SENTENCES = sentences([KEEP])


def test_distractors_are_what_other_text_has_there():
    followers = keep.Followers(SENTENCES)
    assert followers.generic(["to", "the"], set())[0] == "market"
    assert "market" not in followers.generic(["to", "the"], {"market"})
    assert followers.generic(["never", "heard"], set()) == []


def test_neutral_openings_hold_no_word_of_the_target_and_are_not_near_each_other():
    found = keep.neutral(sentences([KEEP, STORY]), Splits(TERMS), Taken(), 5)
    assert found and all(
        keys(prompt).isdisjoint({"zindra", "quell", "vashti", "hollow", "marrow", "wumbler"}) for prompt in found
    )
    taken = Taken()
    assert all(taken.take(prompt) for prompt in found)


def test_questions_have_one_right_name_among_names_of_the_text_to_keep():
    named = [term(name, 9) for name in ("Anna", "Peter", "Clara", "Oscar", "Ruth")]
    told = "".join(f"Of all those who lived in {n} houses there one was {t.text}. " for n, t in enumerate(named))
    terms = Terms(named)
    text = Text(sentences([told.replace("one was", "the best was")], terms), terms, Splits(named))
    assert not keep.questions(text, Splits(TERMS), Taken(), 10), "every name may stand there"
    told = "".join(f"Once upon a time in a house {place} {t.text}. " for place, t in zip(PLACES, named, strict=True))
    text = Text(sentences([told], terms), terms, Splits(named))
    made = keep.questions(text, Splits(TERMS), Taken(), 10)
    assert made
    for q in made:
        answer = q["options"][q["answer"]]
        assert len(set(q["options"])) == keep.OPTIONS and f"{q['question']} {answer}." in told
        assert not keys(answer) & keys(q["question"])
    assert made == keep.questions(text, Splits(TERMS), Taken(), 10), "the same every time"


def test_phrases_are_runs_of_five_words():
    assert keep.phrases(sentences(["One two three four five six."])) == {
        "one two three four five",
        "two three four five six",
    }
