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
    assert "rtt, recovery (n\u00a0=\u00a0120)" in page.text and "0.971" in page.text


def test_any_attack_becomes_tables():
    attacks = {
        "quantise": {"int8": {"unlearned": {"familiarity": e(0.2)}, "baseline": {"familiarity": e(0.9)}}},
        "shares": {"unlearned": {"1%": [{"step": 0, "familiarity": 0.1}, {"step": 8, "familiarity": 0.5}]}},
        "odd": {"calls": 1200, "on": ["a", "b"], "rows": [{"prompt": "p", "rate": 0.5, "tree": {}}]},
        "empty": {},
        "unmeasured": ["x"],
    }
    found = dict(tables.attack_tables(report_of(unlearned=entry(0.1)) | {"attacks": attacks}))
    assert list(found) == ["Rounding the weights", "Relearning from parts of the text", "Odd"]
    (rounding,) = found["Rounding the weights"]
    assert rounding.head == ("", "baseline", "unlearned") and rounding.caption == "Rounding the weights: int8"
    assert rounding.rows == (("familiarity", "0.900 (0.890 to 0.910)", "0.200 (0.190 to 0.210)"),)
    assert found["Relearning from parts of the text"][0].rows == (("1%, at 8, familiarity", "0.500"),)
    pairs, rows = found["Odd"]
    assert pairs.rows == (("calls", "1,200"), ("on", "a, b")) and rows.rows == (("p", "0.500"),)


def test_the_worst_completions_are_quoted_by_model():
    quoted = [
        {"grade": "explicit", "temperature": 1.0, "prompt": f"p{n}", "text": f"Zara {n}", "evidence": ["Zara"]}
        for n in range(6)
    ]
    models = {"unlearned": {"worst": quoted, "probes": 6}, "twin": {"worst": [], "probes": 6}}
    attacks = {"leaks": {"models": models, "samples": 4}}
    found = dict(tables.attack_tables(report_of(unlearned=entry(0.1)) | {"attacks": attacks}))["Leak probes"]
    assert found[0].rows[0] == ("unlearned", "explicit", "1.00", "p0 …", "Zara 0") and len(found[0].rows) == 4
    assert not any("worst" in cell for table in found[1:] for row in table.rows for cell in row)
    assert len(models["unlearned"]["worst"]) == 6  # the report itself is left as it was


def test_differences_name_their_test():
    row = {"measure": "m", "from": "baseline", "to": "unlearned", "test": "McNemar", "p": 0.5} | e(-0.2, 0.1)
    table = tables.differences({"differences": [row, {"measure": "broken"}]})
    assert table is not None and table.rows == (
        ("m", "baseline → unlearned", "−0.200 (−0.300 to −0.100)", "50", "McNemar, p = 0.500"),
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
        "−0.800 (−0.810 to −0.790); odds 81 times lower", "+0.020 (+0.010 to +0.030) nats", "10% (9% to 11%)"
    ]  # fmt: skip
    found["models"]["unlearned"]["familiarity"]["probability"] = e(0.012)  # its interval holds no knowledge
    assert tables.differences(found | {"differences": rows}).rows[0][2] == "−0.800 (−0.810 to −0.790)"


def test_long_tables_say_what_they_leave_out():
    (table,) = tables.tables("t", [{"a": n} for n in range(50)], ())
    assert len(table.rows) == 40 and table.left_out == 10


def test_one_item_has_a_dash_for_its_interval():
    one = {"value": 0.5, "low": None, "high": None, "n": 1, "note": "one item only"}
    (table,) = tables.tables("t", {"unlearned": {"x": one}}, ("unlearned",))
    assert table.rows == (("x", "0.500 (–)"),)
