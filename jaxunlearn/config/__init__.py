"""Configuration: frozen dataclasses, read from one Python file a run, with dotted overrides."""

from jaxunlearn.config.check import check
from jaxunlearn.config.fields import (
    Anchors,
    Attack,
    Config,
    ContextAttack,
    Eval,
    Extract,
    Llama,
    Llm,
    LlmJudge,
    Mesh,
    ProbesAttack,
    QuantiseAttack,
    RttAttack,
    Run,
    SharesAttack,
    Sweep,
    Text,
    Universe,
    Whp,
)
from jaxunlearn.config.load import as_dict, find_config, load_config, of_method, override, to_json, with_method
from jaxunlearn.config.training import (
    Adversary,
    Collapse,
    Erase,
    Lora,
    Mudman,
    Pretrain,
    Repair,
    Reset,
    Select,
    Train,
    Unlearn,
)

__all__ = [
    "Adversary", "Anchors", "Attack", "Collapse", "Config", "ContextAttack", "Erase", "Eval", "Extract", "Llama", "Llm",
    "LlmJudge", "Lora", "Mesh", "Mudman", "Pretrain", "ProbesAttack", "QuantiseAttack", "Repair", "Reset", "RttAttack",
    "Run", "Select", "SharesAttack", "Sweep", "Text", "Train", "Universe", "Unlearn", "Whp", "as_dict", "check",
    "find_config", "load_config", "of_method", "override", "to_json", "with_method",
]  # fmt: skip
