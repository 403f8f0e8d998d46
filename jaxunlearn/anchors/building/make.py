"""Make the dictionary of a run, once a folder: by a language model, or offline by counting."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxunlearn.anchors.building.build import build_with_llm
from jaxunlearn.anchors.building.candidates import make_dictionary, settled
from jaxunlearn.anchors.building.extract import extract_terms, write
from jaxunlearn.anchors.dictionary import load_dictionary
from jaxunlearn.config import Config
from jaxunlearn.data.documents import Document
from jaxunlearn.errors import InputError
from jaxunlearn.outputs import lock, note
from jaxunlearn.parallel.console import doing, say

BY, WRITTEN = "anchors build", ("dictionary.json", "terms.md")
LOCK = ".jaxunlearn_anchors.lock"


def build_dictionary(
    config: Config,
    documents: Sequence[Document],
    retain: Sequence[Document],
    out: Path,
    *,
    again: bool = False,
    lift: Mapping[str, float] | None = None,
) -> Path:
    """Make out/dictionary.json as config.anchors says and return its path; an existing one is kept unless `again`.

    documents: the text to forget. retain: the text to keep, which only source=offline reads. lift: {word: nats by
    which the reinforced model raises it} (lift.word_lift), a further sign for source=offline. Raises InputError where
    another process builds in the folder, and InputError and RunError as build_with_llm, extract_terms and
    make_dictionary do.
    """
    path = Path(out) / "dictionary.json"
    if path.is_file() and not again:
        return path
    if config.anchors.source == "llm":
        held = _claimed(path.parent)  # two processes would pay twice
        build_with_llm(documents, config.anchors.llm, Path(out), say)
        note(path.parent, WRITTEN, by=BY)
        del held
        return path
    build_offline(config, documents, retain, Path(out), again=again, lift=lift)
    return path


def _claimed(out: Path):
    """Return the lock of a folder, which is made. Raises InputError where another process builds there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        return lock(out / LOCK, f"the folder {out}")
    except OSError as error:
        raise InputError(f"the folder {out} cannot be used: {error.strerror}; give another") from None


def build_offline(config: Config, documents, retain, out: Path, *, again: bool = False, lift=None):
    """Return the dictionary of terms found by counting, with drawn translations; it is kept in `out` with terms.md."""
    if (out / "dictionary.json").is_file() and not again:
        return load_dictionary(out / "dictionary.json")
    doing("finding terms by counting")
    terms = settled(extract_terms(documents, retain, settings=config.anchors.extract, lift=lift))
    texts = ("\n".join(d.text for d in side) for side in (documents, retain))
    dictionary = make_dictionary(terms, *texts, seed=config.anchors.seed)
    held = _claimed(out)
    write(terms, dictionary, out)
    note(out, WRITTEN, by=BY)
    del held
    say(f"  {len(terms)} terms in {len(dictionary)} spellings found by counting; {out / 'terms.md'} lists them")
    return dictionary
