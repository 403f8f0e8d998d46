"""Write the certificate of a run: measure, judge by the rules, hash, draw the page, sign."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxunlearn.certificate import findings, measured, measures, rules, sections, signing, source, statement
from jaxunlearn.certificate.digests import SUMS, files_of, write_sums
from jaxunlearn.certificate.needed import conditions
from jaxunlearn.certificate.page import page
from jaxunlearn.certificate.source import Source
from jaxunlearn.config.versions import code, versions
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.evals.extraction import WINDOWS, Windows
from jaxunlearn.evals.question_sets import spread
from jaxunlearn.files import write_whole
from jaxunlearn.outputs import refuse_foreign, taken
from jaxunlearn.run import preregistration

REPEATED = 12  # prompts, and windows, that `verify` asks again: half of them evenly spread, half the strongest
NAMES = (statement.PAGE, statement.STATEMENT, statement.ENVELOPE, SUMS)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be certified: the run's folder and model, the place, who measured, exports, the key file."""

    run: Path
    model: str = "unlearned"
    out: Path | None = None
    by: str = ""
    exports: tuple[Path, ...] = ()
    key: str = ""
    windows: int = WINDOWS
    force: bool = False

    @property
    def folder(self) -> Path:
        """Return where the certificate is written: by default in the run's folder."""
        slug = "".join(ch if ch.isalnum() else "_" for ch in self.model)
        return self.out or self.run / ("certificate" if self.model == "unlearned" else f"certificate_{slug}")


def certify(wanted: Wanted) -> dict[str, Any]:
    """Write the certificate of a finished run and return its predicate; call within a mesh.

    Raises InputError, and writes nothing, where the baseline was not shown to know the text, for a run that is not
    finished, and for a key or an export that cannot be read. Raises RunError where the run's files are damaged, or
    where its report is not of its models.
    """
    private = signing.private_key(Path(wanted.key)) if wanted.key else None
    source.refuse_unfinished(wanted.run)
    if not wanted.force:
        refuse_foreign(wanted.folder, NAMES, by="certify")
    _check_exports(wanted.exports)
    source.refuse_models(wanted.folder, wanted.run, wanted.exports)
    s = source.read(wanted.run, wanted.model)
    asked = measured.windows(s.run, wanted.windows)
    s = source.with_windows(s, len(asked.windows), asked.there)
    found = measured.of_models(s, asked, ("baseline", s.name, "twin"))
    _same_figures(s, found)
    logps = {name: of["logp"] for name, of in found.items()}
    known = measures.known_by(s.report, logps)
    if not known:
        raise InputError(
            f"no baseline: nothing in {wanted.run} shows that the baseline knew the text (next-word familiarity above "
            f"{preregistration.KNOWN:g}, or more windows extracted than from the twin), so there is no certificate"
        )
    predicate = _predicate(s, asked, found, known) | {"by": wanted.by or "not stated", "signed": bool(private)}
    predicate["exports"] = [measured.export(s, path, asked, found) for path in wanted.exports]
    predicate["limits"] = sections.limits(s, len(asked.windows), asked.there, bool(private))
    subjects = source.model_files(s.folder)
    subjects += [f | {"name": f"export/{e['name']}/{f['name']}"} for e in predicate["exports"] for f in e["files"]]
    return write(wanted.folder, subjects, predicate, private, wanted.force)


def _check_exports(paths: Sequence[Path]) -> None:
    """Raise InputError, before any work, for an export that is not there, and for two of one name."""
    for path in paths:
        files_of(path)
    names = [path.resolve().name for path in paths]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"--export: two are called {twice[0]}; a certificate knows them by name, so give others")


def _same_figures(s: Source, found: dict[str, measured.Measured]) -> None:
    """Raise RunError where the models do not give what the report says of them."""
    for name, of in found.items():
        if why := measured.unlike_report(s, name, of["masses"]):
            ends = "the report is of other prompts or another model; run `jaxunlearn evaluate` again"
            raise RunError(f"{why}: {ends}")


def _predicate(s: Source, asked: Windows, found: dict, known: list[str]) -> dict[str, Any]:
    """Return all that is said of the certified model; exports and limits are added."""
    logps = {name: of["logp"] for name, of in found.items()}
    made = measures.measures_of(s.report, s.name, logps)
    needed = conditions(source.facts(s, len(asked.windows), asked.there))
    rows = measured.ask(s, found)
    windows = findings.windows_out(asked, logps, s.name, s.run.inputs.tokenizer.decode)
    return sections.of_run(s) | {
        "made": preregistration.now(), "code": _code(), "model": s.name, "known_by": known,
        "verdict": rules.verdict(made, known, needed), "conditions": needed, "measures": made,
        "extraction": sections.windows(asked) | {"models": measures.extraction_of(logps, s.name)},
        "findings": findings.residual(s.report, s.name, rows, windows),
        "repeat": _repeat(rows, asked, logps[s.name]), "logps": logps,
        "compared_with": {n: source.model_files(s.folders[n]) for n in ("baseline", "twin") if n in s.folders},
    }  # fmt: skip


def _code() -> dict[str, Any]:
    """Return the versions, the commit of a checkout, and the hash of the program that certifies."""
    commit = {key: found for key, found in code().items() if key in ("commit", "dirty")}
    return {"versions": versions(), "source_sha256": statement.source_digest()} | commit


def _repeat(rows: Sequence[dict], asked: Windows, logp: dict[str, list[float]]) -> dict[str, Any]:
    """Return what `verify` asks again: prompts and windows by name, with what the certified model gave them."""
    last = str(asked.lengths[-1])
    windows = _some(list(range(len(asked.windows))), [logp[last][n] for n in range(len(asked.windows))])
    prompts = _some(list(range(len(rows))), [row["model"] for row in rows])
    return {
        "tolerance": measured.TOLERANCE, "most": len(asked.windows),
        "prompts": [{"prompt": rows[n]["prompt"], "specific": rows[n]["specific"], "probability": rows[n]["model"]}
                    for n in prompts],
        "windows": [{"window": n, "at": asked.windows[n].at} for n in windows],
    }  # fmt: skip


def _some(numbers: list[int], strength: Sequence[float]) -> list[int]:
    strongest = sorted(numbers, key=lambda n: -strength[n])[: REPEATED // 2]
    return sorted({*spread(numbers, REPEATED // 2), *strongest})


def write(folder: Path, subjects: list[dict], predicate: dict, private: Any = None, force: bool = False) -> dict:
    """Write page, statement, envelope (with a private key) and SHA256SUMS; return the predicate as it is read back.

    Raises InputError where the folder holds files of these names that `certify` did not write, unless `force`.
    """
    content = statement.as_read(predicate)
    names = [name for name in NAMES if private or name != statement.ENVELOPE]
    folder.mkdir(parents=True, exist_ok=True)
    with taken(folder, NAMES, by="certify", force=force):
        if not private:
            (folder / statement.ENVELOPE).unlink(missing_ok=True)
        write_whole(folder / statement.PAGE, page(content, subjects))
        text = statement.as_text(statement.statement([*subjects, *files_of(folder / statement.PAGE)], content))
        write_whole(folder / statement.STATEMENT, text)
        if private:
            made = signing.envelope(text.encode(), private)
            write_whole(folder / statement.ENVELOPE, statement.as_text(made))
        write_sums(folder, names[:-1])
    return content
