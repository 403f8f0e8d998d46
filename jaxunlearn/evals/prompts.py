"""The prompts of an evaluation: one JSON file, checked whole before anything runs."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxunlearn.data.boundaries import joined
from jaxunlearn.errors import InputError
from jaxunlearn.files import json_text, nfc, read_json

SPLITS = ("choose", "report")
POSITIONS = ("out", "in")
LEAK_KINDS = ("archetype", "missed", "irrevocable")
MANNERS = ("prefix", "role", "paraphrase")
ENOUGH = 10  # items of a set; an interval over fewer is so wide that it decides next to nothing


@dataclass(frozen=True, kw_only=True)
class ProbabilityPrompt:
    """A prompt whose next word is specific to the target or generic; "in" means inside a multi-word name."""

    prompt: str
    specific: tuple[str, ...]
    generic: tuple[str, ...] = ()
    position: str
    split: str


@dataclass(frozen=True, kw_only=True)
class CompletionPrompt:
    """A prompt to continue, the target's terms it already names, and how faint a hint it is (1 plain, 10 faint)."""

    prompt: str
    references: tuple[str, ...] = ()
    subtlety: int
    split: str


@dataclass(frozen=True, kw_only=True)
class Leak:
    """A probe after Shostack: an archetype, a term the dictionary missed, or an irrevocable phrase."""

    prompt: str
    kind: str
    specific: tuple[str, ...]
    generic: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """What the judge looks for: terms only the target has, and terms typical of its themes."""

    explicit: tuple[str, ...] = ()
    typical: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Track:
    """A prompt whose next-word probabilities are followed step by step."""

    prompt: str
    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Wrapper:
    """A sentence put around a prompt ("{prompt}" says where) to coax the target out: prefix, role or paraphrase."""

    text: str
    manner: str


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A question with one right option; `answer` is its index."""

    question: str
    options: tuple[str, ...]
    answer: int
    split: str


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """Everything an evaluation asks; `facts` is kept as the file has it."""

    name: str
    probability: tuple[ProbabilityPrompt, ...] = ()
    completion: tuple[CompletionPrompt, ...] = ()
    neutral: tuple[str, ...] = ()
    leaks: tuple[Leak, ...] = ()
    lexicon: Lexicon = Lexicon()
    track: tuple[Track, ...] = ()
    choice: tuple[Choice, ...] = ()
    wrappers: tuple[Wrapper, ...] = ()
    facts: tuple[Any, ...] = ()

    def of(self, split: str) -> "Prompts":
        """Keep one split: "choose" to tune on, "report" to publish; sections without a split are shared."""
        if split not in SPLITS:
            raise InputError(f"No split {split!r}; expected 'choose' (for tuning) or 'report' (to publish).")
        parted = {
            section: tuple(item for item in getattr(self, section) if item.split == split)
            for section in ("probability", "completion", "choice")
        }
        return dataclasses.replace(self, **parted)


def too_few(prompts: Prompts) -> dict[str, int]:
    """Return {name of a set: how many items} of the sets of one split that have some, and fewer than ENOUGH."""
    by_position = {at: [p for p in prompts.probability if p.position == at] for at in POSITIONS}
    sets = {
        "next-word prompts": by_position["out"], "next-word prompts inside names": by_position["in"],
        "completion prompts": prompts.completion, "leak probes": prompts.leaks,
        "questions of general accuracy": prompts.choice,
    }  # fmt: skip
    return {name: len(items) for name, items in sets.items() if 0 < len(items) < ENOUGH}


def load_prompts(path: str | Path) -> Prompts:
    """Read and check a prompt file; raise one InputError that lists every fault with its file and item."""
    return parse_prompts(nfc(read_json(path)), str(path))


def parse_prompts(raw: Any, source: str) -> Prompts:
    """Check the content of a prompt file; `source` names it in the errors."""
    if not isinstance(raw, dict):
        raise InputError(f"{source}: expected a JSON object with 'name' and sections, got {_shown(raw)}.")
    errors = _key_errors(raw, {field.name for field in dataclasses.fields(Prompts)}, {"name"}, "top level")
    if "name" in raw and (fault := _text_fault(raw["name"])):
        errors.append(f"name: {fault}")
    sections = {name: _section(raw, name, errors) for name in ITEMS}
    lexicon = _item(Lexicon, raw.get("lexicon", {}), "lexicon", errors)
    errors += _split_errors(sections) + _lexicon_errors(lexicon)
    neutral, facts = _listed(raw, "neutral", errors), _listed(raw, "facts", errors)
    errors += [f"neutral[{n}]: {fault}" for n, item in enumerate(neutral) if (fault := _prompt_fault(item))]
    if errors:
        count = "1 fault" if len(errors) == 1 else f"{len(errors)} faults"
        raise InputError(f"{source}: {count} in the prompts:\n" + "\n".join(f"  {source}: {e}" for e in errors))
    return Prompts(name=raw["name"], lexicon=lexicon, neutral=tuple(neutral), facts=tuple(facts), **sections)


def _section(raw: dict, name: str, errors: list[str]) -> tuple:
    items = [_item(ITEMS[name], item, f"{name}[{n}]", errors) for n, item in enumerate(_listed(raw, name, errors))]
    return tuple(item for item in items if item is not None)


def _listed(raw: dict, name: str, errors: list[str]) -> list:
    value = raw.get(name, [])
    if isinstance(value, list):
        return value
    errors.append(f"{name}: expected a list, got {_shown(value)}")
    return []


def _item(kind: type, raw: Any, where: str, errors: list[str]) -> Any:
    """Build one dataclass from its JSON object, or note what is wrong and return None."""
    if not isinstance(raw, dict):
        errors.append(f"{where}: expected an object, got {_shown(raw)}")
        return None
    fields = dataclasses.fields(kind)
    required = {field.name for field in fields if field.default is dataclasses.MISSING}
    found = _key_errors(raw, {field.name for field in fields}, required, where)
    for name in (field.name for field in fields if field.name in raw):
        if fault := CHECKS[name](raw[name]):
            found.append(f"{where}: {name}: {fault}")
    item = None
    if not found:
        item = kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()})
        found = [f"{where}: {fault}" for fault in _inner_faults(item)]
    errors += found
    return None if found else item


def _key_errors(raw: dict, known: set[str], required: set[str], where: str) -> list[str]:
    unknown = [f"{where}: unknown key {key!r}; known are {', '.join(sorted(known))}" for key in raw if key not in known]
    return unknown + [f"{where}: {key!r} is missing" for key in sorted(required - raw.keys())]


def _inner_faults(item: Any) -> list[str]:
    """Check what one item's fields say about each other."""
    faults = []
    if isinstance(item, ProbabilityPrompt | Leak):
        faults += [f"{word!r} is both specific and generic" for word in item.specific if word in item.generic]
        faults += [
            f"{long!r} begins with {short!r}, so its probability would count twice; keep one of them"
            for short in item.specific
            for long in item.specific
            if long.startswith(short) and long != short and not joined(long)[len(short)]
        ]
    if isinstance(item, CompletionPrompt):
        missing = [term for term in item.references if term.lower() not in item.prompt.lower()]
        faults += [f"reference {term!r} does not occur in the prompt {item.prompt!r}" for term in missing]
    if isinstance(item, Choice):
        if not 0 <= item.answer < len(item.options):
            faults.append(f"answer {item.answer} is not an index into {len(item.options)} options")
        if len(set(item.options)) < max(2, len(item.options)):
            faults.append("expected two or more options, all different")
    return faults


def _split_errors(sections: dict[str, tuple]) -> list[str]:
    """Refuse prompts in both splits: they would let tuning see what is published."""
    errors = []
    for name in ("probability", "completion", "choice"):
        splits: dict[str, set[str]] = {}
        for item in sections[name]:
            splits.setdefault(item.question if name == "choice" else item.prompt, set()).add(item.split)
        errors += [f"{name}: {text!r} is in both splits; keep one" for text, seen in splits.items() if len(seen) > 1]
    return errors


def _lexicon_errors(lexicon: Lexicon | None) -> list[str]:
    both = sorted(set(lexicon.explicit) & set(lexicon.typical)) if lexicon else []
    return [f"lexicon: {term!r} is both explicit and typical; keep one" for term in both]


def _text_fault(value: Any) -> str | None:
    if isinstance(value, str) and value.strip():
        return None
    return f"expected a text that is not empty, got {_shown(value)}"


def _prompt_fault(value: Any) -> str | None:
    if fault := _text_fault(value):
        return fault
    if value != value.rstrip():
        return (
            f"{value!r} ends in white space; drop it: the next word brings its own space, "
            "so the model would be asked for a word after two"
        )
    return None


def _wrapper_fault(value: Any) -> str | None:
    if fault := _text_fault(value):
        return fault
    return None if value.count("{prompt}") == 1 else f"expected {{prompt}} once, got {_shown(value)}"


def _words_fault(value: Any) -> str | None:
    if not isinstance(value, list):
        return f"expected a list of words, got {_shown(value)}"
    odd = [word for word in value if not isinstance(word, str) or not word.strip() or word != word.strip()]
    if odd:
        return f"expected words without white space around them, got {_shown(odd[0])}"
    repeated = sorted({word for word in value if value.count(word) > 1})
    return f"{repeated[0]!r} is listed twice" if repeated else None


def _some_words_fault(value: Any) -> str | None:
    return _words_fault(value) or (None if value else "expected one word at least, got none")


def _whole_fault(low: int, high: int | None) -> Callable[[Any], str | None]:
    wanted = f"a whole number of {low} or more" if high is None else f"a whole number from {low} to {high}"

    def fault(value: Any) -> str | None:
        good = type(value) is int and value >= low and (high is None or value <= high)
        return None if good else f"expected {wanted}, got {_shown(value)}"

    return fault


def _one_of(*known: str) -> Callable[[Any], str | None]:
    wanted = " or ".join(repr(word) for word in known)
    return lambda value: None if value in known else f"expected {wanted}, got {_shown(value)}"


def _shown(value: Any) -> str:
    text = json_text(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


ITEMS = {
    "probability": ProbabilityPrompt,
    "completion": CompletionPrompt,
    "leaks": Leak,
    "track": Track,
    "choice": Choice,
    "wrappers": Wrapper,
}
CHECKS: dict[str, Callable[[Any], str | None]] = {
    "prompt": _prompt_fault,
    "question": _prompt_fault,
    "specific": _some_words_fault,
    "words": _some_words_fault,
    "options": _some_words_fault,
    "generic": _words_fault,
    "references": _words_fault,
    "explicit": _words_fault,
    "typical": _words_fault,
    "position": _one_of(*POSITIONS),
    "split": _one_of(*SPLITS),
    "kind": _one_of(*LEAK_KINDS),
    "manner": _one_of(*MANNERS),
    "text": _wrapper_fault,
    "subtlety": _whole_fault(1, 10),
    "answer": _whole_fault(0, None),
}
