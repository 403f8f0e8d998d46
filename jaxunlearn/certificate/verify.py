"""Check a certificate: its files, its verdict by the rules, its signature; with the run, hashes and a repetition."""

import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np

from jaxunlearn.certificate import (
    findings,
    follows,
    measured,
    measures,
    needed,
    rules,
    sections,
    signing,
    source,
    statement,
)
from jaxunlearn.certificate.digests import SUMS, files_of, read_sums, sha256_of
from jaxunlearn.certificate.page import page
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.files import read_json, read_text
from jaxunlearn.run import preregistration

CHOSEN = 12  # windows that `verify --run` asks again beside the named ones; chosen anew each time
AGREES, DIFFERS, UNCHECKED = "agrees", "DOES NOT AGREE", "not checked"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was checked, with its outcome: AGREES, DIFFERS or UNCHECKED."""

    outcome: str
    what: str


def verify(folder: Path, run: Path | None = None, exports: Sequence[Path] = (), key: str = "") -> list[Check]:
    """Return every check of a certificate; with a run, call within a mesh.

    Raises InputError where the folder is no certificate, or a key cannot be read.
    """
    public = signing.public_key(Path(key)) if key else None
    checks = list(_own_files(folder))
    if not (folder / statement.STATEMENT).is_file():
        return checks
    try:
        found = statement.read(folder)
    except InputError as error:
        return [*checks, Check(outcome=DIFFERS, what=str(error))]
    checks += _whole(lambda: _verdict(folder, found)) + _whole(lambda: _signature(folder, found, public))
    if run is None:
        checks.append(Check(outcome=UNCHECKED, what="the model's files and a repetition: give --run RUN"))
    else:
        checks += _whole(lambda: _run(run, found), given=True)
    return checks + _whole(lambda: _exports(found, exports), given=True)


DAMAGED = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError)


def _whole(made: Callable[[], Iterable[Check]], given: bool = False) -> list[Check]:
    """Return checks; those of a statement that lacks what they read, or has it in another form, do not agree.

    given: whether they read other files, too. Raises InputError for those.
    """
    try:
        return list(made())
    except DAMAGED as error:
        if given and isinstance(error, InputError):
            raise
        said = f"{type(error).__name__}: {error}"
        return [Check(outcome=DIFFERS, what=f"the statement is damaged: it lacks figures that are checked ({said})")]


def _said(good: bool, what: str, why: str = "") -> Check:
    return Check(outcome=AGREES if good else DIFFERS, what=what + (f": {why}" if why and not good else ""))


# ---- the certificate alone


def _own_files(folder: Path) -> Iterator[Check]:
    """Yield a check of every file that SHA256SUMS lists."""
    sums = read_sums(folder)
    for name in (statement.STATEMENT, statement.PAGE):
        if name not in sums:
            yield Check(outcome=DIFFERS, what=f"{SUMS} does not list {name}")
    for name, digest in sums.items():
        there = (folder / name).is_file()
        why = "its SHA-256 is another: it was changed after it was written" if there else "it is missing"
        yield _said(there and sha256_of(folder / name) == digest, f"file {name}", why)


def _verdict(folder: Path, found: dict) -> Iterator[Check]:
    """Yield checks that the verdict follows from the figures, and that the page is the statement's."""
    p = found["predicate"]
    again = rules.verdict(p["measures"], p["known_by"], p["conditions"])
    said = "the verdict follows from the figures by the rules"
    yield _said(again == p["verdict"], said, f"by them it is: {again['word']}")
    off = follows.unfounded(p)
    yield _said(not off, "kinds and grades follow from the intervals", f"not those of: {'; '.join(off)}")
    off = follows.not_extracted(p)
    yield _said(not off, "extraction follows from the windows' log-probabilities", f"not: {'; '.join(off)}")
    off = follows.not_known(p)
    yield _said(not off, "what the baseline knew follows from the figures", f"not: {'; '.join(off)}")
    covers = {e["name"]: rules.covers(e["measures"], e["nats"])[0] for e in p["exports"]}
    off = [e["name"] for e in p["exports"] if e["covered"] != covers[e["name"]]]
    yield _said(not off, "which exports are covered follows from their figures", ", ".join(off))
    same = p["repeat"]["tolerance"] == measured.TOLERANCE
    yield _said(same, "the tolerances are those of this program", f"expected {measured.TOLERANCE}")
    same = set(p["conditions"]) == set(needed.WORDS.values())
    yield _said(same, "the conditions of the word “erased” are those of this program")
    yield from _page(folder, found)


def _page(folder: Path, found: dict) -> Iterator[Check]:
    """Yield checks that the page is the statement's, and that it opens with the statement's word."""
    p = found["predicate"]
    listed = {s["name"]: s["digest"]["sha256"] for s in found["subject"]}
    path = folder / statement.PAGE
    if path.is_file():
        words = [unescape(w) for w in re.findall(r'<p class="word[^"]*">([^<]*)</p>', read_text(path))]
        yield _said(words == [p["verdict"]["word"]], "the page opens with the statement's word", str(words))
        yield _said(listed.get(statement.PAGE) == sha256_of(path), "the page is the one that the statement names")
    same_code = p["code"]["source_sha256"] == statement.source_digest()
    if path.is_file() and same_code:
        subjects = [s for s in found["subject"] if s["name"] != statement.PAGE]
        yield _said(page(p, subjects) == read_text(path), "the page shows what the statement says")
    else:
        yield Check(outcome=UNCHECKED, what="whether the page shows what the statement says: another version drew it")


def _signature(folder: Path, found: dict, public: Any) -> Iterator[Check]:
    path = folder / statement.ENVELOPE
    if not path.is_file():
        if found["predicate"]["signed"]:
            yield Check(outcome=DIFFERS, what=f"it says that it is signed, and {statement.ENVELOPE} is missing")
        if public is not None:
            yield Check(outcome=DIFFERS, what="the certificate is not signed, and a key was given")
        else:
            yield Check(outcome=UNCHECKED, what="who wrote it: it is not signed")
        return
    envelope = read_json(path, dict)
    if public is None:
        keys = ", ".join(str(s.get("keyid", ""))[:16] for s in envelope.get("signatures") or [] if isinstance(s, dict))
        yield Check(outcome=UNCHECKED, what=f"the signature by key {keys}: give --key with the signer's public key")
        return
    why = signing.fault(envelope, (folder / statement.STATEMENT).read_bytes(), public)
    yield _said(not why, f"the signature by key {signing.key_id(public)[:16]}", f"{statement.ENVELOPE} {why}")


# ---- with the run


def _run(run: Path, found: dict) -> list[Check]:
    """Check the model's files, the preregistration and the inputs of a run, and repeat the named tests."""
    p = found["predicate"]
    checks = list(_files(_folder(run, p["model"]), found["subject"]))
    for name, files in p["compared_with"].items():
        checks += _files(_folder(run, name), files)
    said, path = p["preregistration"], run / preregistration.FILE
    if said["sha256"]:
        same = path.is_file() and sha256_of(path) == said["sha256"]
        checks.append(_said(same, f"{preregistration.FILE}", "it is not the file that was certified"))
    if any(check.outcome == DIFFERS for check in checks):
        return [*checks, Check(outcome=UNCHECKED, what="a repetition: the files are not those that were certified")]
    try:
        s = source.read(run, p["model"])
    except (InputError, RunError) as error:
        return [*checks, Check(outcome=DIFFERS, what=f"the run cannot be read as it was certified: {error}")]
    now = dict(s.run.inputs.hashes)
    off = [name for name, digest in p["asked"]["hashes"].items() if now.get(name) != digest]
    checks.append(_said(not off, f"texts, prompts and tokenizer ({len(now)} hashes)", f"changed: {', '.join(off)}"))
    again = statement.as_read({"measures": measures.measures_of(s.report, s.name, {})})["measures"]
    listed = {m["title"]: m for m in p["measures"]}
    off = [m["title"] for m in again if listed.get(m["title"]) != m]
    off += sorted(t for t in listed.keys() - {m["title"] for m in again} if not t.startswith(follows.EXTRACTION))
    checks.append(_said(not off, f"{len(again)} figures of the run's report.json", f"not those of: {', '.join(off)}"))
    known = measures.known_by(s.report, p["logps"])
    tried = (p["extraction"]["windows"], p["extraction"]["there"])
    s = source.with_windows(s, *tried)
    now = needed.conditions(source.facts(s, *tried))
    off = [text for text, holds in now.items() if p["conditions"].get(text) != holds]
    checks.append(_said(not off, "what “erased” needs, by the run", f"not so: {'; '.join(off)}"))
    checks.append(_said(known == p["known_by"], "what the baseline knew, by the run", f"it is: {'; '.join(known)}"))
    return [*checks, *_sections(s, p, tried), *_repeat(s, p)]


def _sections(s: source.Source, p: dict, tried: tuple[int, int]) -> Iterator[Check]:
    """Yield checks of what else the run's files settle; tried: windows, of those that are there."""
    wanted = {n for n in ("baseline", "twin") if n in s.folders}
    off = sorted(wanted ^ p["compared_with"].keys())
    yield _said(not off, "the models compared with are those of the run", ", ".join(off))
    made = statement.as_read(sections.of_run(s) | {"limits": sections.limits(s, *tried, p["signed"])})
    off = [name for name, section in made.items() if not follows.same(section, p[name])]
    yield _said(not off, f"{len(made)} sections, by the run", f"not so: {', '.join(off)}")
    made = statement.as_read({"": findings.residual(s.report, s.name, [], [])})[""]
    listed = [row for row in p["findings"] if not row["test"].startswith(findings.MEASURED)]
    yield _said(follows.same(made, listed), "residual findings of the run's report.json")


def _folder(run: Path, name: str) -> Path:
    found = source.folders_of(run)
    if name not in found:
        raise InputError(f"{run} has no model {name!r}; give the run that was certified")
    return found[name]


def _files(folder: Path, subjects: Sequence[dict]) -> Iterator[Check]:
    """Yield a check of every subject that is a file of the model, and of files that are no subject."""
    wanted = {s["name"]: s["digest"]["sha256"] for s in subjects if s["name"].startswith(f"{folder.name}/")}
    there = {f["name"]: f["digest"]["sha256"] for f in source.model_files(folder)}
    for name, digest in wanted.items():
        why = "its SHA-256 is another" if name in there else "it is missing"
        yield _said(there.get(name) == digest, f"file {name} of the model", why)
    for name in there.keys() - wanted.keys():
        yield Check(outcome=DIFFERS, what=f"file {name} is not in the certificate")


def _repeat(s: source.Source, p: dict) -> Iterator[Check]:
    """Yield checks of all next-word prompts, and of windows: the named ones, and others that are chosen here."""
    repeat, names = p["repeat"], list(dict.fromkeys(n for n in ("baseline", s.name, "twin") if n in s.folders))
    asked = measured.windows(s.run, repeat["most"])
    named = {row["window"]: row["at"] for row in repeat["windows"]}
    counts = {len(of) for model in p["logps"].values() for of in model.values()}
    lengths = [str(n) for n in asked.lengths]
    same = set(p["logps"]) == set(names) and all(list(of) == lengths for of in p["logps"].values())
    same = same and sections.windows(asked) == {k: v for k, v in p["extraction"].items() if k != "models"}
    if not same or counts != {len(asked.windows)} or any(asked.windows[n].at != at for n, at in named.items()):
        yield Check(outcome=DIFFERS, what="the windows of the text are not those that were certified")
        return
    chosen = random.sample(range(len(asked.windows)), min(CHOSEN, len(asked.windows)))
    numbers, found = sorted({*named, *chosen}), {}
    out = statement.as_read({"": findings.windows_out(asked, p["logps"], s.name, s.run.inputs.tokenizer.decode)})[""]
    listed = [row for row in p["findings"] if row["test"].startswith(findings.WINDOWS)]
    yield _said(_rows(out) == _rows(listed), "residual findings follow from the windows' log-probabilities")
    for name in names:
        found[name] = again = measured.repeated(s, measured.load(s, name), name, asked, numbers)
        yield _windows(name, numbers, again["logp"], p["logps"][name])
        why = measured.unlike_report(s, name, again["masses"])
        yield _said(not why, f"{len(again['masses'])} prompts asked again of {name}, as report.json has them", why)
        if name == s.name:
            yield _prompts(s, again["masses"], repeat["prompts"])
    yield _next_words(s, found, p["findings"])


def _rows(rows: Iterable[dict]) -> set[tuple[str, str, str]]:
    return {(row["test"], row["prompt"], row["came_out"]) for row in rows}


def _next_words(s: source.Source, found: dict[str, measured.Measured], listed: Iterable[dict]) -> Check:
    """Return a check that every prompt after which the text's own words come out is listed, and no other."""
    room, asked = measured.TOLERANCE["probability"], measured.ask(s, found)
    least, most = (
        _rows(findings.residual({}, s.name, [findings.shifted(row, by) for row in asked], [])) for by in (-room, room)
    )
    there = _rows(row for row in listed if row["test"].startswith(findings.NEXT))
    off = sorted(prompt for _, prompt, _ in (least - there) | (there - most))
    return _said(not off, f"{len(there)} residual findings of next words, asked again", "; ".join(off))


def _windows(name: str, numbers: Sequence[int], again: dict[str, list[float]], said: dict[str, list[float]]) -> Check:
    """Return a check of some windows of a model, every length of their continuations, asked again."""
    apart, most = [], measured.TOLERANCE["nats_a_token"]
    for length, logp in again.items():
        apart += [abs(now - said[length][n]) / int(length) for now, n in zip(logp, numbers, strict=True)]
    far = float(np.max(apart))
    what = f"{len(numbers)} windows asked again of {name}, at most {far:.2g} nats a token apart (tolerance {most:g})"
    return Check(outcome=AGREES if far <= most else DIFFERS, what=what)


def _prompts(s: source.Source, masses: Sequence[float], rows: Sequence[dict]) -> Check:
    """Return a check of the named prompts: they are the run's, and give what they are said to; masses: of all."""
    asked = {(p.prompt, p.specific): mass for p, mass in zip(s.run.suite.prompts.probability, masses, strict=True)}
    again = [asked.get((row["prompt"], tuple(row["specific"]))) for row in rows]
    if None in again or (asked and not rows):
        return Check(outcome=DIFFERS, what="the named prompts are not those of the run")
    apart = [abs(now - row["probability"]) for now, row in zip(again, rows, strict=True) if now is not None]
    far, most = float(np.max(apart, initial=0.0)), measured.TOLERANCE["probability"]
    said = f"{len(rows)} named prompts, probabilities at most {far:.2g} apart (tolerance {most:g})"
    return Check(outcome=AGREES if far <= most else DIFFERS, what=said)


# ---- exports


def _exports(found: dict, given: Sequence[Path]) -> Iterator[Check]:
    """Yield a check of the files of every export that is given, and of those that are not."""
    entries = {e["name"]: e for e in found["predicate"]["exports"]}
    for path in given:
        name = path.resolve().name
        entry = entries.pop(name, None)
        if entry is None:
            yield Check(outcome=DIFFERS, what=f"export {name} is not in the certificate")
            continue
        there = {f["name"]: f["digest"]["sha256"] for f in files_of(path)}
        same = there == {f["name"]: f["digest"]["sha256"] for f in entry["files"]}
        state = "covered" if entry["covered"] else f"NOT covered: {entry['why']}"
        yield _said(same, f"export {name} ({state})", "its files are not those that were certified")
    for name in entries:
        yield Check(outcome=UNCHECKED, what=f"export {name}: give --export with its place")
