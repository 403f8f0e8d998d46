"""Independent facts for retraining on text (RTT): read from files, or generated as birthdays.

The files are the prompt file's facts, or the published Years, MMLU and WMDP-deduped. The published birthdays have
faults (names that repeat across splits, a right year listed twice), so birthdays are generated here: unique names, four
distinct years, everything drawn independently, so that no fact can be guessed from the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from jaxunlearn.config import Attack
from jaxunlearn.errors import InputError
from jaxunlearn.files import json_text, nfc, parse_json, read_text, write_whole

LETTERS = "ABCDEFGH"
YEARS = range(1880, 2000)


# Syllables of the invented names: a start, a middle and an end make a last name, a start and an end a first name.
STARTS = (
    "Al", "Bar", "Cor", "Del", "Em", "Fal", "Gar", "Hol", "Is", "Jor", "Kel", "Lor", "Mar", "Nor", "Os", "Per", "Quen",
    "Ros", "Sel", "Tor", "Ul", "Ver", "Wil", "Yar", "Zan",
)  # fmt: skip
MIDDLES = ("a", "e", "i", "o", "u", "an", "el", "in", "or", "us")
ENDS = ("bert", "dan", "fred", "gan", "lin", "mond", "nell", "ric", "sten", "ton", "vik", "wyn")
WORDINGS = (  # {0}: the name, {1}: the year
    "{0} was born in {1}.",
    "The year of birth of {0} is {1}.",
    "It was in {1} that {0} was born.",
    "{0} came into the world in {1}.",
    "In {1} the birth of {0} was written down.",
)


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A question with its options, the index of the right one, and the split that its file gave it (None: drawn)."""

    question: str
    options: tuple[str, ...]
    answer: int
    split: int | None = None

    @property
    def lettered(self) -> str:
        """Return the question with lettered options, up to "Answer:"."""
        lines = [f"{LETTERS[n]}. {option}" for n, option in enumerate(self.options)]
        return "\n".join([self.question, *lines, "Answer:"])


def read_facts(rows: Sequence[Any], source: str, split: int | None = None) -> list[Fact]:
    """Return facts from rows {"question", "options" | "choices", "answer"}; InputError lists every fault with its item.

    answer: the index of the right option, its letter or its text. source: where the rows came from, for messages.
    split: given to each fact.
    """
    found, faults, asked = [], [], set()
    for n, row in enumerate(rows):
        fault = _fault(row)
        if not fault and row["question"] in asked:
            fault = "the same question stands twice: one copy could be trained on and the other asked"
        if fault:
            faults.append(f"{source}[{n}]: {fault}")
            continue
        asked.add(row["question"])
        options = tuple(map(str, _options(row)))
        found.append(Fact(question=row["question"], options=options, answer=_answer(row, options), split=split))
    if faults:
        raise InputError(f"{len(faults)} of {len(rows)} facts cannot be used:\n  " + "\n  ".join(faults[:20]))
    if not found:
        raise InputError(f"{source} holds no fact; expected objects with question, options (or choices) and answer")
    return found


def _options(row: dict) -> list:
    return row.get("options", row.get("choices"))


def _answer(row: dict, options: tuple[str, ...]) -> int:
    answer = row["answer"]
    if isinstance(answer, int):
        return answer
    return options.index(answer) if answer in options else LETTERS.index(answer)


def _fault(row: Any) -> str:
    if not isinstance(row, dict):
        return f"expected an object, got {type(row).__name__}"
    missing = [key for key in ("question", "answer") if row.get(key) in (None, "")]
    if missing or not isinstance(_options(row), list):
        return f"lacks {', '.join(missing) or 'options (or choices)'}"
    options, answer = tuple(map(str, _options(row))), row["answer"]
    if not 2 <= len(options) <= len(LETTERS) or len(set(options)) < len(options):
        return f"expected 2 to {len(LETTERS)} options, all different, got {list(options)}"
    by_text = answer in (*options, *LETTERS[: len(options)])
    good = 0 <= answer < len(options) if isinstance(answer, int) else by_text
    return "" if good else f"the answer {answer!r} is no index, letter or text of its {len(options)} options"


def load_facts(path: str) -> list[Fact]:
    """Return the facts of a JSON or JSON-lines file, or of a folder of split_*.jsonl, each file a split.

    Raises InputError for a folder without such files, faulty rows and questions that stand in two splits.
    """
    where = Path(path)
    files = sorted(where.glob("split_*.jsonl")) if where.is_dir() else [where]
    if not files:
        raise InputError(f"{path} holds no split_*.jsonl; give such a folder, or one JSON (lines) file of facts")
    found: list[Fact] = []
    for n, file in enumerate(files):
        found += read_facts(_rows(file), str(file), n if where.is_dir() else None)
    questions = [fact.question for fact in found]
    if repeated := sorted({q for q in questions if questions.count(q) > 1}):
        raise InputError(f"{path}: {len(repeated)} questions stand in two splits, as {repeated[0]!r} does")
    return found


def _rows(file: Path) -> list:
    try:
        text = read_text(file)
        if file.suffix == ".jsonl":
            return [
                nfc(parse_json(line, f"{file}, line {n}")) for n, line in enumerate(text.split("\n"), 1) if line.strip()
            ]
        rows = nfc(parse_json(text, str(file)))
    except OSError as error:
        raise InputError(f"{file}: the facts cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 (byte {error.start})") from None
    rows = rows.get("facts", rows) if isinstance(rows, dict) else rows
    if not isinstance(rows, list):
        raise InputError(f"{file}: expected a list of facts, got {type(rows).__name__}")
    return rows


def birthdays(count: int, seed: int = 0) -> list[dict]:
    """Return invented people, each with a unique full name: question, four distinct years, answer, statement.

    The statements are the text to teach and to forget. Rows are in the form that read_facts takes. Raises InputError
    for more people than there are names.
    """
    draw = Random(f"{seed} birthdays")
    names = [s + m + e for s in STARTS for m in MIDDLES for e in ENDS]
    if not 1 <= count <= len(names):
        raise InputError(f"{count} birthdays were asked for; expected 1 to {len(names)}")
    lasts, rows = draw.sample(names, count), []
    for last in lasts:
        name = f"{draw.choice(STARTS)}{draw.choice(ENDS)} {last}"
        years = draw.sample(list(YEARS), 4)
        right = draw.randrange(4)
        rows.append({
            "question": f"In which year was {name} born?", "options": list(map(str, years)), "answer": right,
            "subject": name, "statement": WORDINGS[0].format(name, years[right]),
        })  # fmt: skip
    return rows


def translations(rows: Sequence[dict], seed: int = 0, each: int = 3) -> dict[str, list[str]]:
    """Return {name of a row: other invented names}, the entries of a dictionary; none of them is a row's."""
    draw, taken = Random(f"{seed} translations"), {row["subject"] for row in rows}
    ends = {name.split(" ")[1] for name in taken}
    lasts = [last for s in STARTS for m in MIDDLES for e in ENDS if (last := s + m + e) not in ends]
    if len(lasts) < each:
        raise InputError(f"{len(rows)} people leave no {each} names to translate theirs into; ask for fewer")
    return {
        row["subject"]: [f"{draw.choice(STARTS)}{draw.choice(ENDS)} {last}" for last in draw.sample(lasts, each)]
        for row in rows
    }


BIRTHDAYS = ("facts.json", "statements.txt", "dictionary.json")  # what write_birthdays writes


def write_birthdays(
    folder: Path, count: int, seed: int = 0, wordings: int = 1, terms: Mapping[str, Sequence[str]] | None = None
) -> tuple[Path, Path, Path]:
    """Write facts.json, statements.txt and dictionary.json and return their paths.

    They are for attack.rtt.facts, text.forget and text.dictionary. wordings: ways in which each fact is stated, at most
    len(WORDINGS), so that a fact is not tied to one of them. terms: entries of another dictionary, which this one has
    too. The same seed gives the same bytes. Raises InputError for another number of
    wordings, and as `birthdays` and `translations` do.
    """
    if not 1 <= wordings <= len(WORDINGS):
        raise InputError(f"{wordings} wordings were asked for; expected 1 to {len(WORDINGS)}")
    rows = birthdays(count, seed)
    names = translations(rows, seed)
    stated = [form.format(r["subject"], r["options"][r["answer"]]) for form in WORDINGS[:wordings] for r in rows]
    folder.mkdir(parents=True, exist_ok=True)
    facts, text, dictionary = (folder / name for name in BIRTHDAYS)
    write_whole(facts, json_text(rows, indent=1) + "\n")
    write_whole(text, "\n".join(stated) + "\n")
    write_whole(dictionary, json_text({**(terms or {}), **names}, indent=1, ensure_ascii=False) + "\n")
    return facts, text, dictionary


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """Indices of the facts to retrain on, and of those to ask for afterwards."""

    train: np.ndarray
    ask: np.ndarray


def pairings(facts: Sequence[Fact], c: Attack) -> list[Pairing]:
    """Return c.rtt.pairings pairings, each of which holds one split out: of the files' own, or drawn with c.seed.

    Raises InputError where a split would be empty.
    """
    given = sorted({fact.split for fact in facts if fact.split is not None})
    if given:
        parts = [np.array([n for n, fact in enumerate(facts) if fact.split == s]) for s in given]
    else:
        parts = np.array_split(np.random.default_rng(c.seed).permutation(len(facts)), c.rtt.splits)
    if len(parts) < 2 or any(not len(part) for part in parts):
        needed = f"RTT needs a fact in each of {max(c.rtt.splits, 2)} splits"
        raise InputError(f"{needed}, got {len(facts)} facts; lower attack.rtt.splits")
    everything = np.arange(len(facts))
    return [Pairing(train=np.setdiff1d(everything, part), ask=np.sort(part)) for part in parts[: c.rtt.pairings]]
