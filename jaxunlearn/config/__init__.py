"""Configuration: frozen dataclasses, read from one Python file a run, with dotted overrides."""

from jaxunlearn.config.attacks import (
    Attack,
    BenignAttack,
    ContextAttack,
    DepthAttack,
    DistanceAttack,
    FewShotAttack,
    HalfwayAttack,
    ProbesAttack,
    QuantiseAttack,
    QuestionsAttack,
    RttAttack,
    SharesAttack,
    WaysAttack,
)
from jaxunlearn.config.check import check
from jaxunlearn.config.fields import (
    Anchors,
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
    "Adversary", "Anchors", "Attack", "BenignAttack", "Collapse", "Config", "ContextAttack", "DepthAttack",
    "DistanceAttack", "Erase", "Eval", "Extract", "FewShotAttack", "HalfwayAttack", "Llama", "Llm", "LlmJudge", "Lora",
    "Mesh", "Mudman", "Pretrain", "ProbesAttack", "QuantiseAttack", "QuestionsAttack", "Repair", "Reset", "RttAttack",
    "Run", "Select", "SharesAttack", "Sweep", "Text", "Train", "Universe", "Unlearn", "WaysAttack", "Whp",
    "as_dict", "check", "find_config", "load_config", "of_method", "override", "to_json", "with_method",
]  # fmt: skip
