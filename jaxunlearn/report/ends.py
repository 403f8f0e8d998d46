"""Names at the ends of a picture's lines, in the right margin, none over another and none cut off by the edge."""

import itertools
from functools import cache
from typing import Any

SIZE, LINE = 10.5, 13.0  # font size and distance of lines, in pixels
ROOM = 102.0  # pixels for a name


def name_ends(ax: Any, ends: list[tuple[float, float, str, str]]) -> None:
    """Write names in the right margin, at the height of the ends of their lines and pushed apart where they meet.

    ends: place across and up in the axes, name and colour of each. A thin line joins a name to an end far from it.
    """
    box, figure = ax.get_position(), ax.figure
    width, height = box.width * figure.get_figwidth() * 72, box.height * figure.get_figheight() * 72
    names = ["\n".join(_lines(name, ROOM)) for *_, name, _ in ends]
    tall = [(LINE * (1 + name.count("\n")) + 2) / height for name in names]
    order = sorted(range(len(ends)), key=lambda n: ends[n][1])
    middle = [min(max(end[1], 0.0), 1.0) for end in ends]
    for before, n in itertools.pairwise(order):
        middle[n] = max(middle[n], middle[before] + (tall[before] + tall[n]) / 2)
    top = 1.0 + 0.5 * LINE / height
    for n in reversed(order):  # what was pushed out at the top comes down, and pushes those below it
        middle[n] = min(middle[n], top - tall[n] / 2)
        top = middle[n] - tall[n] / 2
    for (x, y, _, color), name, place in zip(ends, names, middle, strict=True):
        if abs(place - y) * height > 3 or x < 0.99:
            far = 1 + 8 / width
            ax.plot([x, far], [y, place], color=color, linewidth=0.7, alpha=0.5, transform=ax.transAxes, clip_on=False)
        ax.text(1 + 11 / width, place, name, color=color, transform=ax.transAxes, va="center", fontsize=SIZE,
                linespacing=LINE / SIZE / 1.164, parse_math=False)  # fmt: skip


def _lines(name: str, room: float) -> list[str]:
    """Return a name cut to at most two lines that fit the width; the second ends with … where more is left out."""
    words, lines = name.split(), [""]
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer, SIZE) <= room or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > 2:
        lines = [lines[0], " ".join(lines[1:]) + "…"]
    return [_cut(line, room) for line in lines]


def _cut(line: str, room: float) -> str:
    if text_width(line, SIZE) <= room:
        return line
    line = line.removesuffix("…")
    while line and text_width(f"{line}…", SIZE) > room:
        line = line[:-1]
    return f"{line.rstrip()}…"


@cache
def text_width(text: str, size: float) -> float:
    """Return the width of a text in pixels, in the font of the PNG files: wider than most that a browser takes."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    font = FontProperties(family="DejaVu Sans", size=size)
    return TextToPath().get_text_width_height_descent(text, font, ismath=False)[0]
