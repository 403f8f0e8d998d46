"""The page and the JSON: they never crash, and are safe, whole, accessible and the same on every run."""

import base64
import copy
import hashlib
import json
import math
import re

import numpy as np
import pytest
from support.reports import Page, estimate, made_up, rendered

from jaxunlearn import sealed
from jaxunlearn.errors import InputError
from jaxunlearn.estimates import Estimate
from jaxunlearn.report import charts
from jaxunlearn.report.headline import table
from jaxunlearn.report.page import export_figures, figure_names, write_report

SCRIPT = "<script>alert('no')</script>"


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
    assert [attrs.get("type") for tag, attrs in Page(html).tags if tag == "script"] == ["application/json", None]
    assert html.count("<script") == 2 and html.count("alert(") == html.count("alert(&#39;no") + html.count("alert('no")
    assert SCRIPT not in html and SCRIPT in Page(html).text


def test_page_is_self_contained_and_holds_no_other_address(html):
    assert not re.search(r"https?:|//|@import", html)
    tags = Page(html).tags
    addresses = [value for _, attrs in tags for name, value in attrs.items() if name in ("src", "href", "xlink:href")]
    assert all(address.startswith("#") or address == "data:," for address in addresses)
    assert {"link", "img", "iframe"} & {tag for tag, _ in tags} == {"link"}
    assert sum(tag == "style" for tag, _ in tags) == 1  # a style inside a picture would reach the whole page


def test_one_item_is_shown_with_a_dash_and_decides_nothing(tmp_path):
    one = {"value": 0.1, "low": None, "high": None, "n": 1}
    report = {"models": {name: {"familiarity": {"probability": one}} for name in ("baseline", "unlearned")}}
    html = rendered(report, tmp_path)
    assert '0.100<span class="interval">–</span>' in html and "undecided: one item has no interval" in html


def test_half_a_character_does_not_stop_the_page(tmp_path):
    assert "a ? b" in rendered({"notes": ["a \ud83d b"]}, tmp_path)


def test_figures_and_tables_are_accessible(html):
    tags = Page(html).tags
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    images = [attrs for tag, attrs in tags if tag == "svg"]
    assert len(images) == 3 + 3 + 2 + 1  # accuracy moves less than its interval is wide, and is told instead
    assert all(set(image["aria-labelledby"].split()) <= set(ids) and image["role"] == "img" for image in images)
    wanted = {value[1:] for _, attrs in tags if (value := attrs.get("href", "")).startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", " ".join(str(attrs) for _, attrs in tags)))
    assert wanted and wanted <= set(ids)
    assert sum(tag == "caption" for tag, _ in tags) == sum(tag == "table" for tag, _ in tags) > 8


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
    assert sealed.plain(json.loads((tmp_path / "report.json").read_text())) == {"name": "old"}


def test_page_order_is_the_sceptics(html):
    marks = ('class="headline"', "<blockquote>", 'class="verdict"', 'id="unmeasured"', "<h2>Before and after",
             "<h2>The verdict, with its figures", "<h2>What was measured", 'id="figure-track"', 'id="figure-course"',
             'id="figure-tradeoff"', "<h2>What stays", 'id="figure-relearn"', "Leak probes:",
             "<h2>Completions, side by side", "<h2>What it took", "<h2>How it was measured",
             "<h2>Manifest")  # fmt: skip
    places = [html.index(mark) for mark in marks]
    assert places == sorted(places)


def test_completions_show_grade_and_marked_evidence(html):
    assert "<mark>Professor Thornwick</mark> of <mark>Glimmerhall</mark>" in html
    assert html.count('class="grade g3"') == 14
    assert "The other 4 prompts" in html


def test_pictures_are_saved_as_png_the_same_each_time(tmp_path):
    report = made_up()
    paths = export_figures(report, tmp_path)
    assert [path.name for path in paths] == ["track.png", "course.png", "tradeoff.png", "relearn.png"]
    bytes_before = [path.read_bytes() for path in paths]
    assert all(data.startswith(b"\x89PNG") for data in bytes_before)
    assert [path.read_bytes() for path in export_figures(copy.deepcopy(report), tmp_path)] == bytes_before
    assert export_figures({}, tmp_path) == []


def test_a_picture_without_panels_is_no_file(tmp_path):
    flat = {"curve": [{"step": n, "accuracy": 0.9, "perplexity_retain": 5.0} for n in range(3)]}
    (picture,) = charts.pictures(flat)
    assert not picture.panels and "Not drawn, since it hardly moved" in picture.caption
    assert export_figures(flat, tmp_path) == figure_names(flat) == [*tmp_path.iterdir()] == []


def test_what_the_page_may_run_and_ask_is_written_in_it(html):
    """The page runs its own script alone, whose hash it names, and no address may be asked for anything."""
    policy = dict(Page(html).tags[3][1])["content"]
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    hashed = base64.urlsafe_b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{hashed}'; connect-src 'none'" in policy and policy.startswith("default-src 'none'")


def test_keys_of_a_report_are_told_in_words(tmp_path):
    report = made_up()
    report["labels"] |= {"changed_share": 0.4}
    report["attacks"] = {"leaks": {"models": {"unlearned": {"leak_at": {"1": estimate(0.1)}, "by_kind": {}}}}}
    text = Page(rendered(report, tmp_path)).text.partition('{"groups"')[0]
    assert "Share of labels that differ from the text" in text and "leak@1" in text and "147,000" in text
    assert not re.search("changed_share|trained_share|leak_at|by_kind", text)
