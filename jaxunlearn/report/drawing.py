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
FLOOR = 1e-5  # where a logarithmic axis shows zero
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 11, "text.parse_math": False, "svg.fonttype": "none",
    "svg.hashsalt": "jaxunlearn", "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED, "xtick.color": MUTED, "ytick.color": MUTED, "text.color": INK, "axes.grid": True,
    "grid.color": GRID, "grid.linewidth": 0.8, "axes.axisbelow": True, "legend.frameon": False,
    "lines.linewidth": 1.8, "lines.markersize": 4.5,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes, which `draw` fills; size and margins (left, right, top, bottom) in pixels."""

    title: str
    alt: str
    draw: Callable[[Any], None]
    size: tuple[int, int] = (410, 280)
    margins: tuple[int, int, int, int] = (54, 104, 10, 42)


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
    """One line of a panel: its name, points, colour and marker; `twin` is the twin's value, drawn dashed."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    color: str
    marker: str = "o"
    twin: float | None = None


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A vertical axis: logarithmic, or linear with a height of at least `room`, so that noise does not fill it.

    top: the highest value that a linear axis shows.
    """

    log: bool = False
    room: float = 0.0
    top: float = math.inf


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


def draw_lines(ax: Any, lines: list[Series], scale: Scale = Scale(), labels: bool = True) -> None:
    """Draw lines by step, with their names at their right ends where `labels` is set."""
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


def draw_trajectories(ax: Any, lines: list[Series], end: tuple[float | None, float | None]) -> None:
    """Draw familiarity against perplexity, a line per run from its open first point to its large last one.

    end: (perplexity, familiarity) of the twin, drawn as a star.
    """
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
    draw_legend(ax)


def draw_legend(ax: Any) -> None:
    """List the lines below the axes."""
    offset = -46 / (ax.get_position().height * ax.figure.get_figheight() * 72)
    ax.legend(loc="upper left", bbox_to_anchor=(-0.05, offset), labelspacing=0.45, borderpad=0, fontsize=10.5)


def _placed(value: float, scale: Scale) -> float:
    """Return where a value is drawn: a logarithmic axis has no zero."""
    return max(value, FLOOR) if scale.log else value


def _open_up(ax: Any, scale: Scale) -> None:
    """Widen a linear axis to what its scale asks for."""
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
    """Write each line's name at its right end, and push names apart where lines end together."""
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


@contextmanager
def _drawing() -> Iterator[type]:
    """Yield matplotlib's Figure in the report's style, without warnings on glyphs that the font lacks."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        yield Figure
