"""Panels of lines, drawn as SVG for the page and as PNG for the README, in one style."""

import io
import math
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

from jaxunlearn.estimates import bounds, value_of
from jaxunlearn.report.ends import name_ends
from jaxunlearn.report.scales import PLAIN, Scale

INK, MUTED, GRID = "#1c2128", "#5a6372", "#d8dce2"
# Colours of light mode. On the page each becomes the CSS variable of its name, for which dark mode has another value.
PALETTE = {
    INK: "ink", MUTED: "muted", GRID: "grid", "#0b5cad": "c0", "#b3440e": "c1", "#187a56": "c2", "#7e47b5": "c3",
    "#946200": "c4", "#0d7480": "c5", "#b02a67": "c6", "#697180": "c7", "#4d5b9e": "c8",
}  # fmt: skip
LINES = [color for color in PALETTE if PALETTE[color].startswith("c")]
MODEL_COLORS = {"unlearned": LINES[0], "twin": LINES[2], "baseline": LINES[7], "reinforced": LINES[1]}
WORD_COLORS = [LINES[n] for n in (0, 1, 2, 3, 4, 6, 7, 5)]
SPARE_COLORS = [LINES[n] for n in (1, 3, 4, 6, 5, 8)]
MARKERS = "osD^vPX*"
PLAIN_SCALE = Scale(name=PLAIN)
ODDS_ROOM = 8.0  # the least height of an axis of odds, in their logarithm: .02 to .98
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 11, "text.parse_math": False, "svg.fonttype": "none",
    "svg.hashsalt": "jaxunlearn", "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED, "xtick.color": MUTED, "ytick.color": MUTED, "text.color": INK, "axes.grid": True,
    "grid.color": GRID, "grid.linewidth": 0.8, "axes.axisbelow": True, "legend.frameon": False,
    "lines.linewidth": 1.8, "lines.markersize": 4.5,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes, which `draw` fills; size and margins (left, right, top, bottom) in pixels.

    note: what a reader has to know of the axis, for example that it is clipped.
    """

    title: str
    alt: str
    draw: Callable[[Any], None]
    note: str = ""
    size: tuple[int, int] = (430, 280)
    margins: tuple[int, int, int, int] = (54, 118, 10, 42)


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The numbers of a picture as a table: column heads and rows of text."""

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
    """One line of a panel: its name, points, colour and marker.

    twin: the same figure of the twin, a value with its interval where it has one, drawn as a band or a faint line.
    faint: the line is the twin's own, drawn without weight.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    color: str
    marker: str = "o"
    twin: Any = None
    faint: bool = False


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A vertical axis: the scale of its figure, and its least height on that scale, so that noise does not fill it."""

    scale: Scale = PLAIN_SCALE
    room: float = 0.0


# ---- drawing ---------------------------------------------------------------------------------------------------------


def svg(panel: Panel, key: str) -> str:
    """Return one panel as an SVG element; `key`, unique on the page, begins its ids."""
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
    """Write all panels of a picture into one PNG file, at most three side by side."""
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
            ax.set_title(fill(panel.title, 48), loc="left", fontsize=11, x=-0.12 if right > 50 else -0.1)
        figure.savefig(path, format="png", dpi=144, metadata={"Software": None})


def draw_lines(ax: Any, lines: list[Series], axis: Axis = Axis(), twins: str = "band") -> None:
    """Draw lines by step, with their names at their right ends.

    twins: how the twin's values are drawn, each in the colour of its line: as a "band" over the whole width, as high
    as its interval, or as a "dash" at the right end.
    """
    ends = []
    for s in lines:
        y = [axis.scale.shown(value) for value in s.y]
        worn = {"linewidth": 1.2, "alpha": 0.55} if s.faint else {"marker": s.marker}
        ax.plot(s.x, y, color=s.color, label=s.name.lstrip("_"), **worn)
        ends.append((y[-1], s.name, s.color))
    for s in lines:
        value = value_of(s.twin)
        if value is None:
            continue
        place = axis.scale.shown(value)
        if twins == "dash":
            across = ax.get_yaxis_transform()
            ax.plot([0.93, 1], [place] * 2, color=s.color, alpha=0.55, linewidth=3, transform=across)
            continue
        low, high = (axis.scale.shown(value if end is None else end) for end in bounds(s.twin))
        ax.axhspan(low, high, color=s.color, alpha=0.14, linewidth=0)
        ax.axhline(place, color=s.color, alpha=0.45, linewidth=1.2)
        ends.append((place, "twin" if len(lines) == 1 else f"twin, {s.name}", s.color))
    _set_scale(ax, axis)
    _finish_axes(ax, "step", whole=True)
    _name_ends(ax, [(ax.get_xlim()[1], *end) for end in ends])


def draw_trajectories(ax: Any, lines: list[Series], end: tuple[float | None, float | None], scales: tuple) -> None:
    """Draw one figure against another, a line per run from its open first point to its large last one.

    end: the twin's place, drawn as a star. scales: those of both axes, across and up.
    """
    across, up = scales
    ends = []
    for s in lines:
        x, y = ([scale.shown(value) for value in values] for scale, values in ((across, s.x), (up, s.y)))
        ax.plot(x, y, color=s.color, marker=s.marker, markersize=3.5, label=s.name.lstrip("_"))
        ax.plot(x[:1], y[:1], color=s.color, marker=s.marker, markersize=8, markerfacecolor="none")
        ax.plot(x[-1:], y[-1:], color=s.color, marker=s.marker, markersize=8)
        ends.append((x[-1], y[-1], s.name, s.color))
    twin_x, twin_y = end
    if twin_x is not None and twin_y is not None:
        color, place = MODEL_COLORS["twin"], (across.shown(twin_x), up.shown(twin_y))
        ax.plot(*([value] for value in place), "*", color=color, markersize=13)
        ends.append((*place, "twin", color))
    _set_scale(ax, Axis(scale=up, room=ODDS_ROOM))
    ax.margins(x=0.06)
    ax.set_xscale(across.axis)
    ax.autoscale_view(scaley=False)
    _finish_axes(ax, "perplexity on retain text", whole=False)
    if across.axis == "log":
        _plain_numbers(ax.xaxis)
    _name_ends(ax, ends)


def _name_ends(ax: Any, ends: list[tuple[float, float, str, str]]) -> None:
    """Name the ends of lines: place across and up in the figure's own numbers, name, colour."""
    to_axes = ax.transAxes.inverted().transform
    name_ends(ax, [(*to_axes(ax.transData.transform((x, y))), name, color) for x, y, name, color in ends])


def _set_scale(ax: Any, axis: Axis) -> None:
    """Give the vertical axis its scale, limits and marks."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = ax.dataLim.intervaly
    ax.set_yscale(axis.scale.axis)
    ends = _limits(low, high, axis)
    ax.set_ylim(*ends)
    if axis.scale.axis == "log":
        _plain_numbers(ax.yaxis)
    elif axis.scale.axis == "logit":
        ax.yaxis.set_major_locator(FixedLocator(axis.scale.ticks(*ends)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_locator(NullLocator())


def _limits(low: float, high: float, axis: Axis) -> tuple[float, float]:
    """Return the ends of an axis: a little beyond its values, and its room at least."""
    there, back = {
        "log": (math.log, math.exp),
        "logit": (axis.scale.at, lambda place: 1 / (1 + math.exp(-place))),
    }.get(axis.scale.axis, (float, float))
    first, last = there(low), there(high)
    spread = max((last - first) * 1.14, axis.room)
    first, last = (first + last - spread) / 2, (first + last + spread) / 2
    if axis.scale.axis == "logit":
        edge = axis.scale.at(1.0) + 0.5
        first, last = (first - (last - edge), edge) if last > edge else (first, last)
        first, last = (-edge, min(edge, last - first - edge)) if first < -edge else (first, last)
    return back(first), back(last)


def _plain_numbers(axis: Any) -> None:
    """Mark a logarithmic axis with plain numbers, as many as there is room for."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    low, high = axis.get_view_interval()
    if high / low > 4:
        axis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 100 else (1.0, 2.0, 5.0), numticks=12))
    else:
        marks = MaxNLocator(nbins=5, steps=[1, 2, 5, 10]).tick_values(low, high)
        axis.set_major_locator(FixedLocator([mark for mark in marks if low <= mark <= high]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_tick_params(which="minor", length=0)


def _finish_axes(ax: Any, x_label: str, whole: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=whole, steps=[1, 2, 5, 10]))
    ax.set_xlabel(x_label)
    ax.tick_params(length=0, pad=5)
    ax.grid(axis="x", visible=False)


@contextmanager
def _drawing() -> Iterator[type]:
    """Yield matplotlib's Figure in the report's style, without warnings on glyphs that the font lacks."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        yield Figure
