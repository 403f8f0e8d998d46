"""Copy the tokenizer of a model directory, so that whoever reads the copy cuts a text as it is cut here."""

import shutil
from pathlib import Path

from jaxunlearn.data.links import inside
from jaxunlearn.data.tokenizer import CONFIG, FILES, Tokenizer, load_tokenizer, read_config
from jaxunlearn.files import json_text

CODE = "auto_map"  # in tokenizer_config.json: files of the model that transformers would import
JSON, ADDS = FILES[0], "add_bos_token"


def copy_tokenizer(source: Path, target: Path) -> dict:
    """Copy the tokenizer's files and return the special token ids that config.json must hold.

    They are files of the directory and, but for templates, were parsed. Names of classes to import (auto_map) are left
    out: no code of a model is run here, nor where its export is read. Where nothing says whether a text begins with
    BOS, the copy says what was chosen here, as other readers choose otherwise.

    Where the tokenizer has no BOS, config.json keeps the one it had; of several EOS all are kept.
    """
    tokenizer = load_tokenizer(source)
    for file in tokenizer.files:
        name = file.relative_to(Path(source))
        (target / name).parent.mkdir(exist_ok=True)
        content = read_config(file) if file.suffix == ".json" and file.name != JSON else {}
        if CODE in content:
            _write(target / name, {k: v for k, v in content.items() if k != CODE})
        else:
            shutil.copyfile(inside(source, str(name)), target / name)
    _say_bos(tokenizer, target)
    bos, eos = tokenizer.bos_id, list(tokenizer.eos_ids)
    if bos is None:
        bos = read_config(Path(source) / "config.json").get("bos_token_id")
    return {"bos_token_id": bos, "eos_token_id": eos if len(eos) > 1 else tokenizer.eos_id}


def _say_bos(tokenizer: Tokenizer, target: Path) -> None:
    """Write add_bos_token beside a lone tokenizer.model where it is missing or null."""
    content = read_config(target / CONFIG)
    if not (target / JSON).is_file() and content.get(ADDS) is None:
        _write(target / CONFIG, content | {ADDS: bool(tokenizer.start)})


def _write(path: Path, content: dict) -> None:
    path.write_text(json_text(content, indent=1))
