"""A labelled block, as a table in the terminal and as one self-contained page.

The page shows the text tinted by how far its labels depart from it, as the paper's figures do. Both take what
stages.inspect.show_labels returns.
"""

import io
import itertools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxunlearn.errors import InputError
from jaxunlearn.files import write_whole
from jaxunlearn.report.templates import environment

FURTHEST = 8.0  # nats at which the tint saturates
WIDE = 190  # columns of a terminal from which all top tokens fit
WHY = {  # a position's reason: the mark it leaves in the text, and what it means
    "inside an anchor": ("i", "inside a name; only its last token has a counterpart in the translation"),
    "asked": ("q", "part of a question, which is given and not trained; or after the end of an answer"),
    "repeated anchor": ("r", "a name comes again in this block; its label would contradict the text"),
    "unaligned": ("u", "no token of the translation ends where this token ends"),
    "cut off": ("c", "past the longest translation that fits the model's context"),
    "padding": ("", "the text ends before"),
    "held out": ("", "labelled to measure on; no step trains on this block"),
    "trained": ("", "trained"),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One position: its token, the token that follows it in the text, and the label that is trained instead."""

    t: int
    token: str
    counterpart: str  # in the translation; empty where there is none
    follows: str | None
    label: str | None
    reason: str
    top: dict[str, list]  # {"baseline": [[token, probability], ...], ...}; empty where the models were not asked
    departure: float | None

    @property
    def mark(self) -> str:
        """The letter that the reason leaves in the text; "" where it leaves none."""
        return WHY[self.reason][0]

    @property
    def why(self) -> str:
        """The reason, explained."""
        return WHY[self.reason][1]

    @property
    def nats(self) -> str:
        """The departure as text; "" where it is not known."""
        return "" if self.departure is None else f"{self.departure:.1f}"

    @property
    def other(self) -> bool:
        """Whether the label is another token than the text's; False at the end of the block, where that is unknown."""
        return self.label is not None and self.follows is not None and self.label != self.follows

    @property
    def tint(self) -> float | None:
        """How strongly to tint what follows, 0 to 1; None: untrained. Without the models, 0.5 for every other label."""
        if self.label is None:
            return None
        return self.other / 2 if self.departure is None else self.departure / FURTHEST


def rows_of(shown: dict[str, Any]) -> list[Row]:
    """Return a row for each position of a block."""
    nothing = [None] * len(shown["tokens"])
    top, departure = shown.get("top", nothing), shown.get("departure", nothing)
    return [
        Row(
            t=t,
            token=token,
            counterpart=shown["translation"][shown["map"][t]] if shown["map"][t] >= 0 else "",
            follows=shown["tokens"][t + 1] if t + 1 < len(shown["tokens"]) else None,
            label=shown["label_tokens"][t],
            reason=shown["reason"][t],
            top=top[t] or {},
            departure=departure[t],
        )
        for t, token in enumerate(shown["tokens"])
    ]


def visible(piece: str) -> str:
    """Return a token with its line breaks and control characters escaped."""
    return repr(piece)[1:-1]


def share(p: float) -> str:
    """Return a probability in at most four characters."""
    return "<.01" if p < 0.01 else f"{p:.2f}".removeprefix("0")


def heading(shown: dict[str, Any]) -> str:
    """Return the title: the run, the block and alpha."""
    held = ", held out" if shown["held_out"] else ""
    return f"{shown['title']}: block {shown['block']} (0 to {shown['blocks'] - 1}){held}, alpha {shown['alpha']:g}"


# ---- in a terminal ---------------------------------------------------------------------------------------------------


def print_table(shown: dict[str, Any], console=None) -> None:
    """Print a row per position: coloured on a terminal; elsewhere plain, unwrapped and with all top tokens."""
    from rich.console import Console

    console = console or Console()
    if console.is_terminal:
        console.print(_table(shown, 3 if console.width >= WIDE else 1))
        console.print("\n".join(shown["notes"]), markup=False, end="\n" if shown["notes"] else "")
        return
    text = io.StringIO()
    Console(file=text, width=1000, color_system=None).print(_table(shown, 3))
    lines = [*text.getvalue().splitlines(), *shown["notes"]]
    print("\n".join(line.rstrip() for line in lines), file=console.file)


def _table(shown: dict[str, Any], likeliest: int):
    from rich.table import Table
    from rich.text import Text

    names = ("baseline", "reinforced", "generic") if "top" in shown else ()
    table = Table(box=None, title=Text(heading(shown)), title_justify="left", pad_edge=False)
    for head in ("", "token", "translation", *names, "label of what follows", "departs", "not trained because"):
        table.add_column(head, justify="right" if head in ("", "departs") else "left")
    for row in rows_of(shown):
        counterpart = Text(visible(row.counterpart), "cyan" if row.counterpart != row.token else "")
        tops = ["  ".join(f"{visible(token)} {share(p)}" for token, p in row.top[n][:likeliest]) for n in names]
        label = Text("-" if row.label is None else visible(row.label), _heat(row))
        cells = [Text(visible(row.token)), counterpart, *map(Text, tops), label, row.nats]
        reason = "" if row.reason == "trained" else row.reason
        table.add_row(str(row.t), *cells, reason, style="dim" if row.label is None else "")
    return table


def _heat(row: Row) -> str:
    """Return the style of a label: none where it is the text's token, else yellow, red from half of the scale on."""
    far = row.departure is not None and row.departure >= FURTHEST / 2
    return ("bold red" if far else "bold yellow") if row.other else ""


# ---- as a page -------------------------------------------------------------------------------------------------------


def write_page(shown: dict[str, Any], path: Path) -> None:
    """Write the page; raises InputError where the file cannot be written."""
    try:
        write_whole(path, page(shown))
    except OSError as error:
        raise InputError(f"cannot write {path} ({error.strerror}); give a file in a folder that exists") from error


def page(shown: dict[str, Any]) -> str:
    """Return the block as one HTML page that needs no network and runs no script."""
    pages = environment()
    pages.filters |= {"visible": visible, "share": share}
    rows, counts = rows_of(shown), Counter(shown["reason"])
    return pages.get_template("labels.html.j2").render(
        shown=shown,
        heading=heading(shown),
        groups=groups(shown, rows),
        rows=rows,
        marks=[(mark, name, why, counts[name]) for name, (mark, why) in WHY.items() if mark and counts[name]],
        labelled=sum(row.label is not None for row in rows),
        other=sum(row.other for row in rows),
        furthest=FURTHEST,
    )


def groups(shown: dict[str, Any], rows: list[Row]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the running text as groups (translation to show above, its tokens): one per anchor, "" between anchors.

    Each token carries what is trained on it: the label and the reason of the position before it.
    """
    tokens = [_worn(text, rows, t) for t, text in enumerate(shown["text"])]
    found, free = [], 0
    for anchor in shown["anchors"]:
        first, stop = max(anchor["first"], free), anchor["last"] + 1
        if first < stop:
            found += [("", tokens[free:first]), (anchor["translation"], tokens[first:stop])]
            free = stop
        else:  # its only token is the last one of the anchor before
            found[-1] = f"{found[-1][0]} {anchor['translation']}", found[-1][1]
    found = [(above, inner) for above, inner in [*found, ("", tokens[free:])] if inner]
    for _, inner in found:  # a run of equal marks shows one
        for this, after in itertools.pairwise(inner):
            if this["mark"] == after["mark"]:
                this["mark"] = ""
    return found


def _worn(text: str, rows: list[Row], t: int) -> dict[str, Any]:
    """Split a token's text into space before, core and space after; a token of space alone becomes a sign."""
    row, core = rows[t - 1] if t else None, text.strip()
    worn = {"row": row, "mark": row.mark if row else "", "before": "", "after": text if "\n" in text else ""}
    if not core:
        return worn | {"core": "↵" if "\n" in text else "␣" if text else "·", "sign": True}
    before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    return worn | {"before": before, "core": core, "after": after, "sign": t == 0 and text == rows[0].token}
