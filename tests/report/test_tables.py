"""Tables of measurements and of whatever else a report holds."""

import re

from support.reports import Page, e, entry, estimate, made_up, rendered, report_of

from jaxunlearn.report import tables
from jaxunlearn.report.findings import NEXT_WORD


def test_models_stand_in_order_with_controls_below(tmp_path):
    report = made_up()
    report["models"] = dict(reversed(report["models"].items()))
    html = rendered(report, tmp_path)
    heads = re.findall(r'<th scope="row">([^<]+)</th>', html.partition("What was measured")[2].partition("</tbody>")[0])
    assert heads == list(made_up()["models"])
    assert re.search(r'<tr class="controls"><th scope="row">reinforced</th>', html)


def test_measures_without_a_column_of_their_own_are_shown(tmp_path):
    report = made_up()
    report["models"]["unlearned"]["rtt"] = {"recovery": estimate(0.9712)}
    page = Page(rendered(report, tmp_path))
    assert "RTT, recovery (n\u00a0=\u00a0120)" in page.text and "0.971" in page.text


def test_differences_name_their_test():
    row = {"measure": "m", "from": "baseline", "to": "unlearned", "test": "McNemar", "p": 0.5} | e(-0.2, 0.1)
    table = tables.differences({"differences": [row, {"measure": "broken"}]})
    assert table is not None and table.rows == (
        ("m", "baseline → unlearned", "−0.200 (−0.300\u00a0to\u00a0−0.100)", "50", "McNemar, p = 0.500"),
    )
    assert tables.differences({}) is None


def test_differences_are_told_on_the_scale_of_their_figure():
    found = report_of(unlearned=entry(0.1))  # 9 : 1 to 1 : 9
    kind = {"from": "baseline", "to": "unlearned", "test": "t"}
    rows = [
        {"measure": NEXT_WORD, "scale": "difference"} | kind | e(-0.8),
        {"measure": "retain text, perplexity", "scale": "ratio"}
        | kind
        | {"value": 1.02, "low": 1.01, "high": 1.03, "n": 9},
        {"measure": NEXT_WORD, "scale": "share", "of": "baseline"} | kind | {"from": "twin"} | e(0.1),
    ]
    table = tables.differences(found | {"differences": rows})
    assert [row[2] for row in table.rows] == [
        "−0.800 (−0.810\u00a0to\u00a0−0.790); odds 81 times lower",
        "+0.020 (+0.010\u00a0to\u00a0+0.030) nats", "10% (9%\u00a0to\u00a011%)"
    ]  # fmt: skip
    found["models"]["unlearned"]["familiarity"]["probability"] = e(0.012)  # its interval holds no knowledge
    assert tables.differences(found | {"differences": rows}).rows[0][2] == "−0.800 (−0.810\u00a0to\u00a0−0.790)"


def test_wide_grids_are_cut_into_parts_that_fit_a_page():
    figures = {f"f{n}": e(0.1 * n) for n in range(8)}
    report = {"models": {"unlearned": {"x": figures, "y": {"z": e(0.5)}}, "twin": {"y": {"z": e(0.1)}}}}
    first, second = tables.further_grids(report)
    assert len(first.head) == 5 and len(second.head) == 4 and second.caption.endswith(", continued")
    assert [name for name, _ in first.rows] == ["unlearned"]  # nothing was measured of the other one there
    assert [name for name, _ in second.rows] == ["unlearned", "twin"] and second.head[-1].startswith("Y, z")
