"""Terms and places are parted between the splits."""

from support.invented import TERMS, term

from jaxunlearn.evals.building.splits import RUN, Splits, Taken, runs


def test_words_of_one_name_are_of_one_split_and_both_splits_get_terms():
    others = ("Ollo", "Tarn", "Ebbel", "Drune", "Yolk", "Ferrin")
    splits = Splits([*TERMS, *(term(name, 6) for name in others)])
    assert splits.of("Zindra") == splits.of("Quell") == splits.of("Zindra Quell") != ""
    assert splits.of("Vashti") == splits.of("Vashti Hollow") != "" and not splits.all("the hollow")
    assert {splits.of(name) for name in others} == {"choose", "report"}
    assert splits.of("no term here") == "" and splits.all("no term here") == set()
    loads = {s: sum(t.count for t in TERMS if splits.of(t.text) == s) for s in ("choose", "report")}
    assert all(loads.values())


def test_a_word_is_of_one_split_in_any_number_of_it():
    others = [term("Ollo", 6), term("Tarn", 6)]
    for many, one in (("Quill Foxes", "the Fox"), ("Woodmen", "a woodman"), ("Wolves", "the wolf")):
        word = many.split(" ")[-1]
        splits = Splits([term(many, 40), *others])
        assert splits.of(word) == splits.of(one) != ""
        assert Splits([term(one, 40), *others]).of(word) != ""


def test_a_text_that_holds_terms_of_both_splits_is_of_none():
    splits = Splits([term("Ozma", 10), term("Toto", 10)])
    assert {splits.of("Ozma"), splits.of("Toto")} == {"choose", "report"}
    assert splits.of("Ozma and Toto") == "" and splits.all("Ozma and Toto") == {"choose", "report"}


def test_names_that_would_chain_most_of_the_text_together_are_left_apart():
    chain = [term("Ozma", 30), term("Glinda", 30), term("Toto", 30), term("Ozma Glinda", 5), term("Glinda Toto", 5)]
    splits = Splits(chain)
    assert {splits.of(t) for t in ("Ozma", "Glinda", "Toto")} == {"choose", "report"}
    assert "" in {splits.of("Ozma Glinda"), splits.of("Glinda Toto")}


def test_a_prompt_that_shares_a_run_of_words_is_too_near():
    taken = Taken()
    assert taken.take("So they walked along the road to the")
    assert not taken.take("Then they Walked along the road again")
    assert taken.take("they walked along the river") and taken.take("one two") and not taken.take("One two")
    assert runs("a b c d e f") == {("a", "b", "c", "d", "e"), ("b", "c", "d", "e", "f")} and RUN == 5
