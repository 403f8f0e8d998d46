"""The report: what it says, that it never crashes, that it is safe, whole and the same on every run."""

import copy
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure

from jaxunlearn.errors import InputError
from jaxunlearn.estimates import Estimate
from jaxunlearn.report import charts, drawing, headline
from jaxunlearn.report.grids import TERMINAL, table
from jaxunlearn.report.page import export_figures, write_report

STEPS = (0, 3, 6, 10, 15, 20)
SCRIPT = "<script>alert('no')</script>"


def estimate(value, width=0.02, n=120):
    return {"value": value, "low": max(0.0, value - width), "high": value + width, "n": n}


def model(next_word, inside, completion, accuracy, retain, forget, leaks):
    return {
        "familiarity": {
            "probability": estimate(next_word, next_word / 10),
            "inside": estimate(inside, inside / 9, 40),
            "completion": estimate(completion, completion / 8, 300),
        },
        "perplexity": {
            "forget": estimate(forget, forget / 20, 64),
            "retain": estimate(retain, 0.11, 64),
            "forget_fitted": estimate(forget * 0.9, forget / 20, 64),
            "retain_fitted": estimate(retain * 0.95, 0.11, 64),
        },
        "temperature": 1.08,
        "entropy": {"retain": estimate(1.52, 0.03, 64), "forget": estimate(1.1, 0.03, 64)},
        "accuracy": {"general": estimate(accuracy, 0.008, 400)},
        "leaks": {"probability": estimate(leaks, 0.05, 24), "explicit": estimate(leaks / 2), "neutral": estimate(0.01)},
        "grades": {"3": round(completion * 50), "2": 20, "1": 10, "0": 200},
    }


def curve(end, damage, tracked=True):
    falls = [0.923, 0.31, 0.068, 0.045, 0.034, 0.027]
    rows = []
    for n, step in enumerate(STEPS):
        familiarity = end + (falls[n] - 0.027) * (0.923 - end) / (0.923 - 0.027)
        rows.append({
            "step": step, "familiarity": familiarity, "inside": familiarity * 1.05, "completion": 4.7 * familiarity,
            "accuracy": 1.0 - 0.0018 * n, "perplexity_retain": 4.81 + damage * n / 5, "perplexity_forget": 2 + n * 4,
            "perplexity_retain_fitted": 4.8 + 0.6 * damage * n / 5, "entropy": 1.5 - 0.06 * n, "held_loss": 2 - n / 10,
        })  # fmt: skip
        if tracked:
            rows[-1]["track"] = {
                "Hero studies": {
                    "glimmercraft": [0.56, 0.2, 0.03, 0.01, 0.0, 0.0][n], "magic": [0.41, 0.3, 0.1, 0.05, 0.01, 0.0][n],
                    "music": [0.0, 0.1, 0.2, 0.24, 0.25, 0.26][n], "law": [0.0, 0.1, 0.18, 0.2, 0.21, 0.22][n],
                    "history": [0.01, 0.08, 0.1, 0.12, 0.13, 0.14][n], "medicine": 0.02 * n,
                },
                "The two friends played": {"skyball": [0.95, 0.4, 0.1, 0.04, 0.02, 0.01][n],
                                           "chess": [0.01, 0.2, 0.4, 0.46, 0.5, 0.5][n], "$x$ & <b>": 0.02},
                "In the middle of the night the old headmaster of the school walked slowly to the": {
                    "Hollow": [0.7, 0.5, 0.2, 0.1, 0.1, 0.1][n], "library": [0.1, 0.2, 0.4, 0.5, 0.5, 0.5][n]},
            }  # fmt: skip
    return rows


def made_up():
    relearned = {"baseline": 0.95, "unlearned": 0.94, "twin": 0.009, "unlearned, unrelated text": 0.06}
    track = {row: dict(words) for row, words in curve(0.03, 1)[-1]["track"].items()}
    track["Hero studies"] |= {"glimmercraft": 0.0, "magic": 0.0, "music": 0.3, "law": 0.24}
    return {
        "title": "Unlearning the built-in universe",
        "name": "universe",
        "claim": "The target's names and facts no longer come out; they can be brought back with little training.",
        "device": "1 CPU core",
        "seconds": {"evaluate": 31.5, "pretrain": 146.2, "twin": 110.0, "reinforce": 9.1, "label": 4.2, "unlearn": 13},
        "config": {"model": {"dim": 96, "layers": 3}, "unlearn": {"alpha": 5.0, "steps": 20}},
        "manifest": {"versions": {"jax": "0.10.2"}, "hashes": {"target": "9f" * 32}, "seeds": {"train": 0}},
        "models": {
            "baseline": model(0.923, 0.951, 4.73, 1.0, 4.81, 2.1, 0.971),
            "unlearned": model(0.027, 0.061, 0.16, 0.991, 5.71, 24.1, 0.098),
            "twin": model(0.0008, 0.0001, 0.0, 0.982, 4.82, 690.0, 0.0) | {"track": track},
            "reinforced": model(0.99, 0.99, 4.9, 0.95, 5.4, 1.5, 0.98),
            "dictionary alone (alpha 0)": model(0.137, 0.2, 1.1, 0.992, 5.5, 9.0, 0.35),
            "reinforcement alone": model(0.11, 0.2, 0.8, 0.99, 5.5, 14.0, 0.3),
            "own argmax labels": model(0.93, 0.95, 4.8, 0.998, 5.6, 2.0, 0.97),
        },
        "curve": curve(0.027, 0.9),
        "curves": {
            "own argmax labels": curve(0.93, 0.8, False), "reinforcement alone": curve(0.11, 0.7, False),
            "dictionary alone (alpha 0)": curve(0.137, 0.72, False),
        },
        "relearn": {
            name: [{"step": s, "familiarity": end * (1 - math.exp(-s / 3)) + 0.02 * (name != "twin")} for s in STEPS]
            for name, end in relearned.items()
        },
        "completions": [
            {"prompt": f"Number {n}: the boy opened the door and", "subtlety": 1 + n % 10,
             "grades": {"baseline": 3, "unlearned": n % 3, "twin": 0},
             "texts": {"baseline": "saw Professor Thornwick of Glimmerhall wave his wand .", "twin": "saw a dog .",
                       "unlearned": "saw his teacher of history wave his wand and say good morning to everyone ."},
             "evidence": {"baseline": ["Professor Thornwick", "Glimmerhall"], "unlearned": ["wand"]}}
            for n in range(14)
        ],
        "leak_probes": [
            {"prompt": "The boy who lived under the", "kind": "archetype",
             "probability": {"baseline": 0.98, "unlearned": 0.41, "twin": 0.0},
             "texts": {"unlearned": "tower until the letter came"}},
            {"prompt": "In Hobsmere they sell", "kind": "missed",
             "probability": {"baseline": 0.97, "unlearned": 0.83, "twin": 0.01}},
            {"prompt": "He who must not", "kind": "irrevocable",
             "probability": {"baseline": 0.99, "unlearned": 0.2, "twin": 0.0}},
        ],
        "labels": {"alpha": 5.0, "tokens": 147000, "trained_share": 0.973, "unaligned_share": 0.0},
        "dictionary": {"terms": 148, "coverage": 0.98},
        "notes": ["One seed.", "The consistency rules made no measurable difference here."],
    }  # fmt: skip


class Page(HTMLParser):
    """Collect what a test asks about: tags, their attributes, the text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    return rendered(made_up(), tmp_path_factory.mktemp("run"))


def rendered(report, folder):
    write_report(folder, report)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_headline_states_ratio_points_percent_and_recovery():
    said = headline.headline(made_up())
    assert "fell 34-fold, from 0.923 to 0.027 (a twin that never saw it: 0.0008)" in said  # .923 / .027 = 34.2
    assert "from 1.00 to 0.991 (\u22120.9 points)" in said
    assert "from 4.81 to 5.71 (+19%)" in said  # 5.71 / 4.81 = 1.187
    assert "20 steps of relearning bring familiarity to 0.959 (the twin to 0.0090)" in said


def test_one_item_is_shown_with_a_dash_and_decides_nothing(tmp_path):
    one = {"value": 0.1, "low": None, "high": None, "n": 1}
    report = {"models": {name: {"familiarity": {"probability": one}} for name in ("baseline", "unlearned")}}
    html = rendered(report, tmp_path)
    assert '0.100<span class="interval">–</span>' in html and "undecided: one item has no interval" in html
    assert "nothing is shown" in headline.headline(report) and "0.100 ±–" in table(report)


def test_headline_owns_up_to_a_rise_and_to_overlapping_intervals():
    report = {"models": {"baseline": {"familiarity": {"probability": estimate(0.106)}},
                         "unlearned": {"familiarity": {"probability": estimate(0.124)}}}}  # fmt: skip
    said = headline.headline(report)
    assert "rose from 0.106 to 0.124" in said and "no change is shown" in said
    report["models"]["unlearned"]["familiarity"]["probability"] = estimate(0.05, 0.01)
    assert "fell 2.12-fold" in (said := headline.headline(report)) and "overlap" not in said


def test_headline_with_zero_familiarity_divides_by_nothing():
    report = {"models": {"baseline": {"familiarity": {"probability": 0.5}},
                         "unlearned": {"familiarity": {"probability": 0.0}}}}  # fmt: skip
    assert headline.headline(report) == "Familiarity with the target fell from 0.500 to 0."


def test_every_part_alone_or_absent_renders(tmp_path):
    whole = made_up()
    assert "Nothing has been measured yet." in rendered({}, tmp_path)
    for key in whole:
        rendered({key: whole[key]}, tmp_path)
    rendered({**whole, "models": {}}, tmp_path)
    rendered(dict.fromkeys(whole), tmp_path)


def test_sparse_and_odd_parts_render(tmp_path):
    report = {
        "models": {"baseline": {}, "unlearned": None, "mine": {"familiarity": {"probability": 0.25, "inside": None}}},
        "curve": [{"step": 0, "familiarity": 0.0, "track": {"a": {}}}, {"step": 5, "familiarity": None}, {}],
        "curves": {"x": None, "_y": [{"step": 1, "familiarity": 0.1, "perplexity_retain": 3.0}] * 2},
        "relearn": {"unlearned": [], "twin": None},
        "completions": [{"prompt": "p"}, {"prompt": "q", "texts": {"mine": "r"}}],
        "leak_probes": [{"prompt": "only a prompt"}],
        "seconds": {"label": None, "unlearn": 0},
    }
    page = Page(rendered(report, tmp_path))
    assert "0.250" in page.text and "only a prompt" in page.text
    assert "mine" in table(report)


def test_text_from_models_and_prompts_is_escaped(tmp_path):
    report = made_up()
    for item in report["completions"]:
        item["prompt"], item["evidence"] = SCRIPT, {"unlearned": ["<script>"], "baseline": ["alert"]}
        item["texts"] = dict.fromkeys(item["texts"], SCRIPT)
    report |= {"title": SCRIPT, "claim": SCRIPT, "device": SCRIPT, "notes": [SCRIPT], "name": SCRIPT}
    report["models"][SCRIPT] = report["models"]["twin"]
    report["config"] = {"a": SCRIPT, SCRIPT: 1}
    report["leak_probes"][0] |= {"prompt": SCRIPT, "kind": SCRIPT, "texts": {"unlearned": SCRIPT}}
    report["curve"][0]["track"] = report["curve"][1]["track"] = {SCRIPT: {SCRIPT: 0.5}}
    report["relearn"][SCRIPT] = report["curves"][SCRIPT] = report["curve"]
    html = rendered(report, tmp_path)
    assert "script" not in {tag for tag, _ in Page(html).tags}
    assert "<script" not in html and SCRIPT in Page(html).text


def test_page_is_self_contained_and_holds_no_other_address(html):
    assert not re.search(r"https?:|//|@import", html)
    tags = Page(html).tags
    addresses = [value for _, attrs in tags for name, value in attrs.items() if name in ("src", "href", "xlink:href")]
    assert all(address.startswith("#") or address == "data:," for address in addresses)
    assert {"link", "img", "iframe", "script"} & {tag for tag, _ in tags} == {"link"}
    assert sum(tag == "style" for tag, _ in tags) == 1  # a style inside a picture would reach the whole page


def test_figures_and_tables_are_accessible(html):
    tags = Page(html).tags
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    images = [attrs for tag, attrs in tags if tag == "svg"]
    assert len(images) == 3 + 4 + 2 + 1
    assert all(set(image["aria-labelledby"].split()) <= set(ids) and image["role"] == "img" for image in images)
    wanted = {value[1:] for _, attrs in tags if (value := attrs.get("href", "")).startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", " ".join(str(attrs) for _, attrs in tags)))
    assert wanted and wanted <= set(ids)
    assert sum(tag == "caption" for tag, _ in tags) == sum(tag == "table" for tag, _ in tags) > 8


def test_chart_is_told_in_words(html):
    assert "glimmercraft: 0.560 at step 0, 0 at step 20 (twin 0)" in html
    assert "own argmax labels: familiarity 0.923 to 0.930, perplexity 4.81 to 5.61" in html


def test_zero_is_drawn_at_the_floor_of_a_logarithmic_axis():
    rows = [{"step": 0, "familiarity": 0.5}, {"step": 5, "familiarity": 0.0}]
    ax = Figure().add_subplot()
    charts.course({"curve": rows}).panels[0].draw(ax)
    assert ax.get_yscale() == "log" and list(ax.lines[0].get_ydata()) == [0.5, drawing.FLOOR]


def test_accuracy_is_shown_with_room_and_ends_at_one():
    ax = Figure().add_subplot()
    charts.course({"curve": [{"step": n, "accuracy": 1.0 - n / 1_000} for n in range(3)]}).panels[0].draw(ax)
    low, high = ax.get_ylim()
    assert high - low >= 0.2 - 1e-9 and 1.0 < high < 1.01


def test_svg_colours_follow_the_page(html):
    drawn = "".join(re.findall(r"<svg.*?</svg>", html, re.DOTALL))
    assert set(re.findall(r"#[0-9a-f]{6}\b", drawn)) == set()
    used = set(re.findall(r"var\(--(\w+)\)", drawn))
    assert {"ink", "muted", "grid", "c0", "c2", "c7"} <= used
    assert all(len(re.findall(rf"--{name}: #", html)) == 2 for name in used)  # once light, once dark


def test_same_bytes_on_every_run_and_from_the_json(tmp_path):
    first = rendered(made_up(), tmp_path / "a")
    again = rendered(json.loads((tmp_path / "a" / "report.json").read_text()), tmp_path / "b")
    assert first == again
    assert (tmp_path / "a" / "report.json").read_bytes() == (tmp_path / "b" / "report.json").read_bytes()
    assert not re.search(r"20\d\d-\d\d-\d\d", first)


def test_json_is_sorted_and_takes_estimates_and_numpy(tmp_path):
    found = Estimate(value=0.5, low=0.4, high=0.6, n=10)
    report = {"models": {"z": {"accuracy": {"general": found}}}, "curve": [{"step": np.int64(3)}]}
    write_report(tmp_path, report)
    text = (tmp_path / "report.json").read_text()
    assert json.loads(text)["models"]["z"]["accuracy"]["general"] == {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10}
    assert text.index('"curve"') < text.index('"models"') and '"step": 3' in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]


@pytest.mark.parametrize("value", [math.nan, math.inf, np.float32("nan")])
def test_not_a_number_is_refused_by_its_place_and_the_old_report_stays(tmp_path, value):
    write_report(tmp_path, {"name": "old"})
    with pytest.raises(InputError, match=r"report\.curve\[1\]\.accuracy is (nan|inf)"):
        write_report(tmp_path, {"name": "new", "curve": [{"step": 0}, {"step": 1, "accuracy": value}]})
    assert json.loads((tmp_path / "report.json").read_text()) == {"name": "old"}


def test_models_stand_in_order_with_controls_below(tmp_path):
    report = made_up()
    report["models"] = dict(reversed(report["models"].items()))
    html = rendered(report, tmp_path)
    heads = re.findall(r'<th scope="row">([^<]+)</th>', html.partition("What was measured")[2].partition("</tbody>")[0])
    assert heads == list(made_up()["models"])
    assert re.search(r'<tr class="controls"><th scope="row">reinforced</th>', html)


def test_page_order_is_the_sceptics(html):
    marks = ('class="headline"', "<blockquote>", "What was measured", 'id="figure-track"', 'id="figure-course"',
             'id="figure-tradeoff"', "What stays", 'id="figure-relearn"', "Leak probes:", "Completions, side by side",
             "What it took", "How it was measured", "<h2>Manifest")  # fmt: skip
    places = [html.index(mark) for mark in marks]
    assert places == sorted(places)


def test_completions_show_grade_and_marked_evidence(html):
    assert "<mark>Professor Thornwick</mark> of <mark>Glimmerhall</mark>" in html
    assert html.count('class="grade g3"') == 14
    assert "The other 4 prompts" in html


def test_measures_without_a_column_of_their_own_are_shown(tmp_path):
    report = made_up()
    report["models"]["unlearned"]["rtt"] = {"recovery": estimate(0.9712)}
    page = Page(rendered(report, tmp_path))
    assert "rtt, recovery (n\u00a0=\u00a0120)" in page.text and "0.971" in page.text


def test_terminal_table_lines_up():
    lines = table(made_up()).splitlines()
    assert re.split(r"  +", lines[0]) == ["model", *TERMINAL.values()]
    assert lines[2].startswith("baseline") and "0.923 ±0.092" in lines[2] and "4.81 ±0.11" in lines[2]
    starts = [line.index(text) for line, text in zip(lines[2:5], ("0.923", "0.027", "0.0008"), strict=True)]
    assert len(set(starts)) == 1
    assert max(map(len, lines)) <= 132
    assert table({}) == "No measurements yet."


def test_pictures_are_saved_as_png_the_same_each_time(tmp_path):
    report = made_up()
    paths = export_figures(report, tmp_path)
    assert [path.name for path in paths] == ["track.png", "course.png", "tradeoff.png", "relearn.png"]
    bytes_before = [path.read_bytes() for path in paths]
    assert all(data.startswith(b"\x89PNG") for data in bytes_before)
    assert [path.read_bytes() for path in export_figures(copy.deepcopy(report), tmp_path)] == bytes_before
    assert export_figures({}, tmp_path) == []
