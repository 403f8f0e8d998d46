"""What `certify` measures itself: next words and windows of the text, on models of the run and on exported files."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxunlearn.certificate.digests import files_of
from jaxunlearn.certificate.measures import kept_level
from jaxunlearn.certificate.rules import covers
from jaxunlearn.certificate.source import Source
from jaxunlearn.data.tokenizer import Tokenizer, load_tokenizer
from jaxunlearn.estimates import value_of
from jaxunlearn.evals.extraction import PROBABILITIES, Windows, extracted, log_probabilities, shares, windows_of
from jaxunlearn.evals.suite import Suite, specific_mass
from jaxunlearn.methods import inference
from jaxunlearn.models import huggingface
from jaxunlearn.models.directory import check_model
from jaxunlearn.models.hub import find_model
from jaxunlearn.parallel.console import say
from jaxunlearn.report.findings import FAMILIARITY
from jaxunlearn.run import Run
from jaxunlearn.run.store import load_model

TOLERANCE = {"probability": 0.02, "nats_a_token": 0.02}  # by which what is repeated may differ, on another device too

Measured = dict[str, Any]  # {"masses": probability of each prompt's own words, "logp": {length: of each window}}


def windows(run: Run, most: int) -> Windows:
    """Return the windows of the run's text to forget."""
    return windows_of(run.inputs.documents, run.inputs.tokenizer, run.inputs.shape.context, most=most)


def measure(model, suite: Suite, asked: Windows) -> Measured:
    """Return what a model gives the target's own next words, and the continuations of the windows."""
    masses = specific_mass(model, suite, suite.prompts.probability)
    logp = {str(n): log_probabilities(model, asked.windows, n, suite.c.batch).tolist() for n in asked.lengths}
    return {"masses": masses, "logp": logp}


def of_models(source: Source, asked: Windows, names: Sequence[str]) -> dict[str, Measured]:
    """Return what models of the run give; those that the run does not have are left out."""
    found, run = {}, source.run
    for name in dict.fromkeys(names):
        if name in source.folders:
            say(f"  {name}: {len(asked.windows)} windows, {len(run.suite.prompts.probability)} prompts")
            found[name] = measure(load(source, name), inference.suite(source.folders[name], run.suite), asked)
    return found


def load(source: Source, name: str):
    """Return a model of the run, as measurements read it."""
    return load_model(source.run.config, source.folders[name], frozen=True)


def repeated(source: Source, model, name: str, asked: Windows, numbers: Sequence[int]) -> Measured:
    """Return what `measure` does of a model of the run, for some windows."""
    some = dataclasses.replace(asked, windows=tuple(asked.windows[n] for n in numbers))
    return measure(model, inference.suite(source.folders[name], source.run.suite), some)


def unlike_report(source: Source, name: str, masses: Sequence[float]) -> str:
    """Return in what a model's next words differ from report.json, "" where they do not; masses: of all prompts."""
    rows = [n for n, p in enumerate(source.run.suite.prompts.probability) if p.position == "out"]
    said = value_of(((source.report["models"].get(name) or {}).get(FAMILIARITY[0]) or {}).get(FAMILIARITY[1]))
    now = float(np.mean([masses[n] for n in rows])) if rows else None
    if said is None or now is None or abs(said - now) <= TOLERANCE["probability"]:
        return ""
    return f"report.json says {said:.4g} of {name}'s next-word familiarity, measured again it is {now:.4g}"


def ask(source: Source, found: dict[str, Measured]) -> list[dict[str, Any]]:
    """Return every next-word prompt with the probability of its own words after it, by baseline, model and twin."""
    roles = {"baseline": "baseline", "model": source.name, "twin": "twin"}
    return [
        {"prompt": p.prompt, "specific": list(p.specific), "position": p.position}
        | {role: found[name]["masses"][n] for role, name in roles.items() if name in found}
        for n, p in enumerate(source.run.suite.prompts.probability)
    ]


# ---- exports


def export(source: Source, path: Path, asked: Windows, found: dict[str, Measured]) -> dict[str, Any]:
    """Measure an exported model, a folder or a .gguf file, and return its entry of the certificate.

    {"name", "files": digests, "measures", "nats": the mean and the largest difference of a window's log-probability
    from the certified model's, a token, with the baseline's mean, "covered", "why": not}.
    Raises InputError for what is no model.
    """
    entry: dict[str, Any] = {"name": path.resolve().name, "files": files_of(path)}
    folder, c = find_model(path), source.run.config
    tokenizer = load_tokenizer(folder)
    check_model(folder, tokenizer, c.compute)
    if why := _other_tokens(source.run, tokenizer, asked):
        return entry | {"measures": [], "nats": None, "covered": False, "why": why}
    say(f"  {path.name}: tested again")
    ours, before = found[source.name], found["baseline"]
    mine = measure(huggingface.load(folder, c.compute, c.compute), source.run.suite, asked)
    levels = []
    for position, title in (("out", "familiarity, next word"), ("in", "familiarity inside names")):
        rows = [n for n, p in enumerate(source.run.suite.prompts.probability) if p.position == position]
        if rows:
            levels.append(kept_level(title, *([m["masses"][n] for n in rows] for m in (ours, before, mine))))
    for length in map(str, asked.lengths):
        for p in PROBABILITIES:
            sets = [extracted(m["logp"][length], p).tolist() for m in (ours, before, mine)]
            levels.append(kept_level(f"extraction: {length} tokens with probability above {p:g}", *sets))
    last = str(asked.lengths[-1])
    apart, far = (np.abs(np.subtract(m["logp"][last], ours["logp"][last])) / int(last) for m in (mine, before))
    nats = {"mean": float(apart.mean()), "most": float(apart.max()), "baseline": float(far.mean())}
    covered, why = covers(levels, nats)
    return entry | {
        "measures": levels, "extraction": {n: shares(of) for n, of in mine["logp"].items()}, "nats": nats,
        "covered": covered, "why": why,
    }  # fmt: skip


def _other_tokens(run: Run, tokenizer: Tokenizer, asked: Windows) -> str:
    """Return why an export cannot be compared where its tokenizer cuts the text otherwise, "" where it does not."""
    texts: Sequence[str] = [run.inputs.tokenizer.decode(list(w.context)) for w in asked.windows[:8]]
    texts = [*texts, *(p.prompt for p in run.suite.prompts.probability[:8])]
    for text in texts:
        if list(tokenizer.encode(text)[0]) != list(run.inputs.tokenizer.encode(text)[0]):
            return "its tokenizer cuts the text into other tokens than the certified model's, so it is another model"
    return ""
