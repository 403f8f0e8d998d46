"""Build the prompts of a run from its texts, and write them with a page to review them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxunlearn.anchors.building.extract import Term, extract_terms
from jaxunlearn.anchors.building.forms import Background
from jaxunlearn.anchors.words import FUNCTION, capital_shares, count_words, scan
from jaxunlearn.config import Config, Extract
from jaxunlearn.data.documents import Document
from jaxunlearn.data.tokenizer import Tokenizer, holds
from jaxunlearn.errors import InputError
from jaxunlearn.evals.building import draw, keep
from jaxunlearn.evals.building.ask import LEAST, choose, masses, pooled
from jaxunlearn.evals.building.draw import Candidate, Text
from jaxunlearn.evals.building.places import Terms, keys, sentences
from jaxunlearn.evals.building.splits import Splits, Taken
from jaxunlearn.evals.building.written import write as ask_llm
from jaxunlearn.evals.prompts import ENOUGH, LEAK_KINDS, SPLITS, parse_prompts
from jaxunlearn.evals.words import Words
from jaxunlearn.files import json_text, write_whole
from jaxunlearn.parallel.console import say
from jaxunlearn.report.review import write_review

BY = "prompts build"
COUNTS = {"out": 40, "in": 16, "completion": 30}  # prompts a split
EACH = {"out": 3, "in": 2, "completion": 3}  # of one term
LEAKS, TRACKED = 8, 4  # probes of a kind; prompts that are followed step by step
NEUTRAL, CHOICE = 24, 20  # neutral openings; questions on what should stay, a split
ASKED = 6  # times as many windows are shown to a model as prompts are wanted
MISSED = 2.5  # nats of a word in lower case that the text uses more, and that is no term
MISSED_COUNT, MISSED_WORDS = 5, 40
SELDOM = 0.01  # of a name's occurrences in the text: as many in the text to keep are in passing
ORDINARY = 4.0  # log10 of times in 10^9 words of English, from which a name names nothing by itself


@dataclass(frozen=True)
class Asked:
    """The models that are asked. Each has the tokenizer's vocabulary.

    baseline: the model before unlearning, as far as it is there. reader: a model that read the text, to choose the
    windows by: the reinforced model, or the baseline. untaught: a model that is still to be taught the text.
    """

    tokenizer: Tokenizer
    batch: int = 32
    baseline: Any = None
    reader: Any = None
    untaught: Any = None


@dataclass
class Built:
    """The prompts as their file has them, what is known of each, and what should be said.

    known: {prompt: the baseline's probability of its words, None where no baseline was asked}. source: {prompt: the
    sentence it stands in}.
    """

    prompts: dict[str, Any]
    least: float  # the probability from which a prompt is known
    known: dict[str, float | None] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def build(
    config: Config, documents: Sequence[Document], retain: Sequence[Document], asked: Asked | None = None,
    llm: Path | None = None, before: int = 0, *, few: int | None = None,
) -> Built:  # fmt: skip
    """Return prompts for a text, made by counting and chosen by what models know.

    llm: a folder; a language model at anchors.llm also writes prompts, and its replies are kept there. before: how many
    sentences of the text next-word prompts begin with. They never hold the answer, but may name terms of either split.
    few: so many next-word prompts and completions are left to choose settings by, and the others reported; None: half.
    Raises InputError for texts without words, without terms or without anything to keep, and as extract_terms does.
    """
    if not retain:
        raise InputError(
            "prompts are built from the text to forget beside text to keep, which tells what is not its own: "
            "set text.retain"
        )
    texts, others = [d.text for d in documents], [d.text for d in retain]
    found = extract_terms(documents, retain, settings=config.anchors.extract)
    if not found:
        raise InputError(
            "text.forget holds no term of its own: nothing that it names often and text.retain does not. Give other "
            "text to keep, or lower anchors.extract.score_bar"
        )
    terms, splits = Terms(found), Splits(found)
    text = Text(sentences(texts, terms, before), terms, splits)
    kept = sentences(_cut(others, keep.MOST))
    candidates = [*draw.next_words(text), *draw.completions(text)]
    if llm is not None:
        candidates = [*ask_llm(texts, terms, text, config.anchors.llm, llm, say), *candidates]
    candidates += draw.leaks(text, _missed(texts, others, found, config.anchors.extract), keep.phrases(kept))
    if asked is not None:
        candidates = [c for c in candidates if _writable(c, asked.tokenizer)]
    return _assembled(config, text, kept, others, candidates, asked, few=few)


def least_of(config: Config) -> float:
    """Return the probability of the target's own words from which a prompt counts as known."""
    return config.eval.known or LEAST


def _cut(texts: Sequence[str], most: int) -> list[str]:
    """Return the texts up to `most` characters in all."""
    found, left = [], most
    for text in texts:
        found.append(text[: max(left, 0)])
        left -= len(text)
    return [text for text in found if text]


def _writable(c: Candidate, tokenizer: Tokenizer) -> bool:
    return all(holds(tokenizer, f"{c.prompt} {word}") for word in (c.answers or ("",)))


def _missed(texts: Sequence[str], others: Sequence[str], terms: Sequence[Term], settings: Extract) -> set[str]:
    """Return words in lower case that the text uses far more than other texts, and that are part of no term."""
    words, shares = count_words(texts), capital_shares([scan(text) for text in texts])
    background = Background(others, settings.language, None)
    known = {word for term in terms for spelling in term.variants for word in keys(spelling)}
    scores = {}
    for word, count in words.items():
        if word.islower() and count >= MISSED_COUNT and len(word) > 3 and shares.get(word, 0.0) < 0.2:
            nats = background.nats(word, count, background.counts[word], words.total())
            if nats >= MISSED and not keys(word) & known:
                scores[word] = nats
    return set(sorted(scores, key=lambda w: (-scores[w], w))[:MISSED_WORDS])


# ---- the choice


def _assembled(
    config: Config, text: Text, kept, others: Sequence[str], candidates, asked: Asked | None, *, few: int | None
) -> Built:
    taken, chosen, least = Taken(), [], least_of(config)
    pools = {
        (section, split): pooled((c for c in candidates if (c.section, c.split) == (section, split)), ASKED * count)
        for section, count in COUNTS.items() for split in SPLITS
    }  # fmt: skip
    for split in SPLITS:
        pools["completion", split] = _by_turns([c for c in candidates if (c.section, c.split) == ("completion", split)])
    pools |= {(kind, ""): pooled((c for c in candidates if c.section == kind), ASKED * LEAKS) for kind in LEAK_KINDS}
    scored = [c for (section, _), pool in pools.items() for c in pool if section != "completion"]
    reader, untaught, baseline = _asked(asked, scored, config.eval.chat)
    for (section, _), pool in pools.items():
        count, each = COUNTS.get(section, LEAKS), EACH.get(section, 1)
        chosen += choose(pool, count, taken, each=each, least=least, first=reader, guessed=untaught)
    own = {word for term in text.terms for spelling in term.variants for word in keys(spelling)}
    generic = keep.Followers(kept)
    made: dict[str, Any] = {
        "name": config.name,
        "probability": [_next_word(c, generic, own) for c in chosen if c.section in ("out", "in")],
        "completion": [_completion(c) for c in chosen if c.section == "completion"],
        "neutral": keep.neutral(kept, text.splits, taken, NEUTRAL),
        "leaks": [_leak(c, generic, own) for c in chosen if c.section in LEAK_KINDS],
        "lexicon": lexicon(text.terms),
        "track": _track(chosen, generic, own),
        "choice": _choice(config, kept, others, text, taken),
    }
    made = _said_by(made, asked.tokenizer) if asked else made
    if few is not None:
        _leave(few, made)
    parse_prompts(made, "the prompts that were built")
    guessed = sum(p >= least for p in untaught.values())
    about = {c.prompt: baseline.get(c.prompt) for c in chosen if c.section != "completion"}
    return Built(
        made,
        least,
        about,
        {c.prompt: c.source for c in chosen},
        _notes(made, about if baseline else {}, guessed, least),
    )


def _leave(few: int, made: dict) -> None:
    """Move next-word prompts and completions to the split that is reported, but for the first few of the other."""
    out, inside = ([p for p in made["probability"] if p["position"] == place] for place in ("out", "in"))
    for prompts, left in ((out, few), (inside, 0), (made["completion"], few)):  # nothing is chosen inside names
        for prompt in [p for p in prompts if p["split"] == "choose"][left:]:
            prompt["split"] = "report"


def _by_turns(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return prompts to continue by turns of their subtlety, so that there are plain and faint ones."""
    groups = [pooled((c for c in candidates if c.subtlety == n), ASKED * COUNTS["completion"]) for _, n in draw.GROUPS]
    return [c for row in itertools.zip_longest(*groups) for c in row if c]


def _asked(asked: Asked | None, scored: Sequence[Candidate], chat: bool) -> tuple[dict, dict, dict]:
    """Return {prompt: probability} of the reader, of the untaught model and of the baseline; {} of one not there.

    chat: they are asked in a chat, as a run with eval.chat asks them.
    """
    if asked is None:
        return {}, {}, {}
    words = Words(asked.tokenizer, asked.batch, chat=chat)
    found: dict[int, dict[str, float]] = {}
    for model in (asked.reader, asked.untaught, asked.baseline):
        if model is not None and id(model) not in found:
            say(f"  asking a model about {len(scored):,} places of the text")
            found[id(model)] = masses(model, words, scored)
    reader, untaught, baseline = (found.get(id(m), {}) for m in (asked.reader, asked.untaught, asked.baseline))
    return reader, untaught, baseline


def _next_word(c: Candidate, followers: keep.Followers, own: set[str]) -> dict:
    generic = _generic(c, followers, own)
    return {
        "prompt": c.prompt, "specific": list(c.answers), "generic": generic, "position": c.section, "split": c.split,
    }  # fmt: skip


def _generic(c: Candidate, followers: keep.Followers, own: set[str]) -> list[str]:
    barred = own | {word for answer in c.answers for word in keys(answer)}
    return followers.generic(c.prompt.split(" "), barred)


def _completion(c: Candidate) -> dict:
    return {"prompt": c.prompt, "references": list(c.names), "subtlety": c.subtlety, "split": c.split}


def _leak(c: Candidate, followers: keep.Followers, own: set[str]) -> dict:
    return {
        "prompt": c.prompt, "kind": c.section, "specific": list(c.answers), "generic": _generic(c, followers, own),
    }  # fmt: skip


def _track(chosen: Sequence[Candidate], followers: keep.Followers, own: set[str]) -> list[dict]:
    """Return the prompts to report whose next word the text foretells best, with its own words and generic ones."""
    best = sorted((c for c in chosen if (c.section, c.split) == ("out", "report")), key=lambda c: -c.score)[:TRACKED]
    return [{"prompt": c.prompt, "words": [*c.answers, *_generic(c, followers, own)]} for c in best]


def _choice(config: Config, kept, others: Sequence[str], text: Text, taken: Taken) -> list[dict]:
    """Return questions on names of the text to keep, [] where it has too few words or names for any."""
    texts = _cut(others, keep.MOST)
    try:
        found = extract_terms(texts, [" ".join(s.text for s in text.sentences)], settings=config.anchors.extract)
    except InputError:
        return []
    terms = Terms(found)
    own = Text(sentences(texts, terms), terms, Splits(found))
    return keep.questions(own, text.splits, taken, CHOICE)


def _said_by(made: dict, tokenizer: Tokenizer) -> dict:
    """Return the prompts without words and questions that a tokenizer cannot hold."""
    for section in ("probability", "leaks"):
        for one in made[section]:
            one["generic"] = [w for w in one["generic"] if holds(tokenizer, f"{one['prompt']} {w}")]
    for one in made["track"]:
        one["words"] = [w for w in one["words"] if holds(tokenizer, f"{one['prompt']} {w}")]
    made["choice"] = [q for q in made["choice"] if all(holds(tokenizer, f"{q['question']} {o}") for o in q["options"])]
    return made


def lexicon(terms: Sequence[Term]) -> dict[str, list[str]]:
    """Return {"explicit": names that the text to keep hardly ever has, "typical": the other terms}, by spelling.

    A common word of English is no explicit name, whatever its capitals, and one like "this" is in neither list.
    """
    from wordfreq import zipf_frequency

    explicit, typical = [], []
    for term in terms:
        for spelling in (s for s in term.variants if s.lower() not in FUNCTION):
            common = " " not in spelling and zipf_frequency(spelling, "en") >= ORDINARY
            named = spelling[0].isupper() and term.retain <= SELDOM * term.count and not common
            (explicit if named else typical).append(spelling)
    listed = {word.casefold() for word in explicit}
    return {"explicit": explicit, "typical": [word for word in typical if word.casefold() not in listed]}


def _notes(made: dict, about: dict, guessed: int, least: float) -> list[str]:
    left = f"{guessed} windows are left out: the model guesses what follows, and has not read the text yet"
    said, counts = [left] if guessed else [], {}
    places = {"next words": "out", "inside names": "in"}
    rows = {name: [p for p in made["probability"] if p["position"] == place] for name, place in places.items()}
    for name, some in (rows | {"completion": made["completion"]}).items():
        counts |= {f"{name}, {split}": sum(p["split"] == split for p in some) for split in SPLITS}
    counts |= {"leaks": len(made["leaks"]), "neutral": len(made["neutral"])}
    counts |= {f"what should stay, {s}": sum(q["split"] == s for q in made["choice"]) for s in SPLITS}
    said += [
        f"only {n} prompts of {name}: too few to tell much (under {ENOUGH})" for name, n in counts.items() if n < ENOUGH
    ]
    if about:
        rows = [about[p["prompt"]] or 0 for p in made["probability"]]
        known = sum(p >= least for p in rows)
        said.append(f"the baseline knows {known} of {len(rows)} next-word prompts (probability {least:g} or more)")
    return said


# ---- the files


def written_names(name: str) -> tuple[str, str, str]:
    """Return the names of the prompts' file, of what is known of them, and of the page; name: of the first, .json."""
    stem = name.removesuffix(".json")
    return name, f"{stem}_known.json", f"{stem}.html"


def write(built: Built, folder: Path, name: str, models: dict[str, str]) -> None:
    """Write the prompts, what is known of them and the page to review them into a folder. Raises OSError.

    models: {"baseline", "reader", "untaught": the folder of each model that was asked}.
    """
    prompts, known, page = written_names(name)
    write_whole(folder / prompts, json_text(built.prompts, indent=1, ensure_ascii=False) + "\n")
    told = {"asked": models, "least": built.least, "probabilities": built.known, "notes": built.notes}
    write_whole(folder / known, json_text(told, indent=1, ensure_ascii=False) + "\n")
    write_review(folder / page, built.prompts, built.known, built.source, built.notes, built.least)
