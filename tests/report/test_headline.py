"""The headline's ratios, points and doubts, worked out by hand; the terminal's table."""

import re

from support.reports import estimate, made_up

from jaxunlearn.report.headline import TERMINAL, headline, table


def test_headline_states_ratio_points_percent_and_recovery():
    said = headline(made_up())
    assert (
        "fell from 0.923 (0.831 to 1.02) to 0.027 (0.024 to 0.030), odds 432 times lower; a twin" in said
    )  # 11.99 / .02775
    assert "Accuracy not shown to change (loss 0.9 points, −0.2 to 2, n\u00a0=\u00a0400)" in said
    assert "costs 19% perplexity (15 to 23)" in said  # 5.42 / 4.57 = 1.187
    assert (
        "The worst measure is perplexity of the target: 42% of the way to the twin in nats (41 to 43), 21.7 where"
        in said
    )
    assert "20 steps of relearning bring familiarity to 0.959 (the twin to 0.0090)" in said


def test_headline_owns_up_to_a_rise_and_to_overlapping_intervals():
    report = {"models": {"baseline": {"familiarity": {"probability": estimate(0.106)}},
                         "unlearned": {"familiarity": {"probability": estimate(0.124)}}}}  # fmt: skip
    said = headline(report)
    assert "rose from 0.106 (0.086 to 0.126) to 0.124 (0.104 to 0.144)" in said and "no change is shown" in said
    report["models"]["unlearned"]["familiarity"]["probability"] = estimate(0.05, 0.01)
    assert "odds 2.3 times lower" in (said := headline(report)) and "no change" not in said


def test_headline_with_zero_familiarity_divides_by_nothing():
    report = {"models": {"baseline": {"familiarity": {"probability": 0.5}},
                         "unlearned": {"familiarity": {"probability": 0.0}}}}  # fmt: skip
    assert (
        headline(report)
        == "Familiarity with the target fell from 0.500 to 0, which is no sign of knowledge (under 1%)."
    )


def test_one_item_shows_nothing_and_has_a_dash():
    one = {"value": 0.1, "low": None, "high": None, "n": 1}
    report = {"models": {name: {"familiarity": {"probability": one}} for name in ("baseline", "unlearned")}}
    assert "nothing is shown" in headline(report) and "0.100 ±–" in table(report)


def test_the_strongest_step_of_relearning_counts():
    rows = [
        {"step": 5, "familiarity": 0.4},
        {"step": 20, "familiarity": 0.6},
        {"step": 25, "familiarity": 0.1},
        {"step": 30},
        {"step": 0, "familiarity": 0},
    ]
    assert headline({"relearn": {"unlearned": rows}}) == "20 steps of relearning bring familiarity to 0.600."
    falls = {
        n: [{"step": 0, "familiarity": f}, {"step": 5, "familiarity": 0.0}]
        for n, f in (("unlearned", 0.2), ("twin", 0.1))
    }
    said = "Relearning brings familiarity to no more than 0.200, where it began (the twin to 0.100)."
    assert headline({"relearn": falls}) == said


def test_terminal_table_lines_up():
    lines = table(made_up()).splitlines()
    assert re.split(r"  +", lines[0]) == ["model", *TERMINAL.values()]
    assert lines[2].startswith("baseline") and "0.923 ±0.092" in lines[2] and "4.81 ±0.11" in lines[2]
    starts = [line.index(text) for line, text in zip(lines[2:5], ("0.923", "0.027", "0.0008"), strict=True)]
    assert len(set(starts)) == 1
    assert max(map(len, lines)) <= 132
    assert table({}) == "No measurements yet."
