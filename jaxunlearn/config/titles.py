"""The title of a run whose model or text is not that of the configuration file it started from."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from jaxunlearn.config.fields import Config

OTHER = ("model", "text.forget", "universe.people")  # a title speaks of these
LISTED = 2  # texts that a title names


def retitled(config: Config, overrides: Sequence[str]) -> Config:
    """Return the configuration with a title that follows from its model and text, where overrides change one of them.

    A title that is given as an override is kept.
    """
    given = {item.partition("=")[0] for item in overrides}
    if "title" in given or not given.intersection(OTHER):
        return config
    return dataclasses.replace(config, title=derived(config))


def derived(config: Config) -> str:
    """Return a title of a run by its text to forget and its model: "Peter-Pan_16, forgotten by Llama-2-7b-chat-hf"."""
    names = [_name(source) for source in config.text.forget]
    text = "The built-in universe" if config.universe.people else ", ".join(names[:LISTED])
    more = len(names) - LISTED
    text += f" and {more} more" if more > 0 and not config.universe.people else ""
    model = _name(config.model) if config.model else "a model made from scratch"
    return f"{text or 'No text'}, forgotten by {model}"


def _name(source: str) -> str:
    """Return what a path, a glob or a tfds: address is called: its last part, without the ending of a text file.

    A path without a name, as "." is, is called as the folder that it means.
    """
    last = Path(source.partition("?")[0]).name or Path(source).resolve().name or source
    for ending in (".txt", ".json", ".jsonl", ".gguf"):
        last = last.removesuffix(ending)
    return last
