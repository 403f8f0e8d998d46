"""Build the dictionary with a language model: it is given passages and returns terms with generic translations.

Source of the procedure: Eldan & Russinovich, arXiv 2310.02238, section on anchored terms. The prompt is our own.
"""

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxunlearn.anchors.dictionary import consolidate
from jaxunlearn.config import Llm
from jaxunlearn.data.documents import Document
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.files import json_text, write_whole
from jaxunlearn.llm.endpoint import Answers, Endpoint, Request, ask
from jaxunlearn.llm.journal import Journal
from jaxunlearn.llm.replies import CHARACTERS_PER_TOKEN, Usage

REPLY_TOKENS = 500  # of a reply, as guessed for the estimate beforehand
SHORTEST_PASSAGE = 200  # characters

PROMPT = """\
You help to make a text anonymous. From a passage of it you collect what gives the text away, so that every such \
expression can be swapped for one that could stand in any other text of its kind.

Collect from the passage:
- names of people, animals, peoples and creatures, families, places, buildings, institutions, objects, spells, dishes, \
games, dates of the text's own calendar;
- words the text invented, and ordinary words it uses with a meaning of its own;
- titles, nicknames, sayings and turns of phrase by which a reader would recognise it.

Leave out ordinary words and expressions, and names from the real world that say nothing about this text.

For each term give one to four alternatives that could replace it in every sentence of the passage:
- of the same kind, number, gender and grammatical form, with the same use of capitals, so that it still reads;
- generic: an everyday name for a name, a plain description for an invention. Never another name, spelling or synonym \
from this text, nor one from another well-known work;
- different terms get different alternatives.

Spell each term exactly as the passage does, without a possessive ending; list a full name and each part of it that is \
used alone as terms of their own. Reply with one JSON object and nothing else:
{"translations": [{"term": "...", "generic": ["...", "..."]}]}
An empty list is right for a passage that gives nothing away."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """What a build wrote and what it used; counts of requests and tokens as in endpoint.Answers.

    absent: terms that stand nowhere in the text, in any case. cost: in the currency of the prices, None without one.
    """

    path: Path
    passages: int
    terms: int
    translations: int
    absent: int
    requests: int
    retries: int
    resumed: int
    malformed: int
    unanswered: int
    prompt_tokens: int
    completion_tokens: int
    estimated: bool
    cost: float | None

    def summary(self) -> str:
        """Return two lines: what was built, and what it used."""
        cost = "" if self.cost is None else f", cost {self.cost:,.2f}"
        tokens = f"{self.prompt_tokens:,} + {self.completion_tokens:,} tokens{' (estimated)' * self.estimated}"
        return (
            f"{self.terms:,} terms with {self.translations:,} translations from {self.passages:,} passages "
            f"({self.absent:,} terms not in the text) in {self.path}\n"
            f"{self.requests:,} requests, {self.retries:,} retries; {self.resumed:,} passages from earlier calls, "
            f"{self.malformed:,} malformed, {self.unanswered:,} unanswered; {tokens} in all calls{cost}"
        )


def build_with_llm(
    documents: Sequence[Document],
    settings: Llm,
    out: Path | str,
    say: Callable[[str], None],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Built:
    """Ask a language model for the terms of random passages and write out/dictionary.json: {term: [translations]}.

    Replies are kept in `out`; a rerun asks only for the missing ones, and with a higher `passages` for the new ones.
    Raises InputError on settings that cannot work and on a refused key, RunError where the endpoint does not answer
    or no reply is usable.
    """
    endpoint = make_endpoint(settings)
    passages = draw_passages([d.text for d in documents], settings)
    requests = [Request(messages=make_messages(p), schema=reply_schema()) for p in passages]
    journal = Journal(out)
    todo = [request for request in requests if not journal.holds(request.key(endpoint))]
    say(f"  {len(passages):,} passages, {len(passages) - len(todo):,} of them settled before; {endpoint.model}")
    say(f"  to ask: {_forecast([request.characters() for request in todo], endpoint)}")
    answers = ask(requests, endpoint, journal, say, sleep)
    dictionary = _merge(answers, journal.folder)
    built = _write(dictionary, [d.text for d in documents], answers, endpoint, journal.folder)
    for line in built.summary().split("\n"):
        say(f"  {line}")
    if built.unanswered:
        say(f"  {built.unanswered:,} passages are missing; the same command asks for them again")
    return built


def make_endpoint(settings: Llm) -> Endpoint:
    """Return the endpoint of the settings, completed from the environment; InputError names every bad setting."""
    wrong = []
    if settings.passages < 0 or settings.passage_characters < SHORTEST_PASSAGE:
        wrong.append(f"passages must be at least 0 and passage_characters at least {SHORTEST_PASSAGE}")
    if settings.price_in < 0 or settings.price_out < 0 or settings.temperature < 0:
        wrong.append("price_in, price_out and temperature must be at least 0")
    if wrong:
        raise InputError("the dictionary cannot be built:\n  " + "\n  ".join(wrong))
    return Endpoint.of(settings).resolved()


# ---- passages


def draw_passages(texts: Sequence[str], settings: Llm) -> list[str]:
    """Return settings.passages random passages of the texts; a higher count gives the same ones first, then more.

    Raises InputError where the texts are empty.
    """
    import numpy as np

    everything = [passage for text in texts for passage in cut_passages(text, settings.passage_characters)]
    if not everything:
        raise InputError("the text to forget is empty; text.forget must name a text with words")
    order = np.random.default_rng(settings.seed).permutation(len(everything))
    return [everything[n] for n in order[: settings.passages or None]]


_ENDS = (  # where a passage may end, the best place first: a paragraph, a sentence, a word
    re.compile(r"\n[ \t]*\n\s*"),
    re.compile(r"[.!?…][\"'”’»)\]]*\s+"),
    re.compile(r"\s+"),
)


def cut_passages(text: str, characters: int) -> list[str]:
    """Cut a text into passages of at most `characters`, each at the last good place of its second half."""
    passages, start = [], 0
    while start < len(text):
        end = len(text) if len(text) - start <= characters else _cut_at(text, start, characters)
        passages.append(text[start:end].strip())
        start = end
    return [passage for passage in passages if passage]


def _cut_at(text: str, start: int, characters: int) -> int:
    for ends in _ENDS:
        # one character more, since the space after a passage is stripped
        places = [match.end() for match in ends.finditer(text, start + characters // 2, start + characters + 1)]
        if places:
            return places[-1]
    return start + characters  # there is no space


def make_messages(passage: str) -> tuple[dict[str, str], ...]:
    """Return the messages that ask the model for the terms of a passage."""
    return ({"role": "system", "content": PROMPT}, {"role": "user", "content": f"The passage:\n\n{passage}"})


# ---- replies


@functools.cache
def reply_schema() -> Any:
    """Return the pydantic model of a reply, {"translations": [{"term", "generic"}]}.

    It also reads the form of the authors' replies: a mapping of terms to one translation or several, bare or under
    `translations`. The model is made on the first call, because importing pydantic is slow.
    """
    from pydantic import BaseModel, ConfigDict, model_validator

    class Entry(BaseModel):
        model_config = ConfigDict(extra="forbid")
        term: str
        generic: list[str]

    class Translations(BaseModel):
        model_config = ConfigDict(extra="forbid")
        translations: list[Entry]

        @model_validator(mode="before")
        @classmethod
        def any_form(cls, given: Any) -> Any:
            return {"translations": _entries(given)}

    return Translations


def _entries(given: Any) -> Any:
    """Return a reply in the schema's form where it has the shape of a dictionary, else as it is."""
    if isinstance(given, dict) and set(given) == {"translations"}:
        given = given["translations"]
    if isinstance(given, dict) and "term" not in given:
        given = [{"term": term, "generic": values} for term, values in given.items()]
    if not isinstance(given, list):
        return given
    return [_entry(e) if isinstance(e, dict) and {"term", "generic"} <= set(e) else e for e in given]


def _entry(entry: dict) -> dict:
    values = entry["generic"]
    return {"term": entry["term"], "generic": [values] if isinstance(values, str) else values}


def _merge(answers: Answers, folder: Path) -> dict[str, tuple[str, ...]]:
    """Merge the replies in the order of the passages, not in the order in which they arrived."""
    usable = [value for value in answers.values if value is not None]
    if not usable:
        again = f"{folder / 'malformed.jsonl'} holds what came instead; delete it to ask again" * bool(
            answers.malformed
        )
        raise RunError(
            f"none of {len(answers.values):,} passages got a usable reply ({answers.fault}). {again}".strip()
        )
    dictionary = consolidate({entry.term: entry.generic} for value in usable for entry in value.translations)
    if not dictionary:
        raise RunError(f"none of {len(usable):,} replies names a term; give a text with names, or another model")
    return dictionary


# ---- what it takes, and the result


def _forecast(characters: list[int], endpoint: Endpoint) -> str:
    usage = Usage(prompt=sum(characters) // CHARACTERS_PER_TOKEN, completion=REPLY_TOKENS * len(characters))
    cost = endpoint.cost(usage)
    price = "" if cost is None else f", cost about {cost:,.2f}"
    return f"{len(characters):,} requests, about {usage.prompt:,} + {usage.completion:,} tokens{price}"


def _write(dictionary: dict, texts: list[str], answers: Answers, endpoint: Endpoint, folder: Path) -> Built:
    path, everything = folder / "dictionary.json", "\n".join(texts).casefold()
    try:
        write_whole(path, json_text(dictionary, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; the replies are kept") from None
    return Built(
        path=path,
        passages=sum(value is not None for value in answers.values),
        terms=len(dictionary),
        translations=sum(map(len, dictionary.values())),
        absent=sum(term.casefold() not in everything for term in dictionary),
        requests=answers.sent,
        retries=answers.retries,
        resumed=answers.resumed,
        malformed=answers.malformed,
        unanswered=answers.unanswered,
        prompt_tokens=answers.usage.prompt,
        completion_tokens=answers.usage.completion,
        estimated=answers.usage.estimated,
        cost=endpoint.cost(answers.usage),
    )
