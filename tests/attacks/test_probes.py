"""Leak probes: drawn blind from a text, graded, and counted by prompt."""

from itertools import pairwise

import pytest

from jaxunlearn.attacks.blind import Probe, blind_probes
from jaxunlearn.attacks.near import Resemblance
from jaxunlearn.attacks.probes import Grader, Sample, clustered_rate, leak_at, opening, summary
from jaxunlearn.config import Attack
from jaxunlearn.evals.judge import Judge
from jaxunlearn.evals.prompts import Lexicon

SAGA = "\n".join(
    f"On the {n} day the old king of the hill met Zarabel. She had a muggin in her hand. "
    f"He who must not be named sat by the fire with {n} friends."
    for n in ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
)
RETAIN = "On the first day the king sat by the fire. She had a book in her hand. He must not be late."


def drawn(split, seed=0, count=30):
    return blind_probes([SAGA], [RETAIN], ["Zarabel"], ["Zarabel"], count, seed, split)


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
    found = blind_probes([SAGA], [RETAIN], ["Zarabel", "muggin"], ["Zarabel"], 30, 0, "choose")
    found += blind_probes([SAGA], [RETAIN], ["Zarabel", "muggin"], ["Zarabel"], 30, 0, "report")
    assert [p.expected for p in found if p.kind == "missed" and p.prompt == "She had a"] == [("muggin",)]


def grader():
    lexicon = Lexicon(explicit=("Zarabel",), typical=("magic",))
    return Grader(Judge(lexicon), Resemblance(lexicon.explicit, [RETAIN]))


@pytest.mark.parametrize(
    ("text", "grade", "evidence"),
    [
        (" brick, he said", "explicit", ["brick"]),
        (" stone for Zarabel", "explicit", ["Zarabel"]),
        (" stone for Zarabell", "near", ["Zarabell"]),
        (" bricks of a yellow brick", "none", []),  # the expected word must come first, whole
        (" stone", "none", []),
    ],
)
def test_grades(text, grade, evidence):
    probe = Probe(prompt="the road of yellow", kind="irrevocable", expected=("brick",))
    assert grader().grade(probe, text) == (grade, evidence)


def test_an_opening_is_of_whole_words():
    assert opening(("not be",), " not be named") == "not be" and opening(("not be",), "not bed") == ""


def test_samples_of_one_prompt_are_one_trial_where_all_agree():
    assert clustered_rate([(0, True), (0, False), (1, True), (1, True)]).value == 0.75
    sure = clustered_rate([(n, False) for n in range(5) for _ in range(100)])
    assert (sure.value, sure.low, sure.n) == (0.0, 0.0, 5) and sure.high == pytest.approx(0.4345, abs=1e-4)  # Wilson
    spread = clustered_rate([(n, n < 2) for n in range(4) for _ in range(100)])
    assert spread.n == 4 and spread.low == 0 and spread.high == 1  # four prompts tell little, 400 completions or not


def test_leak_at_n_by_hand():
    samples = [Sample(probe=0, temperature=1.0, text="") for _ in range(4)]
    graded = [("explicit", []), ("none", []), ("near", []), ("none", [])]
    found = leak_at(samples, graded)
    assert {n: e["value"] for n, e in found.items()} == {"1": 0.25, "2": 0.5, "4": 1.0}  # 1 - C(3, 2) / C(4, 2)
    assert leak_at([Sample(probe=0, temperature=0.0, text="")], [("explicit", [])]) == {}


def test_a_summary_quotes_the_worst_once_a_probe():
    probes = [Probe(prompt="of yellow", kind="irrevocable", expected=("brick",)), Probe(prompt="met", kind="archetype")]
    texts = [(0, 1.0, "stone"), (0, 0.0, "brick"), (0, 1.0, "brick"), (1, 1.0, "Zarabell"), (1, 1.0, "a man")]
    samples = [Sample(probe=p, temperature=t, text=x) for p, t, x in texts]
    found = summary(probes, samples, grader())
    assert [(w["grade"], w["temperature"], w["text"]) for w in found["worst"]] == [
        ("explicit", 0.0, "brick"),
        ("near", 1.0, "Zarabell"),
    ]
    assert found["rates"]["explicit"]["value"] == pytest.approx(1 / 3) and found["rates"]["near"]["value"] == 0.25
    assert set(found["by_kind"]) == {"irrevocable", "archetype"} and set(found["by_temperature"]) == {"0.0", "1.0"}
    assert found["completions"] == 5 and Attack().samples >= 1
