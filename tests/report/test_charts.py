"""What the pictures show, and that each is told in words."""

import pytest
from matplotlib.figure import Figure
from support.reports import curve, e, made_up

from jaxunlearn.report import charts
from jaxunlearn.report.lines import MOST


def test_chart_is_told_in_words(html):
    assert "glimmercraft: 0.560 at step 0, 0 at step 20 (twin 0)" in html
    assert "own argmax labels: familiarity 0.923 to 0.930, perplexity 4.81 to 5.61" in html


def test_zero_is_drawn_at_the_edge_of_an_axis_of_odds_and_the_panel_says_so():
    rows = [{"step": 0, "familiarity": 0.5}, {"step": 5, "familiarity": 0.0}]
    ax = Figure().add_subplot()
    (panel,) = charts.course({"curve": rows}).panels
    panel.draw(ax)
    assert ax.get_yscale() == "logit" and list(ax.lines[0].get_ydata()) == [0.5, 1e-4]
    assert "clipped: what lies below 0.0001" in charts.pictures({"curve": rows})[0].caption  # one panel: said there
    two = {"curve": [row | {"perplexity_retain": 5 + row["step"]} for row in rows]}
    assert [bool(panel.note) for panel in charts.pictures(two)[0].panels] == [True, False]


def test_what_hardly_moves_is_told_and_not_drawn():
    rows = [{"step": n, "familiarity": 0.5 / (n + 1), "accuracy": 1.0 - n / 100, "perplexity_retain": 5 + n / 100}
            for n in range(3)]  # fmt: skip
    picture = charts.course({"curve": rows, "models": {"unlearned": {"accuracy": {"general": e(0.98, 0.02)}}}})
    assert [panel.title for panel in picture.panels] == ["Familiarity"]
    assert "hardly moved: general accuracy (0.980 to 1.00); perplexity on retain text (5.00 to 5.02)" in picture.caption
    sure = charts.course({"curve": rows, "models": {"unlearned": {"accuracy": {"general": e(0.98, 0.005)}}}})
    assert [panel.title for panel in sure.panels] == ["Familiarity", "General accuracy"]
    assert picture.numbers[0].head == ("step", "next word", "accuracy", "as it is")  # nothing is left out there


def test_a_line_that_repeats_another_is_drawn_once():
    both = [row | {"perplexity_retain_fitted": row["perplexity_retain"] * 1.001} for row in curve(0.1, 0.9)]
    drawn = {panel.title: panel for panel in charts.course({"curve": both}).panels}
    assert "fitted" not in drawn["Perplexity on retain text"].alt
    assert len(charts.tradeoff({"curve": both}).panels) == 1
    assert len(charts.tradeoff({"curve": curve(0.1, 0.9)}).panels) == 2
    assert charts.tradeoff({"curve": curve(0.1, 0.01)}) is None  # one run whose perplexity stays: course shows it


@pytest.mark.parametrize("name", ["tracked", "course", "tradeoff", "relearning"])
def test_a_panel_has_five_lines_at_most(name):
    report = made_up()
    report["curves"] |= {f"rival {n}": curve(0.01 * n, 0.1 * n, False) for n in range(7)}
    report["relearn"] |= {f"rival {n}": report["relearn"]["unlearned"] for n in range(7)}
    for row in report["curve"]:
        row["track"]["Hero studies"] |= {f"w{n}": 0.01 * n for n in range(9)}
    for panel in getattr(charts, name)(report).panels:
        assert 0 < panel.alt.count("; ") + 1 - ("twin:" in panel.alt) <= MOST, panel.title


def test_words_are_those_likely_before_and_after():
    words = {
        "old": [0.9, 0.0],
        "new": [0.0, 0.6],
        "next": [0.1, 0.3],
        "a": [0.02, 0.02],
        "b": [0.0, 0.05],
        "c": [0.0, 0.01],
    }
    rows = [{"step": n, "track": {"p": {word: v[n] for word, v in words.items()}}} for n in (0, 1)]
    (panel,) = charts.tracked({"curve": rows}).panels
    assert [part.partition(":")[0] for part in panel.alt.split("; ")] == ["old", "next", "a", "b", "new"]


def test_relearning_of_the_twins_parts_alone_is_no_picture():
    points = [{"step": 0, "familiarity": 0.1}, {"step": 5, "familiarity": 0.5}]
    assert charts.relearning({"relearn": {"twin, 1% of the text (3 blocks)": points}}) is None


def test_parts_of_the_text_have_a_panel_of_their_own():
    points = [{"step": 0, "familiarity": 0.1}, {"step": 5, "familiarity": 0.5}]
    names = [
        "unlearned",
        "twin",
        *(f"{m}, {p}% of the text (3 blocks)" for m in ("unlearned", "twin") for p in (1, 10)),
    ]
    picture = charts.relearning({"relearn": dict.fromkeys(names, points)})
    assert [panel.title for panel in picture.panels] == [
        "Familiarity, next word",
        "Unlearned, from so much of the text",
    ]
    assert [part.partition(":")[0] for part in picture.panels[1].alt.split("; ")] == [
        "1%",
        "10%",
        "twin, 1%",
        "twin, 10%",
    ]
