"""What the report's pictures show: each is made of panels, which drawing.py draws as SVG or PNG.

A panel has at most MOST lines beside the twin's. What hardly moves, or repeats another line, is said instead of drawn.
"""

from dataclasses import replace
from itertools import cycle
from typing import Any

from jaxunlearn.estimates import bounds, is_number, known, number, value_of
from jaxunlearn.report.drawing import (
    LINES,
    MARKERS,
    MODEL_COLORS,
    ODDS_ROOM,
    SPARE_COLORS,
    WORD_COLORS,
    Axis,
    Panel,
    Picture,
    Series,
    draw_lines,
    draw_trajectories,
)
from jaxunlearn.report.lines import (
    MOST,
    SAME,
    alike,
    ends_of,
    get,
    parts,
    rows_of,
    series_of,
    sorted_models,
    span,
    step_table,
    story,
    values,
)
from jaxunlearn.report.scales import NATS, Scale, scale_of

PART = "% of the text"  # in the name of a model that was relearned from a part of the text
SHARE, PERPLEXITY = scale_of("familiarity"), Scale(name=NATS)


def pictures(report: dict) -> list[Picture]:
    """Return the pictures for which the report has data, in the order of the page."""
    made = (tracked(report), course(report), tradeoff(report), relearning(report))
    return [_noted_once(picture) for picture in made if picture is not None]


def _noted_once(picture: Picture) -> Picture:
    """Return a picture whose caption holds the note that all of its panels have."""
    notes = {panel.note for panel in picture.panels}
    if len(notes) != 1 or "" in notes:
        return picture
    panels = tuple(replace(panel, note="") for panel in picture.panels)
    return replace(picture, panels=panels, caption=f"{picture.caption} {notes.pop()}")


# ---- figure 1: next-token probabilities by step ----------------------------------------------------------------------


def tracked(report: dict) -> Picture | None:
    """Plot each tracked prompt's next-word probabilities by step, the twin's as dashes (WHP, its signature plot)."""
    rows = [row for row in rows_of(report.get("curve")) if row.get("track")]
    twin = get(report, "models", "twin", "track") or {}
    series = {prompt: _word_series(rows, prompt, twin.get(prompt) or {}) for row in rows for prompt in row["track"]}
    series = {prompt: lines for prompt, lines in series.items() if lines}
    if not series:
        return None
    known = any(s.twin is not None for lines in series.values() for s in lines)
    words = {word for row in rows for found in row["track"].values() for word in found or ()}
    more = f" Of {len(words)} words that were followed, the {MOST} that matter most of each prompt." * (
        any(len(found or ()) > MOST for row in rows for found in row["track"].values())
    )
    return Picture(
        key="track",
        title="What comes next, step by step",
        caption="Probability of the next word after each prompt while unlearning, on a scale of odds."
        + more
        + " Short bars at the right: the same in the twin, a model that never saw the target." * known,
        panels=tuple(
            Panel(
                title=f"“{prompt} …”",
                alt=story(lines),
                draw=lambda ax, lines=lines: draw_lines(ax, lines, Axis(scale=SHARE, room=ODDS_ROOM), twins="dash"),
                note=SHARE.clipped(value for s in lines for value in values(s)),
            )
            for prompt, lines in series.items()
        ),
        numbers=tuple(step_table(f"“{prompt} …”", lines) for prompt, lines in series.items()),
    )


def _word_series(rows: list[dict], prompt: str, twin: dict) -> list[Series]:
    """Return the lines of the words that are likely before and after: by turns the likeliest of either end."""
    points: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for word, value in (row["track"].get(prompt) or {}).items():
            if is_number(value):
                points.setdefault(word, []).append((row["step"], value))
    first, last = (sorted(points, key=lambda word: (-points[word][end][1], word)) for end in (0, -1))
    by_turns = dict.fromkeys(word for pair in zip(last, first, strict=True) for word in pair)
    words = sorted(list(by_turns)[:MOST], key=lambda word: (-points[word][0][1], word))
    return [
        series_of(word, points[word], color, marker, twin.get(word))
        for word, color, marker in zip(words, cycle(WORD_COLORS), cycle(MARKERS), strict=False)
    ]


# ---- figure 2: familiarity against accuracy and perplexity by step ---------------------------------------------------

ROOM, WORTH = 0.2, 0.02  # of perplexity, in nats: an axis' least height, and the least change that is worth a panel
# Title; the axis' least height on its scale; the least change on that scale that is worth a panel; its lines
COURSE = (
    ("Familiarity", ODDS_ROOM, 0.0, (
        ("familiarity", "next word", ("familiarity", "probability")),
        ("inside", "inside names", ("familiarity", "inside")))),
    ("General accuracy", ODDS_ROOM, 0.1, (
        ("accuracy", "accuracy", ("accuracy", "general")),)),
    ("Perplexity on retain text", ROOM, WORTH, (
        ("perplexity_retain", "as it is", ("perplexity", "retain")),
        ("perplexity_retain_fitted", "temperature fitted", ("perplexity", "retain_fitted")))),
    ("Entropy of the next token in nats", 0.5, 0.1, (
        ("entropy", "entropy", ("entropy", "retain")),)),
)  # fmt: skip


def course(report: dict) -> Picture | None:
    """Plot familiarity, accuracy, perplexity and entropy by step, with the twin's intervals as bands."""
    rows, panels, lines, flat = rows_of(report.get("curve")), [], [], []
    for title, room, least, keys in COURSE:
        found = [_key_series(rows, key, name, color, get(report, "models", "twin", *path))
                 for (key, name, path), color in zip(keys, LINES, strict=False)]  # fmt: skip
        found = [series for series in found if len(series.x) > 1]
        if not found:
            continue
        lines += found
        scale = scale_of(keys[0][0])
        if span(scale, found) < least or _in_noise(report, found, keys[0][2]):
            flat.append(f"{title[0].lower()}{title[1:]} ({ends_of(found)})")
            continue
        apart = [s for n, s in enumerate(found) if not n or not alike(scale, s, found[0], room)]
        panels.append(_course_panel(title, Axis(scale=scale, room=room), apart))
    if not lines:
        return None
    said = f" Not drawn, since it hardly moved: {'; '.join(flat)}." * bool(flat)
    return Picture(
        key="course",
        title="What it costs, step by step",
        caption="Familiarity with the target against what should stay. A fitted temperature takes out the part of a "
        "rise in perplexity that comes from sharper predictions alone." + said + _twin_said(lines),
        panels=tuple(panels),
        numbers=(step_table("By step", lines),),
    )


def _in_noise(report: dict, lines: list[Series], path: tuple[str, ...]) -> bool:
    """Return whether an accuracy moved by less than the width of the interval of what was measured at the end."""
    figure = get(report, "models", "unlearned", *path)
    low, high = bounds(figure)
    if path[0] != "accuracy" or low is None or high is None:
        return False
    return all(abs(value - known(figure)) < high - low for s in lines for value in s.y)


def _course_panel(title: str, axis: Axis, lines: list[Series]) -> Panel:
    note = axis.scale.clipped(value for s in lines for value in values(s))
    return Panel(title=title, alt=story(lines), draw=lambda ax: draw_lines(ax, lines, axis), note=note)


def _key_series(rows: list[dict], key: str, name: str, color: str, twin: Any = None) -> Series:
    points = [(row["step"], row[key]) for row in rows if is_number(row.get(key))]
    return series_of(name, points, color, "s" if color == LINES[1] else "o", twin)


def _twin_said(lines: list[Series]) -> str:
    known = any(s.twin is not None for s in lines)
    return " Bands: the twin, a model that never saw the target, with its 95% interval." if known else ""


# ---- figure 3: familiarity against perplexity, a trajectory a control ------------------------------------------------


TRADEOFF = (("perplexity_retain", "perplexity on retain text"),
            ("perplexity_retain_fitted", "the same at a fitted temperature"))  # fmt: skip


def tradeoff(report: dict) -> Picture | None:
    """Plot familiarity against perplexity on retain text, one trajectory for the method and each control.

    None where there is one trajectory whose perplexity hardly moves: the figure before shows that.
    """
    curves = sorted_models({"unlearned": report.get("curve"), **(report.get("curves") or {})})
    twin = get(report, "models", "twin") or {}
    panels, before = [], None
    for key, title in TRADEOFF:
        lines = [_trajectory(name, rows_of(rows), key, n) for n, (name, rows) in enumerate(curves.items())]
        lines = [series for series in lines if len(series.x) > 1]
        moved = bool(lines) and (len(lines) > 1 or _across(lines) > WORTH)
        if not moved or (before and all(map(_same_way, lines, before))):
            continue
        before = lines
        twin_x = value_of(get(twin, "perplexity", key.removeprefix("perplexity_")))
        end = (twin_x, value_of(get(twin, "familiarity", "probability")))
        panels += [_tradeoff_panel(f"Familiarity against {title}{part}", some, end) for part, some in parts(lines)]
    if not panels:
        return None
    return Picture(
        key="tradeoff",
        title="Forgetting against damage",
        caption="Each line is one run from its first step (open) to its last (large): down is forgetting, right is "
        "damage to retain text. A method is worth what it adds to its controls.",
        panels=tuple(panels),
    )


def _across(lines: list[Series]) -> float:
    places = [PERPLEXITY.at(value) for s in lines for value in s.x]
    return max(places) - min(places)


def _same_way(one: Series, other: Series) -> bool:
    height = max(_across([one, other]), ROOM)
    return len(one.x) == len(other.x) and all(
        abs(PERPLEXITY.at(a) - PERPLEXITY.at(b)) < SAME * height for a, b in zip(one.x, other.x, strict=True)
    )


def _trajectory(name: str, rows: list[dict], key: str, n: int) -> Series:
    rows = [row for row in rows if is_number(row.get(key)) and is_number(row.get("familiarity"))]
    points = [(row[key], row["familiarity"]) for row in rows]
    color = MODEL_COLORS.get(name, SPARE_COLORS[n % len(SPARE_COLORS)])
    return series_of(name, points, color, MARKERS[n % len(MARKERS)])


def _tradeoff_panel(title: str, lines: list[Series], end: tuple[float | None, float | None]) -> Panel:
    alt = "; ".join(
        f"{s.name}: familiarity {number(s.y[0])} to {number(s.y[-1])}, perplexity {number(s.x[0])} to {number(s.x[-1])}"
        for s in lines
    )
    return Panel(
        title=title,
        alt=alt,
        draw=lambda ax: draw_trajectories(ax, lines, end, (PERPLEXITY, SHARE)),
        note=SHARE.clipped([value for s in lines for value in s.y] + [y for y in end[1:] if y is not None]),
        size=(430, 310),
    )


# ---- figure 4: relearning --------------------------------------------------------------------------------------------


def relearning(report: dict) -> Picture | None:
    """Plot familiarity while each model is fine-tuned on a little of the target text again, the twin's line faint.

    Models that were relearned from several parts of the text have a panel each.
    """
    curves = {
        name: [(row["step"], row["familiarity"]) for row in rows_of(rows) if is_number(row.get("familiarity"))]
        for name, rows in sorted_models(report.get("relearn") or {}).items()
    }
    curves = {name: points for name, points in curves.items() if len(points) > 1}
    if not curves:
        return None
    of = [("Familiarity, next word", _relearned({name: curves[name] for name in curves if PART not in name}))]
    for model in dict.fromkeys(name.partition(", ")[0] for name in curves if PART in name):
        if model != "twin":
            own = {n.partition(", ")[2].partition(" of")[0]: p for n, p in curves.items() if n.startswith(f"{model}, ")}
            twin = {n.partition(" of")[0]: p for n, p in curves.items() if PART in n and n.startswith("twin, ")}
            some = _relearned({name: points for name, points in own.items() if name.endswith("%")} | twin)
            of.append((f"{model[0].upper()}{model[1:]}, from so much of the text", some))
    drawn = [(title + part, some) for title, lines in of if lines for part, some in parts(lines)]
    if not drawn:
        return None
    return Picture(
        key="relearn",
        title="How fast it comes back",
        caption="Familiarity while each model is fine-tuned on a little of the target text, at each step the most that "
        "any of the rates tried brought back. What returns faster than in the twin was hidden, not removed.",
        panels=tuple(_relearn_panel(title, lines) for title, lines in drawn),
        numbers=tuple(step_table(title, lines) for title, lines in drawn),
    )


def _relearned(curves: dict[str, list[tuple]]) -> list[Series]:
    """Return a line a model; those of the twin are faint."""
    lines = []
    for n, (name, points) in enumerate(curves.items()):
        faint = name.partition(",")[0] == "twin"
        color = MODEL_COLORS["twin"] if faint else MODEL_COLORS.get(name, SPARE_COLORS[n % len(SPARE_COLORS)])
        lines.append(series_of(name, points, color, MARKERS[n % len(MARKERS)], faint=faint))
    return lines


def _relearn_panel(title: str, lines: list[Series]) -> Panel:
    return Panel(
        title=title,
        alt=story(lines),
        draw=lambda ax: draw_lines(ax, lines, Axis(scale=SHARE, room=ODDS_ROOM)),
        note=SHARE.clipped(value for s in lines for value in s.y),
    )
