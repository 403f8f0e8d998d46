"""What the numbers of a model may be, wherever they are read: fields of Shape, and what config.json says of rope.

The upper ends are far above every model that was published; a file that claims more is damaged, or made to fill memory.
"""

from collections.abc import Mapping
from typing import Any

from jaxunlearn.config.bounds import Range
from jaxunlearn.errors import shown

LAYERS = Range(1, 1 << 14)
POSITIONS = Range(1, 10**9)
THETA = Range(0, 1e15, above=True)
FACTOR = Range(0, 1e6, above=True)

RANGES: Mapping[str, Range] = {
    "V": Range(1, 1 << 24), "D": Range(1, 1 << 20), "L": LAYERS, "N": Range(1, 1 << 16), "K": Range(1, 1 << 16),
    "H": Range(2, 1 << 16), "F": Range(1, 1 << 24), "context": POSITIONS, "window": POSITIONS,
    "epsilon": Range(0, 1, above=True), "theta": THETA, "local_theta": THETA,
    "query_scalar": Range(0, 1e9, above=True), "stretch": FACTOR,
}  # fmt: skip
WHOLE = frozenset({"V", "D", "L", "N", "K", "H", "F", "context", "window"})

# Attributes of config.json that are no field of Shape, and those of its rope settings.
ATTRIBUTES: Mapping[str, Range] = {
    "max_window_layers": Range(0, 1 << 14), "no_rope_layer_interval": LAYERS, "sliding_window_pattern": LAYERS,
    "_sliding_window_pattern": LAYERS, "rope_theta": THETA, "original_max_position_embeddings": POSITIONS,
    "max_sequence_length": POSITIONS,
}  # fmt: skip
ROPE: Mapping[str, Range] = {
    "rope_theta": THETA, "factor": FACTOR, "low_freq_factor": FACTOR, "high_freq_factor": FACTOR,
    "original_max_position_embeddings": POSITIONS, "partial_rotary_factor": Range(0, 1, above=True),
}  # fmt: skip
SWITCHES = ("tie_word_embeddings", "use_sliding_window")


def fault(name: str, value: Any, within: Range, whole: bool = False) -> list[str]:
    """Return, in one sentence or none, what is wrong with a number; None is a missing one."""
    number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if value is None or (number and within.holds(value)):
        return []
    return [f"{name} = {shown(value)}: expected a {'whole ' * whole}number {within}"]


def faults(values: Mapping[str, Any], spelled: Mapping[str, str]) -> list[str]:
    """Return what is wrong with numbers by the field of Shape that they are; spelled: field -> name in the file."""
    return [
        one
        for field, name in spelled.items()
        if field in RANGES
        for one in fault(name, values.get(field), RANGES[field], field in WHOLE)
    ]


def odd(c: Any) -> list[str]:
    """Return what is wrong with the fields of a Shape, one beside another."""
    wrong = [f"{c.N} heads are no multiple of {c.K} key/value heads"] * (c.N % c.K != 0)
    return wrong + [f"a head of {c.H} numbers: rope rotates pairs, so it must be even"] * (c.H % 2 != 0)


def type_faults(j: Mapping[str, Any], spelled: Mapping[str, str]) -> list[str]:
    """Return what in a config.json has another type than its attribute, or is out of range."""
    wrong = faults({field: j.get(name) for field, name in spelled.items()}, spelled)
    for name, within in ATTRIBUTES.items():
        wrong += fault(name, j.get(name), within, whole=within is not THETA)
    for name in SWITCHES:
        if not isinstance(j.get(name), bool | None):
            wrong.append(f"{name} = {shown(j[name])}: expected true or false")
    for name, kind, said in (("layer_types", str, "texts"), ("no_rope_layers", int, "0s and 1s")):
        value = j.get(name)
        good = isinstance(value, list) and len(value) <= LAYERS.most and all(isinstance(v, kind) for v in value)
        if value is not None and not (good and (kind is str or set(value) <= {0, 1})):
            wrong.append(f"{name} = {shown(value)}: expected a list of {said}, one a layer")
    for name in ("rope_scaling", "rope_parameters"):
        if not isinstance(j.get(name), dict | None):
            wrong.append(f"{name} = {shown(j[name])}: expected an object, or null for none")
    return wrong


def rope_faults(given: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the numbers of rope settings."""
    wrong = [one for name, within in ROPE.items() for one in fault(name, given.get(name), within)]
    low, high = given.get("low_freq_factor"), given.get("high_freq_factor")
    if not wrong and low is not None and high is not None and low >= high:
        wrong.append(f"low_freq_factor = {low} must be below high_freq_factor = {high}")
    return wrong
