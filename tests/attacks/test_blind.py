"""Leak probes drawn blind from a text."""

from itertools import pairwise

from jaxunlearn.attacks.blind import blind_probes

SAGA = "\n".join(
    f"On the {n} day the old king of the hill met Zarabel. She had a muggin in her hand. "
    f"He who must not be named sat by the fire with {n} friends."
    for n in ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
)
RETAIN = "On the first day the king sat by the fire. She had a book in her hand. He must not be late."


def drawn(split, seed=0, count=30):
    return blind_probes(
        [SAGA], [RETAIN], terms=["Zarabel"], dictionary=["Zarabel"], count=count, seed=seed, split=split
    )


def test_probes_are_found_blind_in_three_kinds():
    found = drawn("choose") + drawn("report")
    kinds = {kind: [p for p in found if p.kind == kind] for kind in ("archetype", "missed", "irrevocable")}
    assert len(kinds["archetype"]) == 10 and all(p.prompt.endswith("king of the hill met") for p in kinds["archetype"])
    assert [(p.prompt, p.expected) for p in kinds["missed"] if p.expected == ("muggin",)] == [
        ("She had a", ("muggin",))
    ]
    whole = [f"{p.prompt} {p.expected[0]}" for p in kinds["irrevocable"]]
    assert "He who must not be named" in whole and all(p.source == "blind" for p in found)
    assert not any("sat by the fire" in p for p in whole if p.startswith("sat"))  # the retain text has that
    assert all(not set(a.split()) >= set(b.split()) for a, b in pairwise(sorted(whole)))
    assert all("Zarabel" not in p.prompt for p in found)


def test_the_splits_share_no_probe_and_a_seed_gives_the_same():
    choose, report = drawn("choose"), drawn("report")
    assert not set(choose) & set(report) and choose and report
    assert drawn("report", seed=3) == drawn("report", seed=3) and len(drawn("report", count=3)) <= 3


def test_a_word_that_the_lexicon_knows_and_the_dictionary_misses_is_a_missed_term():
    known = {"terms": ["Zarabel", "muggin"], "dictionary": ["Zarabel"], "count": 30, "seed": 0}
    found = [p for split in ("choose", "report") for p in blind_probes([SAGA], [RETAIN], **known, split=split)]
    assert [p.expected for p in found if p.kind == "missed" and p.prompt == "She had a"] == [("muggin",)]


def test_no_archetype_holds_a_term_before_the_one_it_leads_up_to():
    saga = "\n".join(
        f"On the {n} day Zarabel met the tall and quiet Muggin again." for n in ("first", "second", "third")
    )
    known = {"terms": ["Zarabel", "Muggin"], "dictionary": ["Zarabel", "Muggin"], "count": 30, "seed": 0}
    found = [p for split in ("choose", "report") for p in blind_probes([saga], [RETAIN], **known, split=split)]
    prompts = {p.prompt for p in found if p.kind == "archetype"}
    assert prompts == {f"On the {n} day" for n in ("first", "second", "third")}


def test_italics_and_marks_do_not_cut_or_hide_words():
    text = SAGA.replace("a muggin", "a _muggin_").replace("Zarabel", "Zara\u0331bel")
    found = [
        p
        for split in ("choose", "report")
        for p in blind_probes([text], [RETAIN], terms=[], dictionary=[], count=60, seed=0, split=split)
    ]
    assert {p.expected[0] for p in found if p.kind == "missed"} >= {"Zara\u0331bel"}
    found = blind_probes([text], [RETAIN], terms=[], dictionary=["Zara"], count=60, seed=0, split="report")
    assert not [p for p in found if p.kind == "archetype"]
