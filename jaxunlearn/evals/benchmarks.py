"""Multiple-choice benchmarks from local JSON lines or prepared TFDS data: the paper's seven, and any of your own.

Prompts and scores are lm-evaluation-harness's (`acc`, `acc_norm`, no examples in front), without needing it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from jaxunlearn.config import Config, Eval
from jaxunlearn.data.documents import read_rows
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.estimates import Estimate, rate_estimate
from jaxunlearn.evals.base import Context, Figures, Metric
from jaxunlearn.evals.continuations import encode_pair, score_continuations
from jaxunlearn.evals.question_sets import spread
from jaxunlearn.files import parse_json, read_text, sha256_text

PROMPTS = {  # by the beginning of a benchmark's name; the others are asked as they stand
    "arc": "Question: {query}\nAnswer:",
    "piqa": "{query}\nAnswer:",
    "boolq": "{query}\nAnswer:",
    "mmlu": "{query}\nAnswer:",
}


@dataclass(frozen=True, kw_only=True)
class Item:
    """A question: one (context, continuation) an option, and the right option's number."""

    pairs: tuple[tuple[str, str], ...]
    gold: int


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Questions of one kind, in the file's order."""

    name: str
    items: tuple[Item, ...]


def read_benchmarks(sources: Sequence[str], items: int = 0) -> list[Benchmark]:
    """Read files, folders of .jsonl files and `tfds:NAME/SPLIT`, at most `items` questions of each (0: all), spread."""
    found: list[Benchmark] = []
    for source in sources:
        if source.startswith("tfds:"):
            name = source.removeprefix("tfds:").partition("?")[0].rpartition("/")[0].replace("/", "_")
            found.append(_benchmark(name, source, enumerate(read_rows(source), 1)))
            continue
        path = Path(source).expanduser()
        files = _files(path)
        if not files:
            raise InputError(f"the folder {source} holds no .jsonl file with questions")
        found += [_benchmark(file.stem, str(file), _lines(file)) for file in files]
    twice = sorted({b.name for b in found if sum(b.name == other.name for other in found) > 1})
    if twice:
        raise InputError(f"benchmarks {twice} are given twice; give each file a name of its own")
    return [Benchmark(name=b.name, items=tuple(spread(b.items, items))) for b in found]


def _files(path: Path) -> list[Path]:
    return sorted(path.glob("*.jsonl")) if path.is_dir() else [path]


def _lines(path: Path):
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); give a file of JSON lines, a folder, or tfds:") from error
    for n, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield n, parse_json(line, "it")
            except ValueError as error:
                raise InputError(f"{path}, line {n}: not a JSON object on one line ({error})") from error


def _benchmark(name: str, source: str, rows) -> Benchmark:
    items = tuple(_item(name, f"{source}, line {n}", row) for n, row in rows)
    if not items:
        raise InputError(f"{source} holds no question; expected one JSON object a line")
    return Benchmark(name=name, items=items)


# ---- the forms of a question: a local file's, then those of tensorflow-datasets

Pairs = list[tuple[str, str]]


def _item(name: str, where: str, row: Any) -> Item:
    if not isinstance(row, dict):
        raise InputError(f"{where}: expected a JSON object, got {type(row).__name__}")
    row = _decoded(row)
    form = next((f for fields, f in FORMS.items() if fields <= row.keys()), None)
    try:
        if form is None:
            raise KeyError(f"fields {sorted(row)}")
        pairs, gold = form(name, row)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{where}: {error}; expected query, choices and gold; context_options, continuation and gold; "
            "activity_label, ctx_a, ctx_b, endings and label; or a row of TFDS's ai2_arc, bool_q, openbookqa, piqa, "
            "winogrande or hellaswag"
        ) from error
    if len(pairs) < 2 or not 0 <= gold < len(pairs):
        raise InputError(f"{where}: the answer {gold} of {len(pairs)} options; expected two options or more, from 0")
    if any(not continuation.strip() for _, continuation in pairs):
        raise InputError(f"{where}: an option is empty")
    return Item(pairs=tuple(pairs), gold=gold)


def _decoded(value: Any) -> Any:
    """Turn TFDS's bytes and arrays into text, lists and numbers."""
    if isinstance(value, dict):
        return {k: _decoded(v) for k, v in value.items()}
    if isinstance(value, list | np.ndarray) and np.ndim(value) > 0:
        return [_decoded(v) for v in value]
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _after(query: str, choices: list[str]) -> Pairs:
    return [(query, " " + choice.strip()) for choice in choices]


def _query(name: str, row: dict) -> tuple[Pairs, int]:
    template = next((t for start, t in PROMPTS.items() if name.startswith(start)), "{query}")
    query = row["query"].removesuffix("\n")
    query = query.removeprefix("Passage: ") if name.startswith("boolq") else query
    return _after(template.replace("{query}", query), row["choices"]), int(row["gold"])


def _contexts(name: str, row: dict) -> tuple[Pairs, int]:
    return [(context, " " + row["continuation"].strip()) for context in row["context_options"]], int(row["gold"])


def _hellaswag(name: str, row: dict) -> tuple[Pairs, int]:
    context = row["context"] if "context" in row else f"{row['ctx_a']} {row['ctx_b'].capitalize()}"
    query = _without_brackets(f"{row['activity_label']}: {context}")
    return [(query, f" {_without_brackets(e)}") for e in row["endings"]], int(row["label"])  # a mark leaves its space


def _without_brackets(text: str) -> str:
    """Remove WikiHow's marks, as the harness does for HellaSwag."""
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def _arc(name: str, row: dict) -> tuple[Pairs, int]:
    gold = list(row["choices"]["label"]).index(row["answerKey"])
    return _after(f"Question: {row['question']}\nAnswer:", row["choices"]["text"]), gold


def _boolq(name: str, row: dict) -> tuple[Pairs, int]:
    return _after(f"{row['passage']}\nQuestion: {row['question']}?\nAnswer:", ["no", "yes"]), int(row["answer"])


def _openbook(name: str, row: dict) -> tuple[Pairs, int]:
    asked = row["question"]
    return _after(asked["stem"], [asked[f"choice_{letter}"] for letter in "ABCD"]), int(row["answerKey"])


def _piqa(name: str, row: dict) -> tuple[Pairs, int]:
    return _after(f"Question: {row['goal']}\nAnswer:", [row["sol1"], row["sol2"]]), int(row["label"])


def _winogrande(name: str, row: dict) -> tuple[Pairs, int]:
    before, after = row["sentence"].split("_", 1)
    return [(before + row[o], " " + after.strip()) for o in ("option1", "option2")], int(row["label"])


FORMS: dict[frozenset, Callable[[str, dict], tuple[Pairs, int]]] = {
    frozenset({"query", "choices", "gold"}): _query,
    frozenset({"context_options", "continuation", "gold"}): _contexts,
    frozenset({"endings", "activity_label", "label"}): _hellaswag,
    frozenset({"question", "choices", "answerKey"}): _arc,
    frozenset({"question", "passage", "answer"}): _boolq,
    frozenset({"question", "answerKey", "fact1"}): _openbook,
    frozenset({"goal", "sol1", "sol2", "label"}): _piqa,
    frozenset({"sentence", "option1", "option2", "label"}): _winogrande,
}


# ---- from a model


def measure_benchmark(model, tokenizer: Tokenizer, benchmark: Benchmark, batch: int = 8) -> dict[str, Any]:
    """Return figures "acc" and "acc_norm" of one benchmark, and "right": 1 or 0 a question, by "acc".

    acc: the right option has the highest log-probability; acc_norm: the highest a character of the option.
    """
    pairs = [encode_pair(tokenizer, *pair) for item in benchmark.items for pair in item.pairs]
    scores = iter(score_continuations(model, pairs, batch))
    right, normed = [], []
    for item in benchmark.items:
        logp_O = np.array([next(scores).logp for _ in item.pairs])
        lengths_O = np.array([len(c) - 1 for _, c in item.pairs])  # without the space in front
        right.append(int(logp_O.argmax() == item.gold))
        normed.append(int((logp_O / lengths_O).argmax() == item.gold))
    n = len(right)
    return {
        "acc": rate_estimate(sum(right), n).to_json(),
        "acc_norm": rate_estimate(sum(normed), n).to_json(),
        "right": right,
    }


def guessing(benchmark: Benchmark) -> float:
    """Return the accuracy of guessing: the mean of 1 / options."""
    return float(np.mean([1 / len(item.pairs) for item in benchmark.items]))


# ---- the metric


def asked(c: Eval) -> list[Benchmark]:
    """Return the benchmarks that eval.benchmarks names; they are read once, and again when a file has changed."""
    files = [file for source in c.benchmarks for file in _files(Path(source).expanduser()) if file.is_file()]
    stamps = [(file, file.stat().st_mtime_ns, file.stat().st_size) for file in files]
    return list(_read_once(tuple(c.benchmarks), c.items, tuple(stamps)))


@lru_cache(maxsize=4)
def _read_once(sources: tuple[str, ...], items: int, stamps: tuple[tuple, ...]) -> tuple[Benchmark, ...]:
    return tuple(read_benchmarks(sources, items))


def measure(model, context: Context) -> Figures:
    """Return {"benchmarks": {name: accuracy}, "benchmarks_normed", "right": {name: 1 or 0 a question}}."""
    found: Figures = {"benchmarks": {}, "benchmarks_normed": {}, "right": {}}
    for benchmark in asked(context.suite.c):
        one = measure_benchmark(model, context.suite.tokenizer, benchmark, context.suite.c.batch)
        found["benchmarks"][benchmark.name] = one["acc"] | {"guessing": guessing(benchmark)}
        found["benchmarks_normed"][benchmark.name] = one["acc_norm"]
        found["right"][benchmark.name] = one["right"]
    return found


def pooled(accuracies: Mapping[str, Figures]) -> Estimate:
    """Return the share of right answers to all questions of several benchmarks, {name: its accuracy}, together."""
    n = sum(one["n"] for one in accuracies.values())
    return rate_estimate(round(sum(one["value"] * one["n"] for one in accuracies.values())), n)


def check(config: Config, held_out: bool) -> None:
    """Raise InputError for files that are missing or malformed."""
    asked(config.eval)


BENCHMARKS = Metric(
    name="benchmarks",
    title="Benchmarks",
    about="accuracy on multiple-choice benchmarks, asked as lm-evaluation-harness asks them (eval.benchmarks)",
    measure=measure,
    applies=lambda context: bool(context.suite.c.benchmarks),
    check=check,
    columns={("benchmarks",): "Benchmark accuracy", ("benchmarks_normed",): "Benchmark accuracy, by length"},
    raw=("right",),
    depends=lambda context: sha256_text(*map(repr, asked(context.suite.c))),
)
