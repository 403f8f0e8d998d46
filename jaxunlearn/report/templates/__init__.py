"""The templates of the pages, and how they are rendered."""

import re
from functools import cache
from pathlib import Path

from jaxunlearn.files import read_text


@cache
def environment():
    """Return the jinja2 environment of this folder: values are escaped, and an unknown name raises UndefinedError."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["whole"] = whole
    return made


def whole(text: str) -> str:
    """Return a text in which no number is broken at the hyphen of its exponent."""
    return re.sub(r"(\de)-(\d)", "\\1\u2011\\2", text)


def script(name: str) -> str:
    """Return a script of this folder, as it stands between the tags of the page."""
    return read_text(Path(__file__).parent / name)
