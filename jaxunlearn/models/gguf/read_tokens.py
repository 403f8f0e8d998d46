"""Read a tokenizer from the fields of a GGUF file, and write it as a Hugging Face directory has it.

Byte-level BPE becomes tokenizer.json. SentencePiece's BPE becomes tokenizer.model, whose library merges as llama.cpp
does: the pair with the best score first.
"""

import re
from pathlib import Path
from typing import Any

from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.files import json_text
from jaxunlearn.models.gguf import BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED, sentencepiece_format
from jaxunlearn.models.gguf.cuts import ALIASES, CUTS, Cut

KEY = "tokenizer.ggml."
IDS = {"bos": "bos_token_id", "eos": "eos_token_id", "unk": "unknown_token_id", "pad": "padding_token_id"}
ENDS = ("eos_token_id", "eot_token_id", "eom_token_id")  # the end of a text, of a turn, of a message
PADDING = re.compile(r"\[PAD\d+\]")  # fills the vocabulary up to the weights' rows; no part of the tokenizer
ABSENT = "<absent>"  # SentencePiece has a default name for every special piece


def write_tokenizer(fields: dict[str, Any], folder: Path, V: int, path: Path) -> dict:
    """Write tokenizer files into a folder; return the special tokens' ids, as config.json has them.

    fields: {key: value} of the GGUF file at `path`, whose weights have V rows. Raises InputError where it has no
    tokenizer, and for one that is not known here.
    """
    kind, tokens = fields.get(f"{KEY}model"), fields.get(f"{KEY}tokens")
    if kind in (None, "none", "no_vocab") or not tokens:
        raise InputError(f"{path} holds no tokenizer; fetch a file with one")
    if kind not in ("gpt2", "llama"):
        raise InputError(f"{path} has a tokenizer of the kind {kind!r}: expected gpt2 (byte-level BPE) or llama")
    if len(tokens) > V:
        raise InputError(f"the tokenizer in {path} has {len(tokens)} tokens, the weights only {V} rows")
    types = list(fields.get(f"{KEY}token_type") or [NORMAL] * len(tokens))
    ids = {key: n for key in {*IDS.values(), *ENDS} if (n := fields.get(KEY + key)) is not None and n < len(tokens)}
    for key in ids:
        if types[ids[key]] == NORMAL:
            types[ids[key]] = UNKNOWN if key == IDS["unk"] and UNKNOWN not in types else CONTROL
    special = {name: ids[key] for name, key in IDS.items() if key in ids}
    cut = _cut(fields.get(f"{KEY}pre"), path) if kind == "gpt2" else Cut(())
    adds_bos = fields.get(f"{KEY}add_bos_token", kind == "llama" or cut.whole_words) and "bos" in special
    if kind == "gpt2":
        bos = (tokens[special["bos"]], special["bos"]) if adds_bos else None
        made = byte_level(tokens, types, fields.get(f"{KEY}merges") or [], cut, bos)
        (folder / "tokenizer.json").write_text(json_text(made, ensure_ascii=False), encoding="utf-8")
    else:
        scores = fields.get(f"{KEY}scores") or [0.0] * len(tokens)
        space, rows = fields.get(f"{KEY}add_space_prefix", True), list(zip(tokens, scores, types, strict=True))
        (folder / "tokenizer.model").write_bytes(sentencepiece(rows, special, space, path))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast" if kind == "gpt2" else "LlamaTokenizer",
        "add_bos_token": bool(adds_bos), "add_eos_token": bool(fields.get(f"{KEY}add_eos_token", False)),
        **{f"{name}_token": tokens[n] for name, n in special.items()}, "clean_up_tokenization_spaces": False,
    }  # fmt: skip
    if templates := chat_templates(fields):
        config["chat_template"] = templates
    (folder / "tokenizer_config.json").write_text(json_text(config, indent=1, ensure_ascii=False), encoding="utf-8")
    ends = list(dict.fromkeys(ids[key] for key in ENDS if key in ids))
    numbers = {"bos_token_id": special.get("bos"), "eos_token_id": ends if len(ends) > 1 else special.get("eos")}
    (folder / "config.json").write_text(json_text(numbers))  # for the reading that follows; the caller's is whole
    try:
        load_tokenizer(folder)
    except InputError as error:
        raise InputError(f"the tokenizer in {path} cannot be read: {error}") from None
    return numbers | {"pad_token_id": special.get("pad")}


def _cut(name: str | None, path: Path) -> Cut:
    """Return how llama.cpp cuts text by a pre-tokeniser's name; InputError for one that is not known here."""
    known = ALIASES.get(name or "", name)
    if known not in CUTS:
        names = ", ".join(sorted({*CUTS, *ALIASES}))
        given = f"the pre-tokeniser {name!r}" if name else "no pre-tokeniser's name"
        raise InputError(f"{path} has {given}: how it cuts text is not known here; expected one of {names}")
    return CUTS[known]


def byte_level(tokens: list[str], types: list[int], merges: list[str], cut: Cut, bos: tuple[str, int] | None) -> dict:
    """Return the tokenizer.json of a byte-level BPE; bos: the token (and its id) that is put before a text."""
    padding = {n for n, token in enumerate(tokens) if types[n] == UNUSED and PADDING.fullmatch(token)}
    unknown = tokens[types.index(UNKNOWN)] if UNKNOWN in types else None
    places = [merge.index(" ", 1) for merge in merges]  # a piece may begin with a space
    added = [
        {"id": n, "content": tokens[n], "special": types[n] != USER_DEFINED, "normalized": False,
         "single_word": False, "lstrip": False, "rstrip": False}
        for n, kind in enumerate(types) if kind in (CONTROL, USER_DEFINED, UNKNOWN)
    ]  # fmt: skip
    after: dict[str, Any] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
    if bos:
        first = {"SpecialToken": {"id": bos[0], "type_id": 0}}
        one, two = ({"Sequence": {"id": name, "type_id": n}} for n, name in enumerate("AB"))
        named = {bos[0]: {"id": bos[0], "ids": [bos[1]], "tokens": [bos[0]]}}
        after = {
            "type": "TemplateProcessing",
            "single": [first, one],
            "pair": [first, one, two],
            "special_tokens": named,
        }
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "NFC"} if cut.composed else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": list(cut.steps)},
        "post_processor": after,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": unknown,
            "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
            "ignore_merges": cut.whole_words,
            "vocab": {token: n for n, token in enumerate(tokens) if n not in padding},
            "merges": [[merge[:n], merge[n + 1 :]] for merge, n in zip(merges, places, strict=True)],
        },
    }  # fmt: skip


def sentencepiece(rows: list, special: dict[str, int], space: bool, path: Path) -> bytes:
    """Return the tokenizer.model of (piece, score, kind) rows; space: whether a text gets one in front.

    Raises InputError without an unknown token, which SentencePiece needs.
    """
    spm = sentencepiece_format()
    while rows and rows[-1][2] == UNUSED and PADDING.fullmatch(rows[-1][0]):
        rows = rows[:-1]
    kinds = [kind for _, _, kind in rows]
    if kinds.count(UNKNOWN) != 1:
        raise InputError(f"the tokenizer in {path} has {kinds.count(UNKNOWN)} unknown tokens; SentencePiece needs one")
    whole = kinds.count(BYTE) == 256
    model = spm.ModelProto()
    for piece, score, kind in rows:
        model.pieces.add(piece=piece, score=score, type=UNUSED if kind == BYTE and not whole else kind)
    t, n = model.trainer_spec, model.normalizer_spec
    t.model_type, t.vocab_size, t.byte_fallback = spm.TrainerSpec.BPE, len(rows), whole
    special = special | {"unk": kinds.index(UNKNOWN)}
    for name in IDS:
        setattr(t, f"{name}_id", special.get(name, -1))
        setattr(t, f"{name}_piece", rows[special[name]][0] if name in special else ABSENT)
    n.name, n.add_dummy_prefix, n.remove_extra_whitespaces, n.escape_whitespaces = "identity", space, False, True
    return model.SerializeToString(deterministic=True)


def chat_templates(fields: dict[str, Any]) -> str | list[dict] | None:
    """Return the chat templates as tokenizer_config.json has them: one, or a list where some have names."""
    first, start = fields.get("tokenizer.chat_template"), "tokenizer.chat_template."
    named = {key.removeprefix(start): text for key, text in fields.items() if key.startswith(start)}
    if not named:
        return first
    every = ({"default": first} if first else {}) | named
    return [{"name": name, "template": text} for name, text in every.items()]
