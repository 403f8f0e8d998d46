"""Tables of whatever a report holds: attacks, several seeds, and keys that nobody foresaw."""

from support.reports import e, entry, report_of

from jaxunlearn.report import tables, trees


def test_any_attack_becomes_tables():
    attacks = {
        "quantise": {"int8": {"unlearned": {"familiarity": e(0.2)}, "baseline": {"familiarity": e(0.9)}}},
        "shares": {"unlearned": {"1%": [{"step": 0, "familiarity": 0.1}, {"step": 8, "familiarity": 0.5}]}},
        "odd": {"calls": 1200, "on": ["a", "b"], "rows": [{"prompt": "p", "rate": 0.5, "tree": {}}]},
        "empty": {},
        "unmeasured": ["x"],
    }
    found = dict(trees.attack_tables(report_of(unlearned=entry(0.1)) | {"attacks": attacks}))
    assert list(found) == ["Rounding the weights", "Relearning from parts of the text", "Odd"]
    (rounding,) = found["Rounding the weights"]
    assert rounding.head == ("Familiarity, next word",) and rounding.caption == "Rounding the weights: 8-bit integers"
    cells = (
        tables.Cell(text="0.900", interval="0.890 to 0.910", n=50),
        tables.Cell(text="0.200", interval="0.190 to 0.210", n=50),
    )
    assert rounding.rows == (("baseline", cells[:1]), ("unlearned", cells[1:]))
    (shares,) = found["Relearning from parts of the text"]
    assert shares.head == ("After step 8, familiarity, next word",) and shares.rows[0][1][0].text == "0.500"
    pairs, rows = found["Odd"]
    assert pairs.rows == (("Calls", "1,200"), ("On", "a, b")) and rows.rows == (("p", "0.500"),)


def test_the_worst_completions_are_quoted_by_model():
    quoted = [
        {"grade": "explicit", "temperature": 1.0, "prompt": f"p{n}", "text": f"Zara {n}", "evidence": ["Zara"]}
        for n in range(6)
    ]
    models = {"unlearned": {"worst": quoted, "probes": 6}, "twin": {"worst": [], "probes": 6}}
    attacks = {"leaks": {"models": models, "samples": 4}}
    found = dict(trees.attack_tables(report_of(unlearned=entry(0.1)) | {"attacks": attacks}))["Leak probes"]
    assert found[0].rows[0] == ("unlearned", "explicit", "1.00", "p0 …", "Zara 0") and len(found[0].rows) == 4
    assert [table.head for table in found[1:]] == [("What", "Value"), ("Probes",)]
    assert len(models["unlearned"]["worst"]) == 6  # the report itself is left as it was


def test_long_tables_say_what_they_leave_out():
    (table,) = trees.tables("t", [{"a": n} for n in range(50)], ())
    assert len(table.rows) == 40 and table.left_out == 10


def test_one_item_has_a_dash_for_its_interval():
    one = {"value": 0.5, "low": None, "high": None, "n": 1, "note": "one item only"}
    (table,) = trees.tables("t", {"unlearned": {"x": one}}, ("unlearned",))
    assert table.rows == (("unlearned", (tables.Cell(text="0.500", interval="–", n=1),)),)


def test_figures_stand_in_the_order_of_their_numbers_a_row_a_model():
    found = {"leak_at": {n: e(int(n) / 40) for n in ("1", "16", "2", "4", "8")}, "layers": [e(0.1), e(0.2)]}
    found["rates"] = {"near": e(0.1), "explicit": e(0.2)}
    rates, at, layers = trees.tables("t", {"baseline": found, "unlearned": found}, ("unlearned",))
    assert at.head == ("leak@1", "leak@2", "leak@4", "leak@8", "leak@16")
    assert [name for name, _ in at.rows] == ["baseline", "unlearned"]
    assert [cell.text for cell in at.rows[1][1]] == ["0.025", "0.050", "0.100", "0.200", "0.400"]
    assert rates.head == ("Names the target", "Nearly names it") and layers.head == ("Layer 1", "Layer 2")
