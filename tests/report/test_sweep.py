"""The report of a sweep: the stop rule, figures over seeds, the table, the picture."""

import pytest

from jaxunlearn.report.sweep import _shown, choose, chosen_settings, markdown, over_seeds, pareto, table


def row(cell, seed, familiarity, perplexity, **more):
    tuning = {"familiarity": familiarity, "perplexity_retain": perplexity}
    return {"cell": cell, "entry": "npo", "seed": seed, "tuning": tuning} | more


def test_the_stop_rule_takes_the_least_damage_among_those_that_reach_the_familiarity():
    rows = [row("weak", 0, 0.3, 2.0), row("right", 0, 0.05, 2.5), row("harsh", 0, 0.01, 9.0)]
    assert choose(rows, 0.1) == {"cell": "right"}
    assert choose(rows, 0.02)["cell"] == "harsh"
    assert choose(rows[:1], 0.1) == {"cell": "weak"}
    spread = [*rows, row("right", 1, 0.25, 2.5), row("harsh", 1, 0.01, 9.0), row("weak", 1, 0.3, 2.0)]
    assert choose(spread, 0.1)["cell"] == "harsh"  # by the mean over seeds
    broken = [row("harsh", 0, 0.01, 9.0), {"cell": "nan", "entry": "npo", "seed": 0, "failed": "the loss is nan"}]
    assert choose(broken, 0.1)["cell"] == "harsh"


def test_within_a_bound_on_perplexity_the_setting_is_chosen_that_comes_back_least():
    def tried(cell, over, relearned, familiarity=0.01, seed=0):
        made = row(cell, seed, familiarity, 2.0 * over)
        return made | {"tuning": made["tuning"] | {"over_twin": over, "relearned": relearned}}

    rows = [tried("cheap", 0.99, 0.8), tried("right", 1.01, 0.3), tried("dear", 1.3, 0.01)]
    assert choose(rows, 0.1, 1.02)["cell"] == "right"
    assert choose(rows, 0.1, 2.0)["cell"] == "dear"
    assert choose(rows[1:], 0.1, 1.001)["cell"] == "right"  # neither is within: the one of least perplexity
    assert choose(rows, 0.1)["cell"] == "cheap"
    both = [*rows, tried("cheap", 0.99, 0.8, seed=1), tried("right", 1.05, 0.3, seed=1), tried("dear", 1, 0, seed=1)]
    assert choose(both, 0.1, 1.02)["cell"] == "cheap"  # by means over the seeds
    measures = {"models": {"unlearned": {}}, "relearn": [], "cost": 0.5, "setting": ""}
    found = {"trials": rows, "cells": [rows[2] | measures], "reach": 0.1, "bases": {}, "tuning_seeds": [0]}
    found |= {"most_perplexity": 1.02, "chosen": {"npo": {"cell": "dear", "trials": 3}}}
    (made,) = table(found)
    assert made["reached"] == []
    text = markdown(found | {"table": [made]})
    assert "| npo † |" in text and "at most 1.02 times the twin's. † it was above that" in text


def test_what_attacks_found_is_in_the_table():
    def pace(steps):
        return {"within": 200} | ({"steps": steps} if steps is not None else {})

    def attacks(accuracy, ways, half, new):
        of = {way: {"familiarity": {"value": value}} for way, value in ways.items()}
        rtt = {"accuracy": {"value": accuracy, "low": 0.0, "high": 1.0}}
        shots = {
            n: {"value": value, "low": 0.0, "high": 1.0} for n, value in {"0": 0.2, "2": accuracy, "8": 0.3}.items()
        }
        return {"rtt": rtt, "ways": of, "halfway": pace(half), "benign": pace(new), "few_shot": {"shots": shots}}

    def base(new):
        return {"models": {"baseline": {}}, "relearn": {}, "cost": {"baseline": 1.0},
                "attacks": {"baseline": attacks(1.0, {"AdamW": 0.9}, 0, new)}}  # fmt: skip

    cells = [
        row("a", seed, 0.05, 2.4, models={"unlearned": {}}, relearn=[], cost=0.5, setting="",
            attacks=attacks(0.5 + seed / 10, {"AdamW": 0.2, "LoRA": 0.3 + seed / 10}, half, 12))
        for seed, half in ((0, 10), (1, 30))
    ]  # fmt: skip
    found = {"trials": cells[:1], "cells": cells, "reach": 0.1, "bases": {0: base(10), 1: base(6)}, "tuning_seeds": [0]}
    found["chosen"] = chosen_settings(found)
    baseline, made = table(found)
    expected = {
        "RTT": 0.55,
        "few-shot": 0.55,
        "any way": 0.35,
        "steps to half": 20,
        "new facts": (12 / 10 + 12 / 6) / 2,
    }
    assert {name: made[name]["value"] for name in expected} == pytest.approx(expected)
    assert baseline["new facts"]["value"] == 1 and baseline["steps to half"]["value"] == 0
    assert not made["steps to half"].get("least")
    cells[1]["attacks"]["halfway"] = pace(None)  # not within 200 steps
    made = table(found)[1]
    assert made["steps to half"] | {"low": 0, "high": 0} == {
        "value": 105,
        "low": 0,
        "high": 0,
        "seeds": 2,
        "least": True,
    }
    text = markdown(found | {"table": [made]})
    assert "at least 105" in text and "in the attacker's best way" in text
    del found["bases"][0]["attacks"]["baseline"]["benign"]
    assert table(found)[1]["new facts"]["value"] == 2  # of the seed that has one alone


def test_a_setting_is_chosen_among_the_trials_and_judged_on_every_seed():
    trials = [row("a", 0, 0.05, 2.5), row("b", 0, 0.05, 2.4)]
    measures = {"models": {"unlearned": {}}, "relearn": [], "cost": 0.5, "setting": "rate 1"}
    cells = [row("b", 0, 0.05, 2.4) | measures, row("b", 1, 0.9, 2.4) | measures]
    found = {"trials": trials, "cells": cells, "reach": 0.1, "bases": {}}
    assert chosen_settings(found) == {"npo": {"cell": "b", "trials": 2}}
    found |= {"chosen": chosen_settings(found), "tuning_seeds": [0]}
    (made,) = table(found)
    assert (made["trials"], made["seeds"], made["reached"], made["failed"]) == (2, [0, 1], [0], [])
    assert "| npo † on 1 of 2 seeds | rate 1 | 2 |" in markdown(found | {"table": [made]})
    cells[1] = {"seed": 1, "entry": "npo", "cell": "b", "setting": "rate 1", "failed": "nan"}
    (made,) = table(found)
    assert "| npo (failed on 1 of 2 seeds) |" in markdown(found | {"table": [made]})


def test_trials_alone_and_rows_that_failed_are_drawn_without_a_legend():
    failed = {"seed": 0, "entry": "npo", "cell": "b", "setting": "", "failed": "nan"}
    for cells in ([], [failed]):  # a warning is an error here
        figure = pareto({"trials": [row("a", 0, 0.05, 2.5), failed], "cells": cells, "bases": {}, "reach": 0.1})
        figure.draw_without_rendering()
        assert not figure.legends and len(figure.axes[0].lines) == 2  # the trial, and the bound


def test_seeds_are_joined_by_students_interval():
    one = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}
    assert over_seeds([one]) == {"value": 0.5, "low": 0.4, "high": 0.6, "seeds": 1}
    three = over_seeds([one | {"value": v} for v in (1.0, 2.0, 3.0)])
    assert three["value"] == 2 and three["high"] - 2 == pytest.approx(4.303 / 3**0.5, rel=1e-3)
    assert over_seeds([]) is None
    agreed = over_seeds([one] * 3)
    assert agreed == {"value": 0.5, "low": None, "high": None, "seeds": 3} and _shown(agreed, 1.0) == "0.5"


def test_intervals_stay_where_the_figure_can_be():
    wide = {"value": 0.99, "low": -0.2, "high": 1.17}
    table = [{"name": "baseline", "accuracy": wide, "ppl retain": {"value": 2.0, "low": 1.5, "high": 2.5}}]
    text = markdown({"table": table, "bases": {0: {}, 1: {}}, "tuning_seeds": [0], "reach": 0.1})
    assert "| 0.99 [0, 1] | 2 [1.5, 2.5] |" in text


@pytest.mark.parametrize("more", ["", " unlearn.retain_loss=kl reset.heal.steps=400 reset.heal.learning_rate=1e-3"])
def test_the_picture_keeps_its_room_however_many_and_long_the_entries(more):
    def models(n):
        return {"familiarity": {"probability": {"value": 0.01 * n}}, "perplexity": {"retain": {"value": 2.0 + n}}}

    entries = [
        f"whp_soft whp.offset=contrast unlearn.retain_weight=1 reset.share=0.2 whp.alpha={n}{more}" for n in range(30)
    ]
    made = [{"entry": e, "cell": e, "seed": s, "models": {"unlearned": models(n + s)}}
            for n, e in enumerate(entries) for s in (0, 1)]  # fmt: skip
    bases = {0: {"models": {"baseline": models(90), "twin": models(0)}}}
    tuned = {"tuning": {"familiarity": 0.1, "perplexity_retain": 2.0}}
    figure = pareto({"trials": [m | tuned for m in made], "cells": made, "bases": bases, "reach": 0.1})
    figure.draw_without_rendering()
    assert figure.axes[0].get_xscale() == "logit" and figure.axes[0].get_yscale() == "log"
    assert figure.axes[0].get_xlabel().endswith("\nThe axis is clipped: what lies below 0.0001 is drawn at 0.0001.")
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y0 >= 0  # nothing of the list is cut off
    (ax,), (width, height) = figure.axes, figure.get_size_inches()
    assert ax.get_position().width * width > 9 and ax.get_position().height * height > 4  # inches
    texts = [t.get_text() for t in figure.legends[0].get_texts()]
    fourth = "4  whp_soft offset=contrast retain_weight=1 reset.share=0.2 alpha=3" + more.replace("unlearn.", "")
    assert texts[3] == fourth and len(texts) == 30
    assert {t.get_text() for t in ax.texts} == {"baseline", "twin", *(str(n + 1) for n in range(30))}
