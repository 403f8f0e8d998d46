"""The report's pictures: panels drawn once, as inline SVG for the page and as PNG for the README."""

import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from jaxunlearn.estimates import is_number, value_of
from jaxunlearn.evals.statistics import number

INK, MUTED, GRID = "#1c2128", "#5a6372", "#d8dce2"
# Light-mode colours; on the page each becomes the CSS variable of its name, so that dark mode can choose its own.
PALETTE = {
    INK: "ink", MUTED: "muted", GRID: "grid", "#0b5cad": "c0", "#b3440e": "c1", "#187a56": "c2", "#7e47b5": "c3",
    "#946200": "c4", "#0d7480": "c5", "#b02a67": "c6", "#697180": "c7", "#4d5b9e": "c8",
}  # fmt: skip
LINES = [color for color in PALETTE if PALETTE[color].startswith("c")]
MODEL_COLORS = {"unlearned": LINES[0], "twin": LINES[2], "baseline": LINES[7], "reinforced": LINES[1]}
WORD_COLORS = [LINES[n] for n in (0, 1, 2, 3, 4, 6, 7, 5)]
SPARE_COLORS = [LINES[n] for n in (1, 3, 4, 6, 5, 8)]
MARKERS = "osD^vPX*"
FLOOR = 1e-5
MAX_WORDS = 8
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 11, "text.parse_math": False, "svg.fonttype": "none",
    "svg.hashsalt": "jaxunlearn", "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED, "xtick.color": MUTED, "ytick.color": MUTED, "text.color": INK, "axes.grid": True,
    "grid.color": GRID, "grid.linewidth": 0.8, "axes.axisbelow": True, "legend.frameon": False,
    "lines.linewidth": 1.8, "lines.markersize": 4.5,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes: `draw` fills them; sizes and margins (left, right, top, bottom) in pixels."""

    title: str
    alt: str
    draw: Callable[[Any], None]
    size: tuple[int, int] = (410, 280)
    margins: tuple[int, int, int, int] = (54, 104, 10, 42)


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The figures behind a picture, as a table: column heads and rows of text."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure of the report: its panels, its caption and its numbers."""

    key: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    numbers: tuple[Numbers, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line of a panel: a name, its points, how it looks."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    color: str
    marker: str = "o"
    twin: float | None = None


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A vertical axis: logarithmic; or at least `room` high, so that noise does not fill it, and at most `top`."""

    log: bool = False
    room: float = 0.0
    top: float = math.inf


def pictures(report: dict) -> list[Picture]:
    """Return the pictures for which the report has data, in the page's order."""
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
            Panel(title=f"“{prompt} …”", alt=_story(lines), draw=lambda ax, lines=lines: _draw_lines(ax, lines))
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
    return Panel(title=title, alt=_story(lines), draw=lambda ax: _draw_lines(ax, lines, scale))


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
        draw=lambda ax: _draw_trajectories(ax, lines, end),
        size=(410, 300 + legend),
        margins=(54, 16, 10, 52 + legend),
    )


def _draw_trajectories(ax: Any, lines: list[Series], end: tuple[float | None, float | None]) -> None:
    for s in lines:
        y = [max(value, FLOOR) for value in s.y]
        ax.plot(s.x, y, color=s.color, marker=s.marker, markersize=3.5, label=s.name.lstrip("_"))
        ax.plot(s.x[:1], y[:1], color=s.color, marker=s.marker, markersize=8, markerfacecolor="none")
        ax.plot(s.x[-1:], y[-1:], color=s.color, marker=s.marker, markersize=8)
    twin_x, twin_y = end
    if twin_x is not None and twin_y is not None:
        color, label = MODEL_COLORS["twin"], "twin (never saw the target)"
        ax.plot([twin_x], [max(twin_y, FLOOR)], "*", color=color, markersize=13, label=label)
    _log_axis(ax)
    _finish_axes(ax, "perplexity on retain text", whole=False)
    _legend(ax)


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
        _draw_lines(ax, lines, labels=False)
        _legend(ax)

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


# ---- drawing ---------------------------------------------------------------------------------------------------------


def svg(panel: Panel, key: str) -> str:
    """Draw one panel as an SVG element for the page; `key` makes its ids unique there."""
    from markupsafe import escape

    (width, height), (left, right, top, bottom) = panel.size, panel.margins
    buffer = io.StringIO()
    with _drawing() as figure_class:
        figure = figure_class(figsize=(width / 72, height / 72))
        ax = figure.add_axes((left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height))
        panel.draw(ax)
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    body = buffer.getvalue().partition("<svg")[2].partition(">")[2]
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL).replace("xlink:href", "href")
    body = re.sub(r'(\bid="|href="#|url\(#)', lambda match: f"{match.group()}{key}-", body)
    for color, name in PALETTE.items():
        body = body.replace(color, f"var(--{name})")
    labels = f'<title id="{key}-title">{escape(panel.title)}</title><desc id="{key}-desc">{escape(panel.alt)}</desc>'
    frame = f'class="plot" role="img" aria-labelledby="{key}-title {key}-desc" viewBox="0 0 {width} {height}"'
    return f'<svg {frame} style="max-width: {width}px">{labels}{body.strip()}'


def png(picture: Picture, path: Path) -> None:
    """Draw all panels of a picture into one PNG, at most three side by side."""
    columns = min(len(picture.panels), 2 if len(picture.panels) in (2, 4) else 3)
    lines = -(-len(picture.panels) // columns)
    width, height = (max(panel.size[n] for panel in picture.panels) for n in (0, 1))
    with _drawing() as figure_class:
        figure = figure_class(figsize=(columns * width / 72, lines * (height + 30) / 72), facecolor="white")
        for n, panel in enumerate(picture.panels):
            left, right, top, bottom = panel.margins
            x, y = n % columns / columns, 1 - (n // columns + 1) / lines
            across, up = columns * width, lines * (height + 30)
            box = (x + left / across, y + bottom / up, (width - left - right) / across, (height - top - bottom) / up)
            ax = figure.add_axes(box)
            panel.draw(ax)
            ax.set_title(_wrapped(panel.title), loc="left", fontsize=11, x=-0.12 if right > 50 else -0.1)
        figure.savefig(path, format="png", dpi=144, metadata={"Software": None})


def _draw_lines(ax: Any, lines: list[Series], scale: Scale = Scale(), labels: bool = True) -> None:
    for s in lines:
        ax.plot(s.x, [_placed(value, scale) for value in s.y], color=s.color, marker=s.marker, label=s.name.lstrip("_"))
        if s.twin is not None:
            ax.axhline(_placed(s.twin, scale), color=s.color, linestyle=(0, (5, 4)), linewidth=1.2)
    if scale.log:
        _log_axis(ax)
    else:
        _open_up(ax, scale)
    _finish_axes(ax, "step", whole=True)
    if labels:
        _end_labels(ax, lines)


def _placed(value: float, scale: Scale) -> float:
    """Return where a value is drawn; zero has no place on a logarithmic axis."""
    return max(value, FLOOR) if scale.log else value


def _open_up(ax: Any, scale: Scale) -> None:
    low, high = ax.get_ylim()
    if not scale.room:
        low, high = min(0.0, low), max(high, 0.01)
    elif high - low < scale.room:
        low = max(0.0, (low + high - scale.room) / 2)
        high = low + scale.room
    if high > scale.top:
        low, high = min(low, scale.top - scale.room), scale.top
    ax.set_ylim(low, high)


def _end_labels(ax: Any, lines: list[Series]) -> None:
    """Name each line at its right end; push names apart where the lines end together."""
    low = ax.get_ylim()[0]
    to_axes = ax.transAxes.inverted().transform
    places = [to_axes(ax.transData.transform((s.x[-1], max(s.y[-1], low))))[1] for s in lines]
    taken = -1.0
    shifted = {}
    for n in sorted(range(len(lines)), key=lambda n: places[n]):
        taken = max(places[n], taken + 0.068 * (1 + lines[n].name.count("\n")))
        shifted[n] = taken
    excess = max(0.0, taken - 1.0)
    for n, place in shifted.items():
        label = lines[n].name if len(lines[n].name) <= 32 else f"{lines[n].name[:30]}…"
        ax.text(1.03, place - excess, label, color=lines[n].color, transform=ax.transAxes, va="center", fontsize=10.5)


def _log_axis(ax: Any) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.margins(y=0.08)
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 100 else (1.0, 2.0, 5.0), numticks=12))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.tick_params(which="minor", length=0)


def _finish_axes(ax: Any, x_label: str, whole: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=whole, steps=[1, 2, 5, 10]))
    ax.set_xlabel(x_label)
    ax.tick_params(length=0, pad=5)
    ax.grid(axis="x", visible=False)


def _legend(ax: Any) -> None:
    offset = -46 / (ax.get_position().height * ax.figure.get_figheight() * 72)
    ax.legend(loc="upper left", bbox_to_anchor=(-0.05, offset), labelspacing=0.45, borderpad=0, fontsize=10.5)


@contextmanager
def _drawing() -> Iterator[type]:
    """Set the style, leave matplotlib's global state as it was, and hold back warnings on glyphs a font lacks."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        yield Figure


# ---- reading the report ----------------------------------------------------------------------------------------------


def _get(tree: Any, *keys: str) -> Any:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _rows(rows: Any) -> list[dict]:
    found = [row for row in rows or () if isinstance(row, dict) and is_number(row.get("step"))]
    return sorted(found, key=lambda row: row["step"])


def _sorted_models(rows: dict) -> dict:
    """Put the main models first, the others by name, so that colours do not hang on the order of a dict."""
    first = {name: n for n, name in enumerate(("baseline", "unlearned", "twin"))}
    return {name: rows[name] for name in sorted(rows, key=lambda name: (first.get(name, len(first)), name))}


def _series(name: str, points: Sequence[tuple], color: str, marker: str, twin: Any = None) -> Series:
    x, y = (tuple(point[n] for point in points) for n in (0, 1))
    return Series(name=name, x=x, y=y, color=color, marker=marker, twin=value_of(twin))


def _story(lines: list[Series]) -> str:
    """Tell a chart in words, for those who hear the page."""
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


def _wrapped(text: str) -> str:
    from textwrap import fill

    return fill(text, 48)
