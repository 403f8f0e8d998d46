"""The page's prompt switcher: one prompt and what each model wrote after it, as JSON inside the page."""

import re
from collections.abc import Iterable
from typing import Any

from jaxunlearn.estimates import number, value_of
from jaxunlearn.files import json_text
from jaxunlearn.report.tables import MAIN, ordered

COMPLETIONS, LEAKS = "Prompts that ask for a completion", "Leak probes"


def switcher(report: dict) -> dict[str, Any] | None:
    """Return what the switcher shows; None where the report holds no texts.

    {"models": names, "shown": those shown at first, "groups": [{"title", "items": [{"prompt", "about", "answers": an
    answer or None per model}]}]}. An answer has `said`, the text in parts of which every second one is marked, the
    judge's `grade` or None, and `about`, a text.
    """
    of = {COMPLETIONS: _items(report.get("completions")), LEAKS: _items(report.get("leak_probes"))}
    names = ordered({name: 1 for items in of.values() for item in items for name in item["texts"]})
    if not names:
        return None
    groups = [{"title": title, "items": [_item(item, names) for item in items]} for title, items in of.items() if items]
    return {"models": names, "shown": [name for name in names if name in MAIN] or names, "groups": groups}


def as_script(found: dict[str, Any] | None) -> str:
    """Return JSON that can stand inside a script element: no character of it ends the element; "" for None."""
    if found is None:
        return ""
    return re.sub("[<>&\u2028\u2029]", lambda one: f"\\u{ord(one[0]):04x}", json_text(found))


def parts(text: str, evidence: Iterable[Any]) -> list[str]:
    """Return a text cut at the judge's evidence: every second part, beginning with the second, is evidence."""
    terms = sorted({" ".join(str(term).split()) for term in evidence} - {""}, key=lambda term: (-len(term), term))
    if not terms:
        return [text]
    pattern = "|".join(r"\s+".join(re.escape(word) for word in term.split()) for term in terms)
    return re.split(rf"(?<!\w)({pattern})(?!\w)", text)


def _items(items: Any) -> list[dict]:
    return [item for item in items or () if item and any((item.get("texts") or {}).values())]


def _item(item: dict, names: list[str]) -> dict[str, Any]:
    subtlety = f"subtlety {item['subtlety']} of 10" if item.get("subtlety") is not None else ""
    answers = [_answer(item, name) for name in names]
    return {"prompt": item.get("prompt", ""), "about": subtlety or item.get("kind", ""), "answers": answers}


def _answer(item: dict, name: str) -> dict[str, Any] | None:
    text, p = item["texts"].get(name), value_of((item.get("probability") or {}).get(name))
    if text is None:
        return None
    return {
        "said": parts(text.strip(), (item.get("evidence") or {}).get(name) or ()),
        "grade": (item.get("grades") or {}).get(name),
        "about": "" if p is None else f"probability of the target’s words: {number(p)}",
    }
