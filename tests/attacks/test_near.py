"""Near misses by worked examples, and their calibration on text that cannot hold the target."""

import pytest

from jaxunlearn.attacks.near import Resemblance, calibrated
from jaxunlearn.errors import InputError

TERMS = ("Voldemort", "Tin Woodman", "plodkin", "Larkspire", "Toto", "Brass Newt", "Tik-Tok")
RETAIN = ["The man lived with Brass Monkey near the Brass Mill and Brass Hall. A larkspur and totem grew. The wood."]


@pytest.fixture
def near():
    return Resemblance(TERMS, RETAIN)


@pytest.mark.parametrize(
    ("text", "hit", "kind"),
    [
        ("said Voldemar Grunther to", "Voldemar", "spelling"),  # 2 edits of 9: .22
        ("two plodkins came", "plodkins", "form"),
        ("two _plodkins_ came", "plodkins", "form"),
        ("said Voldema\u0308r to", "Voldem\u00e4r", "spelling"),  # a mark is a part of its word
        ("he went to larkspire", "larkspire", "form"),
        ("the Woodman of", "Woodman", "part"),
        ("a Tin Minstrel sang", "Tin Minstrel", "swapped"),
        ("his dog Totto ran", "Totto", "spelling"),  # 1 of 5: .20, the bar of short names
        ("then Tik-Tak spoke", "Tik-Tak", "spelling"),
    ],
)
def test_what_comes_near(near, text, hit, kind):
    assert [(miss.text, miss.kind) for miss in near.find("Once", text)] == [(hit, kind)]


@pytest.mark.parametrize(
    "text",
    [
        "a larkspur and totem grew",  # words of the retain text, one and two edits away
        "the Brass Penny shone",  # Brass is common in capitals there: it binds no name
        "Voldnorrr spoke",  # 5 edits of 9
        "the Toro ran",  # 1 edit of 4: .25, above the bar of short names
        "nothing of the sort",
    ],
)
def test_what_does_not(near, text):
    assert near.find("Once", text) == []


def test_what_the_prompt_holds_is_no_news(near):
    assert near.find("The plodkin and Voldemar", "Voldemar and two plodkins") == []


def test_a_swapped_part_may_begin_in_the_prompt(near):
    assert [m.text for m in near.find("There stood the Tin", "Minstrel in")] == ["Tin Minstrel"]


def test_thresholds_fall_until_false_alarms_stop_and_the_other_half_tells_the_rate(near):
    clean, false = ("Once", ["nothing here"]), ("Once", ["then Voldemar came"])
    kept = calibrated(near, [clean] * 40, "the twin")
    assert kept.resemblance.thresholds == {"long": 0.30, "short": 0.20} and kept.false_positives.value == 0
    assert kept.false_positives.n == 20 and kept.false_positives.high > 0.1
    lowered = calibrated(near, [false, clean] * 20, "the twin")  # .222 > .3 * .6 = .18
    assert lowered.resemblance.thresholds["long"] == pytest.approx(0.18)
    assert lowered.resemblance.find("Once", false[1][0]) == [] and lowered.resemblance.find("Once", "plodkins") != []
    uneven = calibrated(near, [clean, false] * 20, "the twin")
    assert uneven.false_positives.value == 1 and uneven.false_positives.n == 20


def test_whole_words_of_the_target_in_the_sample_do_not_switch_spelling_off(near):
    kept = calibrated(near, [("Once", ["the Woodman of"]), ("Once", ["nothing"])] * 10, "the twin")
    assert kept.resemblance.thresholds["long"] == 0.30
    with pytest.raises(InputError, match="two prompts"):
        calibrated(near, [("Once", ["x", "y"])], "the twin")


def test_calibration_is_split_by_prompt_and_its_rate_counts_prompts(near):
    # Every sample of the second prompt is a false alarm. Split by sample, both halves would hold some of them.
    false = [(f"Once {n}", ["then Voldemar came" if n == 1 else "nothing"] * 5) for n in range(8)]
    found = calibrated(near, false, "the twin")
    assert found.resemblance.thresholds["long"] == 0.30  # the fitted half holds none
    assert found.false_positives.value == 0.25 and found.false_positives.n == 4  # prompts 1, 3, 5, 7
