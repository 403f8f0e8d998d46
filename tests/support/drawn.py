"""The texts of a drawn picture as boxes, measured without a browser: which lie over each other, which are cut off."""

import itertools
import re
from dataclasses import dataclass
from html import unescape

from jaxunlearn.report.ends import text_width

ASCENT, DESCENT = 0.76, 0.24  # of the font's size, above and below the line; lines of text have less in common
ANCHOR = {"start": 0.0, "middle": 0.5, "end": 1.0}
TEXT = re.compile(r"<text ([^>]*)>(.*?)</text>", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Box:
    """A text and the rectangle it covers, in pixels of the picture."""

    text: str
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Box") -> bool:
        """Return whether two texts share more than half a pixel both ways."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return across > 0.5 and down > 0.5


def boxes(svg: str) -> list[Box]:
    """Return the box of each text of a picture."""
    found = []
    for attributes, inner in TEXT.findall(svg):
        text = unescape(re.sub(r"<[^>]*>", "", inner))
        size = float(re.search(r"font-size: ([\d.]+)px", attributes)[1])
        moved = re.search(r"translate\((-?[\d.]+) (-?[\d.]+)\)", attributes)  # as lines of one text are
        x, y = map(float, moved.groups() if moved else re.search(r'x="(-?[\d.]+)" y="(-?[\d.]+)"', attributes).groups())
        assert "rotate" not in attributes.replace("rotate(-0 ", ""), "a turned text has another box"
        anchor = re.search(r"text-anchor: (\w+)", attributes)
        width = text_width(text, size)
        left = x - ANCHOR[anchor[1] if anchor else "start"] * width
        found.append(Box(text=text, left=left, right=left + width, top=y - ASCENT * size, bottom=y + DESCENT * size))
    return found


def faults(svg: str) -> list[str]:
    """Return a sentence for every two texts over each other and every text that the picture's edge cuts off."""
    width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups())
    found = boxes(svg)
    said = [f"{a.text!r} lies over {b.text!r}" for a, b in itertools.combinations(found, 2) if a.meets(b)]
    out = [b for b in found if b.left < 0 or b.top < 0 or b.right > width or b.bottom > height]
    return said + [f"{b.text!r} is cut off at the edge" for b in out]
