"""How a byte-level tokenizer cuts a text before its merges: llama.cpp knows each way by a name alone.

One table for both directions: a GGUF file is written where tokenizer.json cuts as an entry says, and read into that.
"""

from collections.abc import Mapping
from dataclasses import dataclass

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
SPLIT = {"type": "Split", "behavior": "Isolated", "invert": False}
DIGITS = {"type": "Digits", "individual_digits": True}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
WORDS = BYTES | {"use_regex": True}  # by GPT-2's own pattern


@dataclass(frozen=True)
class Cut:
    """One way to cut text."""

    steps: tuple[dict, ...]  # as tokenizer.json spells them
    whole_words: bool = False  # a word of the vocabulary is one token, whatever the merges say ("ignore_merges")
    composed: bool = False  # models that cut so were trained on composed characters (NFC), which llama.cpp leaves out


CUTS: Mapping[str, Cut] = {
    "gpt-2": Cut((WORDS,)),
    "llama-bpe": Cut((SPLIT | {"pattern": {"Regex": LLAMA3}}, BYTES), whole_words=True),
    "qwen2": Cut((SPLIT | {"pattern": {"Regex": QWEN2}}, BYTES), composed=True),
    "smollm": Cut((DIGITS, WORDS)),
}
# Other names for the same, in files of the architectures that are read here.
ALIASES: Mapping[str, str] = {"llama3": "llama-bpe", "llama-v3": "llama-bpe", "deepseek-r1-qwen": "qwen2"}
# What a missing key of a step means to the tokenizers library.
MEANT = {
    "ByteLevel": {"add_prefix_space": True, "use_regex": True},
    "Split": {"pattern": None, "behavior": None, "invert": False},
    "Digits": {"individual_digits": False},
}


def steps(part: dict | None, inside: str) -> list[dict]:
    """Return the steps of a pre-tokeniser or normaliser; `inside` names the list of a Sequence."""
    if not part:
        return []
    return [step for one in part[inside] for step in steps(one, inside)] if part["type"] == "Sequence" else [part]


def _meaning(step: dict) -> tuple:
    """Return what matters of a step."""
    kind = step["type"]
    return kind, *(step.get(key, default) for key, default in MEANT.get(kind, {}).items())


def cut_of(pre_tokenizer: dict | None) -> str | None:
    """Return llama.cpp's name for how tokenizer.json's pre-tokeniser cuts text; None where it has none."""
    given = [_meaning(step) for step in steps(pre_tokenizer, "pretokenizers")]
    return next((name for name, cut in CUTS.items() if given == [_meaning(s) for s in cut.steps]), None)
