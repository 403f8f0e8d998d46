"""The choice among candidates by what models know."""

from jaxunlearn.evals.building.ask import LEAST, choose, pooled
from jaxunlearn.evals.building.draw import Candidate
from jaxunlearn.evals.building.splits import Taken


def candidate(prompt, term="a", score=0.0, section="out"):
    return Candidate(prompt=prompt, answers=("x",), term=term, section=section, split="report", score=score)


def test_terms_take_turns_and_the_best_window_of_each_comes_first():
    rows = [candidate(f"{t} {n}", t, n / 10) for t in ("a", "b") for n in range(3)] + [candidate("c 0", "c")]
    assert [c.prompt for c in pooled(rows, 9)] == ["a 2", "b 2", "c 0", "a 1", "b 1", "a 0", "b 0"]
    assert len(pooled(rows, 2)) == 2 and len(pooled([rows[0]] * 3, 9)) == 1


def test_what_a_reader_knows_comes_first_but_not_the_best_known_of_it():
    pool = [candidate("one", "a"), candidate("two", "b"), candidate("three", "c")]
    first = {"one": LEAST / 2, "two": LEAST, "three": 0.9}
    assert [c.prompt for c in choose(pool, 3, Taken(), each=1, first=first)] == ["two", "three", "one"]
    assert [c.prompt for c in choose(pool, 1, Taken(), each=1, first=first)] == ["two"]
    first = {"one": LEAST / 20, "two": LEAST / 10, "three": LEAST / 2}
    assert [c.prompt for c in choose(pool, 3, Taken(), each=1, first=first)] == ["two", "three", "one"]
    assert choose(pool, 1, Taken(), each=1, first=first, least=LEAST / 20) == pool[:1]


def test_what_a_model_guesses_that_never_read_the_text_is_left_out():
    pool = [candidate("one", "a"), candidate("two", "b")]
    assert [c.prompt for c in choose(pool, 2, Taken(), each=1, guessed={"one": LEAST})] == ["two"]


def test_no_term_has_more_than_its_share_and_no_prompt_is_near_another():
    pool = [candidate("one", "a"), candidate("two", "a"), candidate("three", "a"), candidate("one", "b")]
    assert [c.prompt for c in choose(pool, 9, Taken(), each=2)] == ["one", "two"]
