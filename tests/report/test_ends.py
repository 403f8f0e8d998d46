"""Names at the ends of lines: none over another, none over the edge, in whatever number and length they come."""

import itertools
import re

import pytest
from matplotlib.figure import Figure
from support import drawn
from support.reports import curve, made_up

from jaxunlearn.report import charts, drawing
from jaxunlearn.report.ends import ROOM, SIZE, name_ends, text_width

LONG = "retain text alone with a name that is far too long for any margin"


@pytest.fixture(scope="module")
def crowded():
    """The pictures of a report whose lines all end at nearly one place, many of them, with long names."""
    report = made_up()
    words = {f"{n} {LONG}"[: 3 + 9 * n]: 0.01 + n / 1e4 for n in range(8)}
    report["curve"] = [row | {"track": {"A prompt": words}} for row in report["curve"]]
    report["curves"] = {f"{n} {LONG}": curve(0.027 + n / 1e5, 0.9, False) for n in range(4)}
    names = [*report["curves"], "unlearned", "twin"]
    names += [f"{name}, {part}% of the text (3 blocks)" for name in ("unlearned", "twin") for part in (1, 10, 100)]
    report["relearn"] = dict.fromkeys(names, report["relearn"]["unlearned"])
    picked = [picture.panels[0] for picture in charts.pictures(report)] + [charts.relearning(report).panels[-1]]
    return [drawing.svg(panel, f"p{n}") for n, panel in enumerate(picked)]


def test_no_text_of_a_picture_lies_over_another_or_is_cut_off(html, crowded):
    pictures = re.findall(r'<svg class="plot".*?</svg>', html, re.DOTALL)
    assert len(pictures) == 9 and len(crowded) == 5
    assert [fault for svg in [*pictures, *crowded] for fault in drawn.faults(svg)] == []


def test_the_check_sees_texts_over_each_other_and_over_the_edge():
    text = '<text style="font-size: 10px; text-anchor: {}" x="{}" y="{}">{}</text>'
    frame = '<svg viewBox="0 0 100 50">{}</svg>'
    one = text.format("start", 10, 20, "abcdef")
    assert drawn.faults(frame.format(one + text.format("start", 10, 35, "abcdef"))) == []
    assert drawn.faults(frame.format(one + text.format("end", 60, 25, "second"))) == ["'abcdef' lies over 'second'"]
    assert drawn.faults(frame.format(text.format("middle", 95, 20, "abcdef"))) == ["'abcdef' is cut off at the edge"]


@pytest.mark.parametrize("at", [0.0, 0.5, 1.0])
def test_names_of_lines_that_end_in_one_place_stay_beside_the_axes(at):
    figure = Figure(figsize=(430 / 72, 280 / 72))
    ax = figure.add_axes((0.13, 0.15, 0.6, 0.81))
    name_ends(ax, [(1.0, at, f"{n} {LONG}", "#000000") for n in range(6)])
    places = sorted(text.get_position()[1] for text in ax.texts)
    high = 26 / (0.81 * 280)  # two lines of 13 pixels
    assert all(b - a > high for a, b in itertools.pairwise(places))
    assert places[0] > -0.01 and places[-1] + high / 2 < 1.03


def test_long_names_are_cut_to_two_lines_that_fit(crowded):
    cut = [box for svg in crowded for box in drawn.boxes(svg) if box.text.endswith("…")]
    assert cut and all(text_width(box.text, SIZE) <= ROOM for box in cut)
