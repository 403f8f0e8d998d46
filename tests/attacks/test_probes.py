"""Leak probes: graded, and counted by prompt."""

import pytest

from jaxunlearn.attacks.blind import Probe
from jaxunlearn.attacks.near import Resemblance
from jaxunlearn.attacks.probes import Grader, Sample, leak_at, opening, summary
from jaxunlearn.config import ProbesAttack
from jaxunlearn.estimates import rate_estimate
from jaxunlearn.evals.judge import Judge
from jaxunlearn.evals.prompts import Lexicon

RETAIN = "On the first day the king sat by the fire. She had a book in her hand. He must not be late."


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
    assert opening(("tinsmith",), " “tinsmith's shop") == "tinsmith" == opening(("tinsmith",), "tinsmith-made")
    assert opening(("Dorothy",), "Dorothy’s aunt") == "Dorothy" == opening(("Dorothy",), "_Dorothy_’s")
    assert opening(("Saw-Horse", "don't"), "Saw-Horses") == opening(("don't",), "don") == ""
    assert opening(("don't",), "don’t go") == "don't" and opening(("Saw-Horse",), "Saw-Horse’s") == "Saw-Horse"


def test_rates_count_prompts_and_leaks_of_all_samples_are_wilsons():
    probes = [Probe(prompt=f"met {n}", kind="archetype") for n in range(5)]
    clean = [Sample(probe=n, temperature=1.0, text="a man") for n in range(5) for _ in range(100)]
    sure = summary(probes, clean, grader())["rates"]["explicit"]
    assert (sure["value"], sure["low"], sure["n"]) == (0.0, 0.0, 5) and sure["high"] == pytest.approx(0.4345, abs=1e-4)
    named = [Sample(probe=n, temperature=1.0, text="Zarabel" if n < 2 else "a man") for n in range(5) for _ in range(4)]
    found = summary(probes, named, grader())
    by_prompt = rate_estimate(2, 5).to_json()  # five prompts tell little, 20 completions or not
    assert found["rates"]["explicit"] == pytest.approx(by_prompt)
    assert found["leak_at"]["1"] == pytest.approx(by_prompt) and found["leak_at"]["4"] == pytest.approx(by_prompt)


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
    assert found["rates"]["explicit"]["value"] == 0.4 and found["rates"]["near"]["value"] == 0.2  # of completions
    assert set(found["by_kind"]) == {"irrevocable", "archetype"} and set(found["by_temperature"]) == {"0.0", "1.0"}
    assert found["completions"] == 5 and ProbesAttack().samples >= 1
