"""What the report's pictures show: each is made of panels, which drawing.py draws as SVG or PNG."""

from collections.abc import Sequence
from itertools import cycle
from typing import Any

from jaxunlearn.estimates import is_number, number, value_of
from jaxunlearn.report.drawing import (
    LINES,
    MARKERS,
    MODEL_COLORS,
    SPARE_COLORS,
    WORD_COLORS,
    Numbers,
    Panel,
    Picture,
    Scale,
    Series,
    draw_legend,
    draw_lines,
    draw_trajectories,
)
from jaxunlearn.report.tables import MAIN, ordered

MAX_WORDS = 8  # of a tracked prompt


def pictures(report: dict) -> list[Picture]:
    """Return the pictures for which the report has data, in the order of the page."""
    made = (tracked(report), course(report), tradeoff(report), relearning(report))
    return [picture for picture in made if picture is not None]


# ---- figure 1: next-token probabilities by step ----------------------------------------------------------------------


def tracked(report: dict) -> Picture | None:
    """Plot each tracked prompt's next-word probabilities by step, the twin's dashed (WHP, its signature plot)."""
    rows = [row for row in _rows(report.get("curve")) if row.get("track")]
    twin = _get(report, "models", "twin", "track") or {}
    series = {prompt: _word_series(rows, prompt, twin.get(prompt) or {}) for row in rows for prompt in row["track"]}
    series = {prompt: lines for prompt, lines in series.items() if lines}
    if not series:
        return None
    dashed = _twin_said([line for lines in series.values() for line in lines])
    return Picture(
        key="track",
        title="What comes next, step by step",
        caption="Probability of the next word after each prompt while unlearning." + dashed,
        panels=tuple(
            Panel(title=f"“{prompt} …”", alt=_story(lines), draw=lambda ax, lines=lines: draw_lines(ax, lines))
            for prompt, lines in series.items()
        ),
        numbers=tuple(_step_table(f"“{prompt} …”", lines) for prompt, lines in series.items()),
    )


def _word_series(rows: list[dict], prompt: str, twin: dict) -> list[Series]:
    points: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for word, value in (row["track"].get(prompt) or {}).items():
            if is_number(value):
                points.setdefault(word, []).append((row["step"], value))
    words = sorted(points, key=lambda word: (-max(value for _, value in points[word]), word))[:MAX_WORDS]
    words.sort(key=lambda word: (-points[word][0][1], word))
    return [
        _series(word, points[word], color, marker, twin.get(word))
        for word, color, marker in zip(words, cycle(WORD_COLORS), cycle(MARKERS), strict=False)
    ]


# ---- figure 2: familiarity against accuracy and perplexity by step ---------------------------------------------------

COURSE = (
    ("Familiarity (log scale)", Scale(log=True), (
        ("familiarity", "next word", ("familiarity", "probability")),
        ("inside", "inside names", ("familiarity", "inside")))),
    ("General accuracy", Scale(room=0.2, top=1.005), (
        ("accuracy", "accuracy", ("accuracy", "general")),)),
    ("Perplexity on retain text", Scale(room=2.0), (
        ("perplexity_retain", "as it is", ("perplexity", "retain")),
        ("perplexity_retain_fitted", "temperature\nfitted", ("perplexity", "retain_fitted")))),
    ("Entropy of the next token, nats", Scale(room=1.0), (
        ("entropy", "entropy", ("entropy", "retain")),)),
)  # fmt: skip


def course(report: dict) -> Picture | None:
    """Plot familiarity, accuracy, perplexity and entropy by step, the twin's values dashed."""
    rows, panels, lines = _rows(report.get("curve")), [], []
    for title, scale, keys in COURSE:
        found = [_key_series(rows, key, name, color, _get(report, "models", "twin", *path))
                 for (key, name, path), color in zip(keys, LINES, strict=False)]  # fmt: skip
        found = [series for series in found if len(series.x) > 1]
        if found:
            panels.append(_course_panel(title, scale, found))
            lines += found
    if not panels:
        return None
    return Picture(
        key="course",
        title="What it costs, step by step",
        caption="Familiarity with the target against what should stay. A fitted temperature takes out the part of a "
        "rise in perplexity that comes from sharper predictions alone." + _twin_said(lines),
        panels=tuple(panels),
        numbers=(_step_table("By step", lines),),
    )


def _course_panel(title: str, scale: Scale, lines: list[Series]) -> Panel:
    return Panel(title=title, alt=_story(lines), draw=lambda ax: draw_lines(ax, lines, scale))


def _key_series(rows: list[dict], key: str, name: str, color: str, twin: Any = None) -> Series:
    points = [(row["step"], row[key]) for row in rows if is_number(row.get(key))]
    return _series(name, points, color, "s" if color == LINES[1] else "o", value_of(twin))


# ---- figure 3: familiarity against perplexity, a trajectory a control ------------------------------------------------


TRADEOFF = (("perplexity_retain", "Perplexity as it is"), ("perplexity_retain_fitted", "One temperature fitted"))


def tradeoff(report: dict) -> Picture | None:
    """Plot familiarity against perplexity on retain text, one trajectory for the method and each control."""
    curves = _sorted_models({"unlearned": report.get("curve"), **(report.get("curves") or {})})
    twin = _get(report, "models", "twin") or {}
    panels = []
    for key, title in TRADEOFF:
        lines = [_trajectory(name, _rows(rows), key, n) for n, (name, rows) in enumerate(curves.items())]
        lines = [series for series in lines if len(series.x) > 1]
        twin_x = value_of(_get(twin, "perplexity", key.removeprefix("perplexity_")))
        end = (twin_x, value_of(_get(twin, "familiarity", "probability")))
        if lines:
            panels.append(_tradeoff_panel(title, lines, end))
    if not panels:
        return None
    return Picture(
        key="tradeoff",
        title="Forgetting against damage",
        caption="Each line is one run from its first step (open) to its last (large): down is forgetting, right is "
        "damage to retain text. A method is worth what it adds to its controls.",
        panels=tuple(panels),
    )


def _trajectory(name: str, rows: list[dict], key: str, n: int) -> Series:
    rows = [row for row in rows if is_number(row.get(key)) and is_number(row.get("familiarity"))]
    points = [(row[key], row["familiarity"]) for row in rows]
    color = MODEL_COLORS.get(name, SPARE_COLORS[n % len(SPARE_COLORS)])
    return _series(name, points, color, MARKERS[n % len(MARKERS)])


def _tradeoff_panel(title: str, lines: list[Series], end: tuple[float | None, float | None]) -> Panel:
    alt = "; ".join(
        f"{s.name}: familiarity {number(s.y[0])} to {number(s.y[-1])}, perplexity {number(s.x[0])} to {number(s.x[-1])}"
        for s in lines
    )
    legend = 16 * (len(lines) + (None not in end))
    return Panel(
        title=f"{title}: familiarity (log scale) against perplexity on retain text",
        alt=alt,
        draw=lambda ax: draw_trajectories(ax, lines, end),
        size=(410, 300 + legend),
        margins=(54, 16, 10, 52 + legend),
    )


# ---- figure 4: relearning --------------------------------------------------------------------------------------------


def relearning(report: dict) -> Picture | None:
    """Plot familiarity while each model is fine-tuned on a little of the target text again."""
    lines = []
    for n, (name, rows) in enumerate(_sorted_models(report.get("relearn") or {}).items()):
        color = MODEL_COLORS.get(name, SPARE_COLORS[n % len(SPARE_COLORS)])
        points = [(row["step"], row["familiarity"]) for row in _rows(rows) if is_number(row.get("familiarity"))]
        lines.append(_series(name, points, color, MARKERS[n % len(MARKERS)]))
    lines = [series for series in lines if len(series.x) > 1]
    if not lines:
        return None
    legend = 16 * len(lines)

    def draw(ax: Any) -> None:
        draw_lines(ax, lines, labels=False)
        draw_legend(ax)

    panel = Panel(
        title="Familiarity, next word",
        alt=_story(lines),
        draw=draw,
        size=(430, 280 + legend),
        margins=(54, 16, 10, 52 + legend),
    )
    return Picture(
        key="relearn",
        title="How fast it comes back",
        caption="Familiarity while each model is fine-tuned on a little of the target text, at each step the most that "
        "any of the rates tried brought back. What returns faster than in the twin was hidden, not removed.",
        panels=(panel,),
        numbers=(_step_table("By relearning step", lines),),
    )


# ---- reading the report ----------------------------------------------------------------------------------------------


def _get(tree: Any, *keys: str) -> Any:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _rows(rows: Any) -> list[dict]:
    found = [row for row in rows or () if isinstance(row, dict) and is_number(row.get("step"))]
    return sorted(found, key=lambda row: row["step"])


def _sorted_models(rows: dict) -> dict:
    """Put the main models first and the others by name, so that colours do not depend on the order of a dict."""
    return {name: rows[name] for name in ordered(sorted(rows), MAIN)}


def _series(name: str, points: Sequence[tuple], color: str, marker: str, twin: Any = None) -> Series:
    x, y = (tuple(point[n] for point in points) for n in (0, 1))
    return Series(name=name, x=x, y=y, color=color, marker=marker, twin=value_of(twin))


def _story(lines: list[Series]) -> str:
    """Return a chart in words, for those who hear the page."""
    parts = []
    for s in lines:
        twin = "" if s.twin is None else f" (twin {number(s.twin)})"
        name = " ".join(s.name.split())
        parts.append(f"{name}: {number(s.y[0])} at step {s.x[0]:g}, {number(s.y[-1])} at step {s.x[-1]:g}{twin}")
    return "; ".join(parts)


def _twin_said(lines: list[Series]) -> str:
    known = any(s.twin is not None for s in lines)
    return " Dashed: the same in the twin, a model that never saw the target." if known else ""


def _step_table(title: str, lines: list[Series]) -> Numbers:
    steps = sorted({step for s in lines for step in s.x})
    at = [dict(zip(s.x, s.y, strict=True)) for s in lines]
    rows = [(f"{step:g}", *(number(found[step]) if step in found else "–" for found in at)) for step in steps]
    if any(s.twin is not None for s in lines):
        rows.append(("twin", *("–" if s.twin is None else number(s.twin) for s in lines)))
    return Numbers(title=title, head=("step", *(" ".join(s.name.split()) for s in lines)), rows=tuple(rows))
