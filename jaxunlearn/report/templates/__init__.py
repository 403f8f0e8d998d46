"""The templates of the two pages, the report and a labelled block, and how they are rendered."""

from pathlib import Path


def environment():
    """Return the jinja2 environment of this folder: values are escaped, and an unknown name raises UndefinedError."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
