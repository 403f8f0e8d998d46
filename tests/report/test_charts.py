"""What the pictures show, and that each is told in words."""

from matplotlib.figure import Figure

from jaxunlearn.report import charts, drawing


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
