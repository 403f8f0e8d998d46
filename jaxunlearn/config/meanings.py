"""What each field of a configuration means: the comment beside it, or above it, in the source of the dataclasses.

A field that is a section has its class's docstring for a meaning, unless it has a comment of its own.
"""

import ast
import dataclasses
import inspect
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from jaxunlearn.config import attacks, fields, training
from jaxunlearn.config.bounds import range_of
from jaxunlearn.config.fields import Config


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A key of a configuration.

    key: with dots, as overrides name it. kind: what its values are, in words. value, default: in this configuration,
    and where nothing is said. meaning: in words. section: it holds other keys.
    """

    key: str
    kind: str
    value: Any
    default: Any
    meaning: str
    section: bool = False


@cache
def comments() -> dict[str, dict[str, str]]:
    """Return {class: {field: its comment}} of the configuration's dataclasses; a field without a comment has none."""
    found: dict[str, dict[str, str]] = {}
    for module in (fields, training, attacks):
        source = inspect.getsource(module)
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        said = {t.start[0]: t for t in tokens if t.type == tokenize.COMMENT}
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef):
                found[node.name] = {name: text for name, text in _commented(node, said) if text}
    return found


def _commented(node: ast.ClassDef, said: dict[int, tokenize.TokenInfo]) -> Iterator[tuple[str, str]]:
    """Yield (field, comment) of a class; said: {line: comment}."""
    for line in (n for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)):
        first = line.lineno
        while (above := said.get(first - 1)) and not above.line[: above.start[1]].strip():
            first -= 1
        beside = range(first, (line.end_lineno or line.lineno) + 1)
        texts = (said[n].string.lstrip("#").strip() for n in beside if n in said)
        yield ast.unparse(line.target), " ".join(texts).removeprefix("fmt: skip")


def meaning_of(section: type, name: str) -> str:
    """Return what a section's field means, "" where its source does not say."""
    for kind in section.__mro__:
        if text := comments().get(kind.__name__, {}).get(name):
            return text
    inner = next(f.type for f in dataclasses.fields(section) if f.name == name)
    return _summary(inner) if dataclasses.is_dataclass(inner) else ""


def _summary(section: Any) -> str:
    return " ".join((section.__doc__ or "").split("\n\n")[0].split())


def settings(config: Config | None = None) -> list[Setting]:
    """Return every key of a configuration in the order of its fields, a section before the keys in it.

    Without a configuration values are the defaults.
    """
    return list(_settings(config or Config(name="")))


def _settings(section: Any, usual: Any = None, prefix: str = "") -> Iterator[Setting]:
    """Yield the keys of a section; usual: the section as it is where nothing is said, None at the top."""
    for f in dataclasses.fields(section):
        key, value = f"{prefix}{f.name}", getattr(section, f.name)
        default = getattr(usual, f.name) if usual is not None else _default(f)
        inner = dataclasses.is_dataclass(value)
        kind = "section" if inner else kind_of(f.type)
        meaning = meaning_of(type(section), f.name)
        yield Setting(key=key, kind=kind, value=value, default=default, meaning=meaning, section=inner)
        if inner:
            yield from _settings(value, default, f"{key}.")


def _default(f: dataclasses.Field) -> Any:
    """Return a field's default; None for one that must be given."""
    if f.default_factory is not dataclasses.MISSING:
        return f.default_factory()
    return None if f.default is dataclasses.MISSING else f.default


def kind_of(kind: Any) -> str:
    """Return in words what the values of a type are: "whole number", "list of texts", "mean, penalty or -inf"."""
    words = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        return f"list of {words[item]}s" if item in words else f"list of: {kind_of(item)}"
    if get_origin(kind) is Literal:
        *others, last = map(str, get_args(kind))
        return f"{', '.join(others)} or {last}" if others else last
    if isinstance(kind, UnionType):
        return " or ".join("None" if k is type(None) else kind_of(k) for k in get_args(kind))
    return words.get(kind, getattr(kind, "__name__", str(kind)))


def range_in_words(key: str) -> str:
    """Return what bounds the number of a key, "" for what is no number."""
    *sections, name = key.split(".")
    at: Any = Config(name="")
    for section in sections:
        at = getattr(at, section)
    try:
        within = range_of(type(at), name)
    except KeyError:
        return ""
    return f"{within}{f': {within.why}' if within.why else ''}"
