"""Chat templates: where a model directory keeps them, and how a prompt is rendered through one.

Both are as in transformers: chat_template.jinja and additional_chat_templates/NAME.jinja go before `chat_template` in
tokenizer_config.json, and a template runs in jinja2's sandbox, which keeps it from everything but its own text.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from jaxunlearn.errors import InputError
from jaxunlearn.files import read_json, read_text

FILE, FOLDER, DEFAULT = "chat_template.jinja", "additional_chat_templates", "default"
SAMPLE = "7305184296"  # a prompt that no template has in its own words, and that none has a reason to escape


def template_files(directory: Path) -> list[Path]:
    """Return the files of a model directory that hold one chat template each, the default one first."""
    found = [directory / FILE, *sorted((directory / FOLDER).glob("*.jinja"))]
    return [path for path in found if path.is_file()]


def templates(directory: Path) -> dict[str, str]:
    """Return {name: chat template} of a model directory; "default" is the one without a name, {}: it has none.

    Raises InputError where a file or the attribute cannot be read.
    """
    directory = Path(directory)
    if files := template_files(directory):
        names = [DEFAULT if path == directory / FILE else path.stem for path in files]
        try:
            return {name: read_text(path) for name, path in zip(names, files, strict=True)}
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{directory}: a chat template cannot be read as UTF-8 text ({error})") from None
    path = directory / "tokenizer_config.json"
    found = read_json(path, dict).get("chat_template") if path.is_file() else None
    try:
        if isinstance(found, list):  # of {"name": ..., "template": ...}, as older versions write named ones
            found = {one["name"]: one["template"] for one in found}
        named = found if isinstance(found, dict) else {DEFAULT: found} if found else {}
        if all(isinstance(text, str) for pair in named.items() for text in pair):
            return named
    except (KeyError, TypeError):
        pass
    raise InputError(f"{path}: chat_template is neither a text nor a list of named ones; copy it from the model again")


def render(directory: Path, names: Mapping[str, str], prompt: str) -> str:
    """Return a prompt as a user's message in the directory's default template, up to where the answer begins.

    names: {"bos_token": "<s>", ...}, the special tokens that the template may write. Raises InputError where there is
    no template, where it does not render, and where it drops what is asked. That is tried with SAMPLE: a template may
    escape the prompt, as by `tojson`, or write its lines in its own way.
    """
    found = templates(directory)
    if DEFAULT not in found:
        has = f"only templates with a name ({', '.join(found)})" if found else "no chat template"
        raise InputError(
            f"{directory} has {has}: a prompt can be asked through a chat where the model has {FILE}, or chat_template "
            "in tokenizer_config.json; leave out --chat (eval.chat) for a model that was not trained on chats"
        )
    try:
        told = _sampled(found[DEFAULT], tuple(names.items()))
        text = _written(found[DEFAULT], names, prompt)
    except Exception as error:  # a template is a program: whatever it raises says why it does not render
        raise InputError(f"the chat template of {directory} does not render: {error}") from error
    if SAMPLE not in told:
        raise InputError(f"the chat template of {directory} renders without the prompt: {told[:200]!r}")
    return text


def _written(template: str, names: Mapping[str, str], prompt: str) -> str:
    """Return what a template renders for one message of a user; raises whatever it raises."""
    message = {"role": "user", "content": prompt}
    return _compiled(template).render(
        messages=[message], tools=None, documents=None, add_generation_prompt=True, **names
    )


@lru_cache
def _sampled(template: str, names: tuple[tuple[str, str], ...]) -> str:
    return _written(template, dict(names), SAMPLE)


@lru_cache
def _compiled(template: str):
    import jinja2
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_generation(), loopcontrols])

    def refuse(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    made.filters["tojson"] = tojson  # jinja2's own writes & < > ' for a web page
    known: Any = made.globals
    known |= {"raise_exception": refuse, "strftime_now": lambda form: datetime.now().strftime(form)}
    return made.from_string(template)


def _generation():
    """Return the extension for {% generation %}, which marks what an assistant wrote; here it is only that text."""
    from jinja2.ext import Extension

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    return type("Generation", (Extension,), {"tags": {"generation"}, "parse": parse})
