"""Check a certificate: its files, its verdict by the rules, its signature; with the run, hashes and a repetition."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxunlearn.certificate import measured, measures, rules, signing, source, statement
from jaxunlearn.certificate.digests import SUMS, files_of, read_sums, sha256_of
from jaxunlearn.certificate.page import page
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.files import read_json, read_text
from jaxunlearn.run import preregistration

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
    checks += [*_verdict(folder, found), *_signature(folder, public)]
    if run is None:
        checks.append(Check(outcome=UNCHECKED, what="the model's files and a repetition: give --run RUN"))
    else:
        checks += _run(run, found)
    return checks + list(_exports(found, exports))


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
    try:
        again = rules.verdict(p["measures"], p["known_by"], p["conditions"])
        said = "the verdict follows from the figures by the rules"
        yield _said(again == p["verdict"], said, f"by them it is: {again['word']}")
        covers = {e["name"]: rules.covers(e["measures"], e["nats"])[0] for e in p["exports"]}
        off = [e["name"] for e in p["exports"] if e["covered"] != covers[e["name"]]]
        yield _said(not off, "which exports are covered follows from their figures", ", ".join(off))
    except (KeyError, TypeError, AttributeError) as error:
        yield Check(outcome=DIFFERS, what=f"the statement lacks figures that the verdict is made of ({error})")
        return
    listed = {s["name"]: s["digest"]["sha256"] for s in found["subject"]}
    path = folder / statement.PAGE
    if path.is_file():
        yield _said(listed.get(statement.PAGE) == sha256_of(path), "the page is the one that the statement names")
    same_code = p["code"]["source_sha256"] == statement.source_digest()
    if path.is_file() and same_code:
        subjects = [s for s in found["subject"] if s["name"] != statement.PAGE]
        yield _said(page(p, subjects) == read_text(path), "the page shows what the statement says")
    else:
        yield Check(outcome=UNCHECKED, what="whether the page shows what the statement says: another version drew it")


def _signature(folder: Path, public: Any) -> Iterator[Check]:
    path = folder / statement.ENVELOPE
    if not path.is_file():
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
    checks.append(_said(not off, f"{len(again)} figures of the run's report.json", f"not those of: {', '.join(off)}"))
    return checks + list(_repeat(s, p["repeat"]))


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


def _repeat(s: source.Source, repeat: dict) -> Iterator[Check]:
    """Yield a check of the named prompts and of the named windows, asked again."""
    asked = measured.windows(s.run, repeat["most"])
    wanted, tolerance = {row["window"]: row for row in repeat["windows"]}, repeat["tolerance"]
    if any(n >= len(asked.windows) or asked.windows[n].at != row["at"] for n, row in wanted.items()):
        yield Check(outcome=DIFFERS, what="the windows of the text are not those that were certified")
        return
    model = measured.load(s, s.name)
    logp = measured.repeated_windows(s, model, asked, list(wanted))
    apart = [abs(now - row["logp"]) / row["length"] for now, row in zip(logp, wanted.values(), strict=True)]
    most = tolerance["nats_a_token"]
    said = f"{len(apart)} windows asked again, at most {max(apart):.2g} nats a token apart (tolerance {most:g})"
    yield Check(outcome=AGREES if max(apart) <= most else DIFFERS, what=said)
    rows = repeat["prompts"]
    if not rows:
        return
    masses = measured.repeated_prompts(s, model, [(row["prompt"], row["specific"]) for row in rows])
    apart, most = [abs(m - row["probability"]) for m, row in zip(masses, rows, strict=True)], tolerance["probability"]
    said = f"{len(apart)} prompts asked again, probabilities at most {max(apart):.2g} apart (tolerance {most:g})"
    yield Check(outcome=AGREES if max(apart) <= most else DIFFERS, what=said)


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
