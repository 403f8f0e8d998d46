"""Subcommands that tell about configurations: configs, config show; and their part of `run CONFIG --help`."""

import ast
import difflib
import os
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

from jaxunlearn.config import load_config
from jaxunlearn.config.load import SHIPPED, find_config, shipped
from jaxunlearn.config.meanings import Setting, range_in_words, settings
from jaxunlearn.errors import InputError
from jaxunlearn.files import json_text, read_text

KEY, VALUE = 26, 20  # columns at most; what is longer gets a line of its own, or is cut


def add_configs(add) -> None:
    command = add("configs", configs, "the configurations that ship with the package, one line each")
    command.add_argument("--json", action="store_true")


def configs(a) -> None:
    """Print the shipped configurations: name and first line of the docstring."""
    found = {name: about(str(path)) for name, path in shipped().items()}
    if a.json:
        rows = [{"name": n, "path": str(shipped()[n]), "one_line": t.split("\n")[0], "about": t}
                for n, t in found.items()]  # fmt: skip
        print(json_text(rows))
        return
    wide = max(map(len, found)) + 2
    for name, text in found.items():
        print(_hung(name.ljust(wide), text.split("\n")[0], wide))
    print("\njaxunlearn run NAME --help says what one needs and does; jaxunlearn run NAME runs it")


def about(name: str) -> str:
    """Return the docstring of a configuration's file, which is not run; "" where it has none or is no Python."""
    try:
        return ast.get_docstring(ast.parse(read_text(find_config(name)))) or ""
    except (SyntaxError, ValueError):
        return ""  # load_config says what is wrong


def add_config(add) -> None:
    command = add("config", lambda a: a.action(a), "tell what the settings of a configuration are and mean")
    actions = command.add_subparsers(required=True, metavar="show")
    text = "every setting of a configuration, or those named: value, default, meaning"
    show = actions.add_parser("show", help=text, description=text)
    show.set_defaults(action=show_command)
    show.add_argument("config", help="a file with a config() function, or a name that `jaxunlearn configs` lists")
    told = "a setting or a section, as whp.alpha or whp; key=value shows what an override does"
    show.add_argument("words", nargs="*", metavar="KEY|key=value", help=told)
    show.add_argument("--changed", action="store_true", help="only settings that are not at their default")
    show.add_argument("--json", action="store_true")


def show_command(a) -> None:
    """Print the settings of a configuration with their meanings."""
    config = load_config(a.config, [word for word in a.words if "=" in word])
    every = settings(config)
    keys = [word for word in a.words if "=" not in word]
    found = [s for key in keys for s in _named(every, key)] if keys else every
    if a.changed:
        found = [s for s in found if not s.section and s.value != s.default]
    if a.json:
        print(json_text([_row(s) for s in found if not s.section]))
    elif len(found) == 1 and keys:
        print(_one(found[0]))
    else:
        print(table(found))


def _named(every: Sequence[Setting], key: str) -> list[Setting]:
    """Return a setting, or a section and what it holds. Raises InputError, with close names, for an unknown key."""
    found = [s for s in every if s.key == key or s.key.startswith(f"{key}.")]
    if not found:
        names = [s.key for s in every]
        ends = [name for name in names if name.split(".")[-1] == key.split(".")[-1]]
        close = list(dict.fromkeys([*difflib.get_close_matches(key, names, n=3), *ends]))[:5]
        hint = f"did you mean {', '.join(close)}?" if close else "`jaxunlearn config show CONFIG` lists all"
        raise InputError(f"no setting {key[:100]!a}; {hint}")
    return found


def _row(s: Setting) -> dict[str, Any]:
    """Return a setting as JSON's values."""
    return {"key": s.key, "kind": s.kind, "value": s.value, "default": s.default, "meaning": s.meaning}


def _one(s: Setting) -> str:
    """Return all that is known of one setting."""
    bounds = range_in_words(s.key)
    kind = f"{s.kind}, {bounds}" if bounds else s.kind
    default = "none, it must be given" if s.default is None and s.kind == "text" else shown(s.default)
    rows = {"value": shown(s.value), "default": default, "kind": kind, "meaning": s.meaning}
    return "\n".join([s.key, *(_hung(f"  {name:9} ", text, 12) for name, text in rows.items())])


def table(found: Sequence[Setting]) -> str:
    """Return settings as lines of key, value and meaning; * marks a value that is not the default."""
    lines = []
    for s in found:
        if s.section:
            lines += ["", _hung(f"{s.key}: ", s.meaning, 4)]
            continue
        changed = s.value != s.default
        value = shown(s.value)
        value = value if len(value) <= VALUE else f"{value[: VALUE - 3]}..."
        usual = f" (default {shown(s.default)})" if changed and s.default not in (None, "", ()) else ""
        head = f"{'*' * changed or ' '} {s.key:{KEY}} {value:{VALUE}} "
        lines.append(_hung(head, s.meaning + usual, 4 + KEY + VALUE))
    return "\n".join(lines).lstrip("\n")


def shown(value: Any) -> str:
    """Return a value as an override would give it; "-" for an empty text or list."""
    if isinstance(value, tuple | list):
        texts = [str(v) for v in value]
        return json_text(texts, ensure_ascii=False) if any("," in t for t in texts) else ",".join(texts) or "-"
    return str(value) if value != "" else "-"


def _hung(head: str, text: str, indent: int) -> str:
    """Return a text that begins after `head`; its further lines are indented."""
    wide = min(max(shutil.get_terminal_size((120, 24)).columns, 60), 120)
    return textwrap.fill(
        text, wide, initial_indent=head, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    ).rstrip() or head.rstrip()  # fmt: skip


def help_page(name: str, overrides: Sequence[str] = ()) -> str:
    """Return what a configuration says of itself, and its settings."""
    found = settings(load_config(name, [o for o in overrides if "=" in o]))
    path = find_config(name)
    where = path.name if path.parent in SHIPPED else os.fspath(path)
    head = f"{where}: {about(name) or 'no docstring says what it does'}"
    note = "Settings (key=value overrides one; * marks those that the configuration sets):"
    return f"{head}\n\n{note}\n\n{table(found)}\n"
