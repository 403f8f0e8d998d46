"""A page to review prompts that were built: each with its answers, its split, its sentence, and whether it is known.

The page needs no network. What is unticked or edited there goes into a file that it saves: prompts.json.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxunlearn.files import write_whole
from jaxunlearn.report.templates import environment

SECTIONS = {
    "probability": ("Next words", "specific"),
    "completion": ("Completions", "references"),
    "leaks": ("Leak probes", "specific"),
    "choice": ("What should stay", "options"),
    "neutral": ("Neutral openings", ""),
    "track": ("Followed step by step", "words"),
}


def write_review(
    path: Path, prompts: Mapping[str, Any], known: Mapping[str, float | None], source: Mapping[str, str],
    notes: Sequence[str], least: float,
) -> None:  # fmt: skip
    """Write the page of a prompt file's content.

    known: {prompt: the baseline's probability of its words}. source: {prompt: the sentence it was taken from}. notes:
    sentences shown on top. least: the probability from which a prompt counts as known.
    """
    rows = [row for name in SECTIONS for row in _rows(name, prompts.get(name, []), known, source)]
    sections = [
        {"name": name, "title": title, "rows": [row for row in rows if row["section"] == name]}
        for name, (title, _) in SECTIONS.items()
    ]
    page = environment().get_template("review.html.j2").render(
        name=prompts["name"], sections=[s for s in sections if s["rows"]], notes=notes, least=least,
        lexicon=prompts.get("lexicon", {}), prompts=prompts,
    )  # fmt: skip
    write_whole(path, page)


def _rows(name: str, items: Sequence[Any], known: Mapping[str, float | None], source: Mapping[str, str]) -> list[dict]:
    found = []
    for n, item in enumerate(items):
        one: Any = {"prompt": item} if isinstance(item, str) else item
        prompt = one["question" if name == "choice" else "prompt"]
        words = one.get(SECTIONS[name][1], [])
        if name == "choice":
            words = [words[one["answer"]], *(w for k, w in enumerate(words) if k != one["answer"])]
        found.append({
            "section": name, "index": n, "prompt": prompt, "words": words, "split": one.get("split", ""),
            "kind": one.get("kind", "inside a name" if one.get("position") == "in" else ""),
            "known": known.get(prompt), "source": source.get(prompt, ""),
        })  # fmt: skip
    return found
