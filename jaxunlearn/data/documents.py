"""Read text files, folders, TFDS and questions as documents; join the hard line breaks of printed books."""

import dataclasses
import glob
import itertools
import logging
import re
import sys
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxunlearn.data.gutenberg import without_licence
from jaxunlearn.data.questions import PROMPT, Question, read_questions
from jaxunlearn.errors import InputError
from jaxunlearn.files import nfc, parse_json, read_json


@dataclasses.dataclass(frozen=True, kw_only=True)
class Document:
    """A text and where it came from; its first `asked` characters are a question, which is given and not learnt."""

    name: str
    text: str
    asked: int = 0


# ---- reading


def _print(line: str) -> None:
    if logging.getLogger("jaxunlearn").isEnabledFor(logging.WARNING):  # -q asks for errors alone
        print(line, file=sys.stderr)


def read_documents(
    sources: Sequence[str], unwrap: bool = False, say: Callable[[str], None] = _print, most: int = 0
) -> list[Document]:
    """Read .txt files, folders of them, globs and `tfds:NAME/SPLIT[?field=text][&data_dir=DIR]`, in the order given.

    The files of a folder or a glob are sorted by name. A .json or .jsonl file holds questions in TOFU's form; each is a
    document, of which only the answer is learnt. unwrap joins the hard line breaks of texts (unwrap_lines). Texts are
    brought to NFC, line breaks to "\\n"; positions are those of the text so read. Project Gutenberg's licence is left
    out of .txt files (gutenberg.py), and `say` is given one line about each. most: characters of each text that are
    kept, in whole paragraphs from its beginning; 0: all; questions are kept whole. Raises InputError for a source that
    is missing, empty or not UTF-8 text, and where not even a first paragraph fits into `most`.
    """
    sources = [sources] if isinstance(sources, str) else list(sources)
    if not sources:
        raise InputError("no text was given; name a .txt file, a folder, a glob or tfds:NAME/SPLIT")
    documents = []
    for source in sources:
        if str(source).startswith("tfds:"):
            documents += _read_tfds(str(source))
        else:
            documents += [d for path in _find_files(str(source)) for d in _read_file(path, say)]
    if unwrap:
        documents = [d if d.asked else dataclasses.replace(d, text=unwrap_lines(d.text)) for d in documents]
    return [d if d.asked else _beginning(d, most) for d in documents] if most else documents


def _beginning(document: Document, most: int) -> Document:
    """Return a document cut after the last paragraph, or else line, that ends within `most` characters."""
    text = document.text
    if len(text) <= most:
        return document
    end = max(text.rfind("\n\n", 0, most + 2), 0) or max(text.rfind("\n", 0, most + 1), 0)
    if not text[:end].strip():
        raise InputError(
            f"{document.name}: its first paragraph is longer than {most} characters; raise text.most_characters"
        )
    return dataclasses.replace(document, text=text[:end] + "\n")


def _find_files(source: str) -> list[Path]:
    path = Path(source).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix.lower() == ".txt" and p.is_file())
        if not files:
            raise InputError(f"the folder {source} holds no .txt file")
        return files
    if glob.has_magic(source):
        files = sorted(p for p in map(Path, glob.glob(str(path), recursive=True)) if p.is_file())
        if not files:
            raise InputError(f"no file matches {source}")
        return files
    raise InputError(f"{source} does not exist; expected a .txt file, a folder of them, a glob or tfds:NAME/SPLIT")


def _read_file(path: Path, say: Callable[[str], None]) -> list[Document]:
    if path.suffix.lower() in (".json", ".jsonl"):
        return [_asked(f"{path}#{n}", q) for n, q in enumerate(read_questions(path))]
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if b"\0" in data:
        raise InputError(f"{path} is not text: it holds a zero byte at offset {data.index(bytes(1))}; give a .txt file")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        fault = f"byte 0x{data[error.start]:02x} at offset {error.start}"
        raise InputError(f"{path} is not UTF-8 text ({fault}); convert it to UTF-8") from error
    whole = _normalise(text)
    text = without_licence(whole)
    if left := len(whole) - len(text):
        say(f"  {path}: Project Gutenberg's licence is left out, {left:,} of {len(whole):,} characters")
    if not text.strip():
        raise InputError(f"{path} is empty; give a file with text, or leave it out")
    return [Document(name=str(path), text=text)]


def _asked(name: str, q: Question) -> Document:
    prompt = PROMPT.replace("{question}", q.question)
    return Document(name=name, text=f"{prompt} {q.answer}", asked=len(prompt))


def _normalise(text: str) -> str:
    return nfc(text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n"))


def read_rows(source: str) -> list[dict]:
    """Return the rows of `tfds:NAME/SPLIT`, prepared on disk as array_record; uses no TensorFlow and no network.

    Raises InputError where the source is not understood, a package is missing or the split is not on disk.
    """
    name, split, options = _parse_tfds(source)
    try:
        import importlib_resources  # noqa: F401  (tensorflow_datasets needs it and does not declare it)
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core.utils.file_utils import list_data_dirs
    except ImportError as error:
        needed = "tensorflow-datasets, array-record and importlib-resources"
        raise InputError(f"{source} needs {needed} ({error}); pip install them") from error
    refuse_foreign_classes(name, list_data_dirs(given_data_dir=options.get("data_dir")), source)
    try:
        rows: Any = tfds.data_source(name, split=split, data_dir=options.get("data_dir"), download=False)
    except Exception as error:  # the library raises many kinds, some of them pages long
        hint = "prepare it with download_and_prepare(file_format='array_record') and give its data_dir"
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{source} is not prepared on disk ({reason}); {hint}") from error
    return list(rows)


# The classes that features.json of a data set may name: tensorflow_datasets imports the module of each.
FEATURES = "tensorflow_datasets.core.features."
KNOWN = {
    "features_dict.FeaturesDict", "text_feature.Text", "tensor_feature.Tensor", "scalar.Scalar",
    "class_label_feature.ClassLabel", "sequence_feature.Sequence", "dataset_feature.Dataset",
    "translation_feature.Translation", "translation_feature.TranslationVariableLanguages", "feature.Optional",
}  # fmt: skip


def refuse_foreign_classes(name: str, data_dirs: Sequence[Any], source: str) -> None:
    """Raise InputError where a prepared data set names a class that is not KNOWN, and for a name with a namespace.

    tensorflow_datasets imports what features.json names, which would run code that comes with the data.
    """
    if not re.fullmatch(r"\w+(:[\d.]+)?(/[\w.+-]+)?(:[\d.]+)?", name):
        raise InputError(f"{source}: {name!r} is no plain name of a data set; expected NAME[/CONFIG][:VERSION]")
    for top in data_dirs:
        for path in sorted((Path(top).expanduser() / re.split("[/:]", name)[0]).rglob("features.json")):
            try:
                named = set(_classes(read_json(path)))
            except InputError as error:
                raise InputError(f"{error}; prepare the data set again") from None
            if odd := sorted(c for c in named if c.removeprefix(FEATURES) not in KNOWN or not c.startswith(FEATURES)):
                raise InputError(
                    f"{path} names the class {odd[0]!r}, which would be imported: only text, numbers and lists of "
                    "tensorflow_datasets itself are read; give the texts as .txt files"
                )


def _classes(content: Any) -> Iterator[str]:
    """Yield the classes that a features.json names, in its present form and in its earlier one ("type", "content")."""
    if isinstance(content, list):
        for item in content:
            yield from _classes(item)
    if not isinstance(content, dict):
        return
    earlier = ("type",) if "content" in content else ()
    for key, value in content.items():
        if key in ("pythonClassName", "python_class_name", *earlier):
            yield str(value)
        elif key in ("json", "content") and isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            yield from _classes(parse_json(value, "features.json"))
        else:
            yield from _classes(value)


def _read_tfds(source: str) -> list[Document]:
    _, _, options = _parse_tfds(source)
    field = options.get("field", "text")
    rows = read_rows(source)
    documents = [Document(name=f"{source}#{i}", text=_field(row, field, source)) for i, row in enumerate(rows)]
    documents = [d for d in documents if d.text.strip()]
    if not documents:
        raise InputError(f"{source} holds no text in its field {field!r}")
    return documents


def _parse_tfds(source: str) -> tuple[str, str, dict[str, str]]:
    where, _, query = source.removeprefix("tfds:").partition("?")
    name, _, split = where.rpartition("/")
    options = dict(urllib.parse.parse_qsl(query))
    if not name or not split or set(options) - {"field", "data_dir"}:
        raise InputError(f"{source} is not understood; expected tfds:NAME/SPLIT[?field=text][&data_dir=DIR]")
    return name, split, options


def _field(row: dict, field: str, source: str) -> str:
    if field not in row:
        raise InputError(f"{source} has no field {field!r}; it has {', '.join(sorted(row))}")
    value = row[field]
    if not isinstance(value, bytes | str):
        raise InputError(f"{source}: the field {field!r} holds {type(value).__name__}, expected text")
    try:
        return _normalise(value.decode("utf-8") if isinstance(value, bytes) else value)
    except UnicodeDecodeError as error:
        raise InputError(f"{source}: the field {field!r} is not UTF-8 text (byte offset {error.start})") from error


# ---- unwrapping

_ROMAN = r"(?=[IVXLC])C{0,3}(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})"
_WORD = (
    r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
    r"|eighteen|nineteen|(?:twenty|thirty|forty|fifty)(?:[- ]\w+)?)"
)
_NUMBER = rf"(?:{_ROMAN}|(?i:[ivxlc]+|{_WORD})|\d{{1,3}})"
_NUMERAL = re.compile(rf"(?:(?i:chapter|book|part)\s+(?i:the\s+)?{_NUMBER}|{_ROMAN}|\d{{1,3}})\s*[.:]?")
_CONTENTS = re.compile(r"(?i:table of contents|contents|list of chapters)\s*[.:]?")
_ENTRY = re.compile(rf"\s*(?:(?i:chapter|book|part)\b|{_NUMBER}(?:[.:)]|\s{{2,}})|\d{{1,3}}\s)|.*\s\d{{1,3}}\s*$")
_WRAPPED_SHARE = 0.75  # a line break is a wrap if the next word would have passed this share of the width


def unwrap_lines(text: str) -> str:
    """Return a text with wrapped lines joined, chapter numerals and lists of contents dropped, verse kept in lines.

    A line of nothing but white space ends a paragraph. A line break stays where the next line is indented, and where
    the line ended early (the next word would have fitted). So verse, letter heads and title pages keep their lines.
    """
    grouped = itertools.groupby(text.split("\n"), key=lambda line: bool(line.strip()))
    paragraphs = [list(lines) for filled, lines in grouped if filled]
    lengths = sorted(len(line.rstrip()) for lines in paragraphs for line in lines)
    width = lengths[len(lengths) * 9 // 10] if lengths else 0
    kept, in_contents = [], False
    for lines in paragraphs:
        lines = lines[1:] if _NUMERAL.fullmatch(lines[0].strip()) else lines
        if not lines:
            continue
        in_contents = bool(_CONTENTS.fullmatch(lines[0].strip())) or (in_contents and _is_entries(lines))
        if not in_contents:
            kept.append(_unwrap_paragraph(lines, _WRAPPED_SHARE * width))
    return "\n\n".join(kept) + "\n" if kept else ""


def _is_entries(lines: list[str]) -> bool:
    return all(line.startswith(" ") for line in lines) or all(map(_ENTRY.match, lines))


def _unwrap_paragraph(lines: list[str], wrapped: float) -> str:
    joined = lines[0].rstrip()
    for before, line in itertools.pairwise(lines):
        words = line.split(maxsplit=1)
        fitted = len(before.rstrip()) + 1 + len(words[0]) <= wrapped
        if fitted or line.startswith((" ", "\t")):
            joined += "\n" + line.rstrip()
        elif joined.endswith("-"):  # the line was broken after a hyphen or a dash
            joined += line.strip()
        else:
            joined += " " + line.strip()
    return joined
