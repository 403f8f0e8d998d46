"""Configuration: frozen dataclasses, one Python file a run, dotted overrides; what configs/ import."""

from jaxunlearn.config.check import check
from jaxunlearn.config.fields import (
    ABLATIONS,
    ATTACKS,
    CHEAP_ATTACKS,
    CONTROLS,
    Anchors,
    Attack,
    Config,
    Eval,
    Extract,
    Llama,
    Llm,
    LlmJudge,
    Mesh,
    Run,
    Sweep,
    Text,
    Universe,
    Whp,
)
from jaxunlearn.config.load import as_dict, find_config, load_config, override, preset, to_json
from jaxunlearn.config.training import Lora, Pretrain, Repair, Reset, Train, Unlearn

__all__ = [
    "ABLATIONS", "ATTACKS", "CHEAP_ATTACKS", "CONTROLS", "Anchors", "Attack", "Config", "Eval", "Extract", "Llama",
    "Llm", "LlmJudge", "Lora", "Mesh", "Pretrain", "Repair", "Reset", "Run", "Sweep", "Text", "Train", "Universe",
    "Unlearn", "Whp", "as_dict", "check", "find_config", "load_config", "override", "preset", "to_json",
]  # fmt: skip
