"""What a family of models is: how its config.json, its tensors and its GGUF file are spelled, as one record.

A family is data: `Family` holds tables, and the functions below read and write by them. What no table knows is refused
by name, so that no model is computed otherwise than its authors meant it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from jaxunlearn.errors import InputError, shown
from jaxunlearn.models.families.attributes import HARMLESS, changes
from jaxunlearn.models.families.ranges import RANGES, faults, odd, rope_faults, type_faults
from jaxunlearn.models.transformer import Shape
from jaxunlearn.parallel.console import detail

# Our weight's name -> (name in a checkpoint, groups of its letters): "NH D" is a matrix of N * H rows and D columns.
Table = Mapping[str, tuple[str, str]]

# Field of Shape -> attribute of config.json, as Llama spells them and most families do.
FIELDS: Mapping[str, str] = {
    "V": "vocab_size", "D": "hidden_size", "L": "num_hidden_layers", "N": "num_attention_heads",
    "K": "num_key_value_heads", "H": "head_dim", "F": "intermediate_size", "context": "max_position_embeddings",
    "epsilon": "rms_norm_eps", "tied": "tie_word_embeddings",
}  # fmt: skip
OLD_CONTEXT = "max_sequence_length"  # in files of the first LLaMA, for which transformers had no name of its own yet
NEEDED = ("V", "D", "L", "N", "F")  # the other fields have defaults
MOST = 30  # faults of a config.json that are listed
ROPE = ("rope_theta", "rope_scaling", "rope_parameters", "original_max_position_embeddings")
LLAMA3 = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
ROPE_KEYS = frozenset({"rope_type", "type", "rope_theta", "factor", *LLAMA3, "partial_rotary_factor"})

# Our weight's name -> llama.cpp's; those of a layer follow "blk.N.".
GGUF_NAMES: Mapping[str, str] = {
    "embed_VD": "token_embd.weight", "norm_D": "output_norm.weight", "head_DV": "output.weight",
    "attention_norm_D": "attn_norm.weight", "q_DNH": "attn_q.weight", "k_DKH": "attn_k.weight",
    "v_DKH": "attn_v.weight", "o_NHD": "attn_output.weight", "mlp_norm_D": "ffn_norm.weight",
    "gate_DF": "ffn_gate.weight", "up_DF": "ffn_up.weight", "down_FD": "ffn_down.weight",
    "q_bias_NH": "attn_q.bias", "k_bias_KH": "attn_k.bias", "v_bias_KH": "attn_v.bias",
    "q_norm_H": "attn_q_norm.weight", "k_norm_H": "attn_k_norm.weight",
    "attention_post_norm_D": "post_attention_norm.weight", "mlp_post_norm_D": "post_ffw_norm.weight",
}  # fmt: skip


# Harmless attributes that are read or written by other parts, or stand in every file: not worth a line.
SAID = frozenset({"bos_token_id", "dtype", "eos_token_id", "torch_dtype", "transformers_version", "use_cache"})


@dataclass(frozen=True, kw_only=True)
class Gguf:
    """How llama.cpp knows a family."""

    architecture: str
    names: Mapping[str, str] = field(default_factory=lambda: GGUF_NAMES)
    pairs: bool = False  # it rotates neighbouring pairs: the rows of q and k change places (gguf.interleaved)
    factors: bool = False  # it reads rope_freqs.weight, which holds Llama-3's rope scaling
    windows: bool = False  # it computes sliding windows; where not, a file's context ends with the window
    # Fields of Shape that no file says, as it has them built in for a model with the given ones (D, L, N, H).
    built_in: Callable[[Mapping[str, Any]], dict[str, Any]] = lambda given: {}
    refuse: Callable[[Shape], str] = lambda c: ""  # why it would compute another model than this one


@dataclass(frozen=True, kw_only=True)
class Family:
    """One family: config.json in and out, where each tensor lies, and its GGUF spelling."""

    name: str  # config.json's model_type, and Shape.family
    architecture: str  # the class in transformers, for config.json's "architectures"
    top: Table  # tensors outside the layers
    layer: Table  # tensors of a layer, by their names after `prefix`
    prefix: str = "model.layers.{}."  # {}: the layer's number
    ignored: tuple[str, ...] = ("rotary_emb.inv_freq",)  # ends of tensor names; recomputed, old checkpoints carry it
    fields: Mapping[str, str] = field(default_factory=lambda: FIELDS)
    # Fields of Shape that no attribute tells (qkv_bias), and those of an attribute that may be missing.
    always: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    # Attributes with one supported value, which a missing one means too; attributes that change nothing here.
    fixed: Mapping[str, Any] = field(default_factory=dict)
    harmless: frozenset[str] = HARMLESS
    # config.json with layer_types, no_rope_layers and sliding_window in full, where the family says them in other ways;
    # what is read so is left out of the result. Of nulls it is given none but that of sliding_window: no window. And
    # back: what config.json says of layers that differ.
    plain: Callable[[dict, Path], dict] = lambda j, path: j
    spelled: Callable[[Shape], dict] = lambda c: {}
    gguf: Gguf | None = None  # None: llama.cpp does not know the family


class Stored(NamedTuple):
    """Where one of our weights lies in a checkpoint."""

    name: str  # with {} for the layer's number where `layered`
    weight: str  # ours, within a layer or outside them
    letters: str  # ours, in the order of our dimensions
    groups: str
    layered: bool


def stored(family: Family, path) -> Stored:
    """Return where the weight at one of our tree paths lies in the family's checkpoints."""
    names = [k.name for k in path if hasattr(k, "name") and k.name != "value"]
    layered = names[0] == "blocks"
    table = family.layer if layered else family.top
    if names[-1] not in table:
        raise InputError(f"the family {family.name} has no tensor for the weight {names[-1]}")
    name, groups = table[names[-1]]
    letters = names[-1].rpartition("_")[2]
    return Stored(family.prefix + name if layered else name, names[-1], letters, groups, layered)


def read(family: Family, j: dict, path: Path, **more) -> Shape:
    """Return the shape that a config.json of this family describes; `more` are fields that it does not say.

    Raises InputError, naming every attribute, for what is missing and for what this code would compute otherwise.
    """
    _refuse(path, type_faults(j, family.fields))  # before lists of all layers are made of it
    j = family.plain(_without_nulls(family, j), path)
    _refuse(path, type_faults(j, family.fields) or unsupported(family, j))
    found: dict[str, Any] = {key: j[name] for key, name in family.fields.items() if j.get(name) is not None}
    found |= {key: tuple(value) for key, value in found.items() if isinstance(value, list)}
    if "context" not in found and j.get(OLD_CONTEXT) is not None:
        found["context"], j = j[OLD_CONTEXT], {k: v for k, v in j.items() if k != OLD_CONTEXT}
    defaults: dict[str, Any] = {"K": found["N"], "H": found["D"] // found["N"], "context": 2048, "epsilon": 1e-6}
    absent = {"rope_theta": family.defaults.get("theta", 10000.0)}
    absent["max_position_embeddings"] = family.defaults.get("context", defaults["context"])
    told: dict[str, Any] = {**defaults, **family.defaults, **found, **family.always, **differing(family, j), **more}
    if ignored := sorted((set(j) & family.harmless) - SAID):
        detail(f"{path}: {', '.join(ignored)} change nothing that is computed here and are not read")
    c = Shape(**told | rope(absent | j, path), family=family.name)
    _refuse(path, faults(vars(c), {field: field for field in RANGES}) or odd(c))
    return c


def _without_nulls(family: Family, j: dict) -> dict:
    """Return config.json without its nulls, which mean what missing attributes do; two say more, as in transformers.

    A sliding_window of null is none, and num_key_value_heads of null are as many as heads.
    """
    heads = {family.fields["K"]: j.get(family.fields["N"])} if j.get(family.fields["K"], 0) is None else {}
    return {k: v for k, v in (j | heads).items() if v is not None or k == "sliding_window"}


def _refuse(path: Path, wrong: list[str]) -> None:
    """Raise InputError where something is wrong, with the first sentences."""
    if wrong:
        more = [f"... and {len(wrong) - MOST} more"] if len(wrong) > MOST else []
        raise InputError(f"{path} describes a model that is not supported:\n  " + "\n  ".join([*wrong[:MOST], *more]))


def unsupported(family: Family, j: dict) -> list[str]:
    """Return, in sentences, what a config.json says or lacks that is not supported."""
    wrong = []
    for key, only in family.fixed.items():
        if j.get(key) not in (None, only):
            wrong.append(f"{key} = {shown(j[key])}: only {only!r} is supported")
    read_here = {"architectures", "model_type", "layer_types", *ROPE, *family.fields.values(), *family.fixed}
    wrong += changes(j, read_here | family.harmless)
    wrong += _odd_layers(family, j)
    if missing := [family.fields[key] for key in NEEDED if j.get(family.fields[key]) is None]:
        wrong.append(f"attributes missing: {missing}")
    return wrong


FULL, WINDOWED = "full_attention", "sliding_attention"  # the words of layer_types


def _odd_layers(family: Family, j: dict) -> list[str]:
    """Return what is wrong with what a config.json says of each layer and of the window."""
    wrong, window = [], j.get("sliding_window") if "window" in family.fields else None
    allowed = {FULL, WINDOWED} if window is not None else {FULL}
    if other := sorted(set(j.get("layer_types") or ()) - allowed):
        expected = " and ".join(repr(kind) for kind in sorted(allowed))
        without = ", as there is no window in use" if other[0] == WINDOWED else ""
        wrong.append(f"layer_types holds {shown(other[0])}: only {expected} is supported{without}")
    for key in ("layer_types", "no_rope_layers"):
        if j.get(key) and len(j[key]) != j.get("num_hidden_layers", len(j[key])):
            wrong.append(f"{key} names {len(j[key])} layers of {j['num_hidden_layers']}")
    return wrong


def differing(family: Family, j: dict) -> dict[str, Any]:
    """Return the fields of Shape that say which layers have the window."""
    found: dict[str, Any] = {}
    windowed = tuple(kind == WINDOWED for kind in j.get("layer_types") or ())
    if any(windowed) and not all(windowed):
        found["windowed"] = windowed
    if windowed and not any(windowed) and "window" in family.fields:
        found["window"] = None
    return found


def windowed(c: Shape) -> tuple[bool, ...]:
    """Return, layer by layer, whether it has a window."""
    return c.windowed or (c.window is not None,) * c.L


def layer_types(c: Shape) -> list[str]:
    """Return config.json's layer_types."""
    return [WINDOWED if near else FULL for near in windowed(c)]


def rope(j: dict, path: Path) -> dict[str, Any]:
    """Return theta, scaling and stretch from either spelling, as transformers 5 reads them.

    rope_scaling goes before rope_parameters, and a rope_theta inside before one beside them. The original context of
    llama3 is the one beside them, else the one inside, else the context. Raises InputError for a kind or a setting that
    is not supported.
    """
    given = j.get("rope_scaling") or j.get("rope_parameters") or {}
    theta = _first(given.get("rope_theta"), j.get("rope_theta"), 10000.0)
    kind = _first(given.get("rope_type"), given.get("type"), "default")
    if kind not in ("default", "linear", "llama3"):
        raise InputError(f"{path}: rope scaling {shown(kind)} is not supported; expected default, linear or llama3")
    other = {k: v for k, v in given.items() if v is not None and k not in ROPE_KEYS}
    if _first(given.get("partial_rotary_factor"), 1.0) != 1:
        other["partial_rotary_factor"] = given["partial_rotary_factor"]
    if other:
        raise InputError(f"{path}: rope settings {shown(other)} are not supported with rope scaling {kind!r}")
    _refuse(path, rope_faults(given))
    if kind == "default":
        return {"theta": theta}
    original = _first(j.get(LLAMA3[3]), given.get(LLAMA3[3]), j.get("max_position_embeddings"), 2048)
    settings = {**given, LLAMA3[3]: original}
    needed = LLAMA3 if kind == "llama3" else LLAMA3[:1]
    if missing := [name for name in needed if settings.get(name) is None]:
        raise InputError(f"{path}: rope scaling {kind!r} lacks {missing}")
    if kind == "linear":
        return {"theta": theta, "stretch": given["factor"]}
    return {"theta": theta, "scaling": tuple(float(settings[name]) for name in LLAMA3)}


def _first(*values):
    """Return the first value that is not None."""
    return next(v for v in values if v is not None)


def write(family: Family, c: Shape, dtype: str) -> dict:
    """Return config.json in the spelling that transformers 4 and 5 both read; `dtype` is that of the tensors."""
    scaling = None
    if c.scaling:
        scaling = {"rope_type": "llama3"} | dict(zip(LLAMA3, c.scaling, strict=True))
        scaling["original_max_position_embeddings"] = round(c.scaling[3])  # it may be fitted: GGUF holds factors alone
    elif c.stretch != 1:
        scaling = {"rope_type": "linear", "factor": c.stretch}
    return {
        "architectures": [family.architecture], "model_type": family.name,
        **{name: getattr(c, key) for key, name in family.fields.items()},
        "rope_theta": c.theta, "rope_scaling": scaling, **family.fixed, **family.spelled(c), "torch_dtype": dtype,
    }  # fmt: skip
