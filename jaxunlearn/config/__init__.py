"""Configuration: frozen dataclasses, one Python file a run, dotted overrides; what configs/ import."""

from jaxunlearn.config.check import check
from jaxunlearn.config.fields import (
    ATTACKS,
    CHEAP_ATTACKS,
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
from jaxunlearn.config.load import as_dict, find_config, load_config, override, to_json
from jaxunlearn.config.training import Lora, Pretrain, Repair, Reset, Train, Unlearn

__all__ = [
    "ATTACKS", "CHEAP_ATTACKS", "Anchors", "Attack", "Config", "Eval", "Extract", "Llama",
    "Llm", "LlmJudge", "Lora", "Mesh", "Pretrain", "Repair", "Reset", "Run", "Sweep", "Text", "Train", "Universe",
    "Unlearn", "Whp", "as_dict", "check", "find_config", "load_config", "override", "to_json",
]  # fmt: skip
