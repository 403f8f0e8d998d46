"""Find a model: a directory, a GGUF file, or a name on the Hugging Face hub."""

from pathlib import Path

from jaxunlearn.errors import InputError
from jaxunlearn.models.gguf.read import unpack


def find_model(name: str | Path) -> Path:
    """Return a local model directory. A GGUF file is unpacked into one; a hub name (owner/model) is downloaded first.

    Of a hub name weights and JSON files are fetched, no code. Raises InputError where the download fails, and for a
    file that is missing or cannot be read as GGUF.
    """
    name = str(name)
    if Path(name).is_file():
        return unpack(Path(name))
    if name.endswith(".gguf") and not Path(name).exists():
        raise InputError(f"{name} does not exist; expected a GGUF file (`make smollm2` fetches one)")
    if Path(name).exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        return Path(name)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "tokenizer.model"]))
    except Exception as error:  # no network, no such name, no permission: the user can act on each
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{name} is no local directory and could not be fetched from the hub ({reason})") from None
