"""A little invented story whose terms, sentences and windows can be counted by hand, and text to keep beside it."""

from jaxunlearn.anchors.building.extract import Term


def term(text, count, kind="person", retain=0, variants=()):
    return Term(text=text, score=9.0, kind=kind, count=count, retain=retain, variants=(text, *variants))


TERMS = [
    term("Zindra Quell", 6),
    term("Vashti Hollow", 5, "place"),
    term("Marrow", 4, variants=("Marrows",)),
    term("wumbler", 3, "object", variants=("wumblers",)),
    term("Quell", 2),
]
STORY = """\
Early in the morning the old woman walked slowly to Vashti Hollow. “Come along,” said Marrow. In a dark corner of the
market they looked for the wumbler and found nothing. When it began to rain the whole company went back to Vashti
Hollow with Marrow. Nobody in that country was as tall and strong as Zindra Quell. Mr. Green gave it to Marrow.

At the end of the summer everybody came to the house of Zindra Quell and danced. The Marrows had sold their broken
wumbler to Marrow. She put her hand in her pocket and there she found the wumbler.
"""
KEEP = " ".join(
    f"Early in the morning {a} walked with {b} to the {c} and saw the river near {d}. So it was that day, and"
    f" {b} was glad to go with {a} once more."
    for a, b, c, d in zip(
        ["Anna", "Peter", "Clara", "Oscar"] * 12, ["Peter", "Clara", "Oscar", "Anna", "Ruth"] * 10,
        ["market", "house", "garden"] * 16, ["Bremen", "Lisbon", "Cadiz", "Toledo", "Verona"] * 10, strict=False,
    )
)  # fmt: skip
