"""Lines of pictures: read from curves, told apart, as numbers."""

from jaxunlearn.report.lines import MOST, alike, parts, rows_of, series_of, span, step_table
from jaxunlearn.report.scales import NATS, Scale

TWO = [(0, 2.0), (5, 4.0)]


def test_rows_without_a_step_are_left_out_and_the_others_sorted():
    assert rows_of([{"step": 3}, {}, None, {"step": 1}]) == [{"step": 1}, {"step": 3}] and rows_of(None) == []


def test_many_lines_are_cut_into_panels_that_all_hold_the_method_and_the_twin():
    lines = [series_of(f"m{n}", TWO, "c", "o") for n in range(9)]
    lines += [series_of("unlearned", TWO, "c", "o"), series_of("twin", TWO, "c", "o", faint=True)]
    made = parts(lines)
    assert [part for part, _ in made] == [" (1 of 3)", " (2 of 3)", " (3 of 3)"]
    assert all(sum(not s.faint for s in some) <= MOST for _, some in made)
    assert all({"unlearned", "twin"} <= {s.name for s in some} for _, some in made)
    assert {s.name for _, some in made for s in some} == {s.name for s in lines}
    assert parts(lines[:2]) == [("", lines[:2])]


def test_lines_are_alike_where_they_would_be_drawn_over_each_other():
    nats = Scale(name=NATS)
    one, near, far = (series_of("n", [(0, 2.0 * f), (5, 4.0 * f)], "c", "o") for f in (1, 1.005, 1.1))
    assert alike(nats, one, near, 0.2) and not alike(nats, one, far, 0.2)
    assert not alike(nats, one, series_of("n", TWO[:1], "c", "o"), 0.2)
    assert abs(span(nats, [one]) - 0.6931) < 1e-3  # ln 2


def test_numbers_stand_by_step_with_the_twin_last():
    table = step_table("t", [series_of("a", TWO, "c", "o", {"value": 9.0}), series_of("b", TWO[1:], "c", "o")])
    assert table.head == ("step", "a", "b")
    assert table.rows == (("0", "2.00", "–"), ("5", "4.00", "4.00"), ("twin", "9.00", "–"))
