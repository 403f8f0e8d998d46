"""Find a model: a directory, a GGUF file, or a name on the Hugging Face hub."""

import os
import re
from pathlib import Path

from jaxunlearn.errors import InputError, shown
from jaxunlearn.models.gguf.read import unpack

HUB = re.compile(r"[^./~][^/]*/[^/]+")  # OWNER/NAME
LONGEST = 4096  # characters of a path
FETCHED = ["*.json", "*.jinja", "*.safetensors", "tokenizer.model"]
COPIES = ["consolidated*", "original/*"]  # the same weights again, in the layouts of Mistral's and Meta's own code


def find_model(name: str | Path) -> Path:
    """Return a local model directory. A GGUF file is unpacked into one; a hub name (owner/model) is downloaded first.

    Of a hub name weights and JSON files are fetched, no code. Raises InputError where the download fails, and for a
    file that is missing or cannot be read as GGUF.
    """
    name = str(name)
    if os.path.isfile(name):  # Path.is_file raises for a name that is too long
        return unpack(Path(name))
    if "\0" in name or len(name) > LONGEST or any(len(p.encode("utf-8", "replace")) > 255 for p in Path(name).parts):
        raise InputError(f"{shown(name)} is no name of a model: expected a directory, a GGUF file or OWNER/NAME")
    if name.endswith(".gguf") and not os.path.exists(name):
        raise InputError(f"{name} does not exist; expected a GGUF file (`make smollm2` fetches one)")
    return Path(name) if os.path.exists(name) or not HUB.fullmatch(name) else fetched(name)


def fetched(name: str) -> Path:
    """Return the local directory of a model on the hub, downloaded where the cache has none. Raises InputError."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=FETCHED, ignore_patterns=COPIES))
    except Exception as error:  # no network, no such name, no permission: the user can act on each
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{name} is no local directory and could not be fetched from the hub ({reason})") from None
