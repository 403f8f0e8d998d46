"""Facts for RTT: birthdays, published splits, faulty rows, how splits are held out."""

import json
from collections import Counter

import numpy as np
import pytest
from support.world import NAMES, PLACES, PLAIN_PLACES, THINGS

from jaxunlearn.anchors.dictionary import load_dictionary
from jaxunlearn.config import Attack, RttAttack
from jaxunlearn.data.facts import birthdays, load_facts, pairings, read_facts, write_birthdays
from jaxunlearn.errors import InputError

ROWS = [
    {"question": f"went with {word}", "options": ["Anna", "Ben", "Carl"], "answer": n % 3}
    for n, word in enumerate([*NAMES, *PLACES, *PLAIN_PLACES, *THINGS, "book", "coat"])
]
FACTS = read_facts(ROWS, "rows")


def test_birthdays_are_unique_distinct_and_the_same_again(tmp_path):
    made = birthdays(785)
    assert len({row["subject"] for row in made}) == len({row["question"] for row in made}) == 785
    assert all(len(set(row["options"])) == 4 for row in made)
    assert all(row["options"][row["answer"]] in row["statement"] for row in made)
    share = Counter(row["answer"] for row in made)
    assert min(share.values()) > 150  # the right place is drawn evenly: 196 each
    write_birthdays(tmp_path / "a", 20, seed=1)
    write_birthdays(tmp_path / "b", 20, seed=1)
    assert (tmp_path / "a/facts.json").read_bytes() == (tmp_path / "b/facts.json").read_bytes()
    assert len(load_facts(str(tmp_path / "a/facts.json"))) == 20
    with pytest.raises(InputError, match="expected 1 to"):
        birthdays(0)


def test_birthdays_in_several_wordings_with_a_dictionary(tmp_path):
    facts, text, dictionary = write_birthdays(tmp_path, 20, seed=1, wordings=3, terms={"Zara": ("Anna",)})
    rows, lines = json.loads(facts.read_text()), text.read_text().splitlines()
    assert lines[:20] == [row["statement"] for row in rows]
    for n, line in enumerate(lines):
        row = rows[n % 20]
        assert row["subject"] in line and row["options"][row["answer"]] in line
    assert len(set(lines)) == 60
    terms, names = load_dictionary(dictionary), {row["subject"] for row in rows}
    assert terms.pop("Zara") == ("Anna",) and set(terms) == names
    lasts = {name.split()[1] for name in names}
    for others in terms.values():  # nobody of whom a year is taught
        assert len(set(others)) == 3 and not {name.split()[1] for name in others} & lasts
    for wordings in (0, 6):
        with pytest.raises(InputError, match="wordings were asked for; expected 1 to 5"):
            write_birthdays(tmp_path / "none", 2, wordings=wordings)
    with pytest.raises(InputError, match="leave no 3 names"):
        write_birthdays(tmp_path / "none", 2999)
    assert not (tmp_path / "none").exists()


def test_the_published_splits_are_read(tmp_path):
    for n in range(3):
        row = {"question": f"When was event {n}?", "choices": ["1994", "1995", "1996", "1997"], "answer": n}
        (tmp_path / f"split_{n}.jsonl").write_text(json.dumps(row | {"correct_year": 1994 + n}) + "\n")
    found = load_facts(str(tmp_path))
    assert [(f.split, f.options[f.answer]) for f in found] == [(0, "1994"), (1, "1995"), (2, "1996")]
    pairs = pairings(found, Attack(rtt=RttAttack(pairings=2)))
    assert [(p.train.tolist(), p.ask.tolist()) for p in pairs] == [([1, 2], [0]), ([0, 2], [1])]
    (tmp_path / "split_3.jsonl").write_text((tmp_path / "split_0.jsonl").read_text())
    with pytest.raises(InputError, match="stand in two splits"):
        load_facts(str(tmp_path))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "Q", "options": ["a", "b"]}, "lacks answer"),
        ({"question": "Q", "answer": 0}, "lacks options"),
        ({"question": "Q", "options": ["1999", "1999", "2000"], "answer": 0}, "all different"),
        ({"question": "Q", "options": ["a", "b"], "answer": 2}, "no index"),
        ({"question": "Q", "options": ["a", "b"], "answer": "C"}, "no index"),
        ("Q", "expected an object"),
    ],
)
def test_faulty_facts_are_named(row, said):
    with pytest.raises(InputError, match=rf"facts\[1\].*{said}"):
        read_facts([ROWS[0], row], "facts")
    with pytest.raises(InputError, match="twice"):
        read_facts([ROWS[0], ROWS[0]], "facts")
    with pytest.raises(InputError, match="holds no fact"):
        read_facts([], "facts")


def test_each_split_is_held_out_once_and_none_may_be_empty():
    pairs = pairings(FACTS, Attack(rtt=RttAttack(splits=4, pairings=4)))
    assert sorted(np.concatenate([p.ask for p in pairs])) == list(range(12))
    assert all(not set(p.train) & set(p.ask) and len(p.train) + len(p.ask) == 12 for p in pairs)
    with pytest.raises(InputError, match="each of 13 splits, got 12 facts"):
        pairings(FACTS, Attack(rtt=RttAttack(splits=13, pairings=1)))
