"""Find a model: a directory, or a name on the Hugging Face hub."""

from pathlib import Path

from jaxunlearn.errors import InputError


def find_model(name: str | Path) -> Path:
    """Return a local model directory; a hub name (owner/model) is downloaded first: weights and JSON files, no code.

    Raises InputError where the download fails.
    """
    name = str(name)
    if Path(name).exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        return Path(name)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "tokenizer.model"]))
    except Exception as error:  # no network, no such name, no permission: the user can act on each
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{name} is no local directory and could not be fetched from the hub ({reason})") from None
