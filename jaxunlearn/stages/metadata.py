"""The metadata of a model card, as the hub reads it: licence and base model, from what the baseline says of itself."""

import re
from pathlib import Path
from typing import Any

from jaxunlearn.errors import InputError
from jaxunlearn.files import read_json

NAMED = re.compile(r"[\w.-]+/[\w.-]+")  # OWNER/NAME
CACHED = re.compile(r"models--([\w.-]+?)--([\w.-]+)")  # a folder of the hub's cache
LICENCE = ("license", "license_name", "license_link")
UNKNOWN = "unknown"  # the hub's word for a licence that nobody stated


def head(source: Path, base: str | None, library: str) -> tuple[str, str]:
    """Return (the metadata between its two lines, a sentence on the licence) for a model in a folder.

    base: what its run began from, as the configuration names it; "" for fresh weights, None where no run made it. The
    licence is the baseline's, as the card beside its weights states it, or the model's own.
    """
    from huggingface_hub import ModelCardData

    run = source.resolve().parent
    stated = _stated((run / "baseline").resolve()) or _stated(source)
    name = base_name(run, base)
    known: dict[str, Any] = {key: stated[key] for key in LICENCE if isinstance(stated.get(key), str)}
    said = _licence_said(known, base)
    known.setdefault("license", UNKNOWN)
    if name:
        known |= {"base_model": name, "base_model_relation": "finetune"}
    text = ModelCardData(
        **known, library_name=library, pipeline_tag="text-generation",
        tags=["unlearning", "jaxunlearn"],
    ).to_yaml(line_break="\n")  # fmt: skip
    return f"---\n{text.strip()}\n---", said


def _licence_said(known: dict[str, Any], base: str | None) -> str:
    if "license" in known:
        return f"Licence: {known.get('license_name', known['license'])}, that of the model that this was made from."
    if base == "":
        return "The weights were trained from nothing: write a licence above, in the place of `unknown`."
    return (
        "The licence of the model that this was made from holds for this one too. It is not on record beside the "
        "weights: write it above, in the place of `unknown`, before you give this away."
    )


def base_name(run: Path, base: str | None) -> str:
    """Return OWNER/NAME of what a run began from, "" where nothing says it: the name given, or its cached copy's."""
    if base and NAMED.fullmatch(base) and not Path(base).exists():
        return base
    folder = (run / "baseline").resolve()
    for part in folder.parts:
        if found := CACHED.fullmatch(part):
            return f"{found[1]}/{found[2]}"
    try:
        named = read_json(folder / "config.json", dict).get("_name_or_path")
    except InputError:
        return ""
    return named if isinstance(named, str) and NAMED.fullmatch(named) and not Path(named).exists() else ""


def _stated(folder: Path) -> dict[str, Any]:
    """Return the metadata of the card in a folder, {} without one that can be read."""
    from huggingface_hub import ModelCard

    try:
        return ModelCard.load(folder / "README.md", ignore_metadata_errors=True).data.to_dict()
    except Exception:  # whatever a stranger's card makes of the libraries: the licence is then not on record
        return {}
