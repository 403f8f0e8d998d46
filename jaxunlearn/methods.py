"""What a run does for each method: its settings checked, its data and frozen models brought together, one batch a step.

objectives/ holds the losses; here is where their arrays come from. Reference log-probabilities of the fixed forget set
are computed once and stored under reference/, so that one model is in memory where a loss asks for no more.
"""

import json
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxunlearn import distributed, train, whp
from jaxunlearn.config import Config, Unlearn, Whp
from jaxunlearn.errors import InputError
from jaxunlearn.objectives import METHODS, check_method, steps
from jaxunlearn.objectives.texts import load_questions, replacements
from jaxunlearn.rundir import RunDirectory, write_whole
from jaxunlearn.sharding import fetch, put
from jaxunlearn.text import IGNORE, PAD_ID

SETTINGS = ("retain_weight", "beta", "gamma", "strength", "scale", "steering", "layer")  # of config.Unlearn
GENERIC = ("whp", "whp_soft")  # methods that learn generic labels
ANSWERS = ("dpo", "idk", "ria", "fwf")
KL = ("kl_retain", "kga")  # whose papers hold the retain set by a KL


def method_of(config: Config) -> str:
    """Return the method's name; whp with soft labels is whp_soft."""
    name = config.unlearn.method
    return "whp_soft" if name == "whp" and config.whp.labels == "soft" else name


def given(config: Config, name: str) -> dict[str, Any]:
    """Return the settings that the configuration gives the method, its defaults left out."""
    u, w, known = config.unlearn, config.whp, METHODS[name].hyper if name in METHODS else {}
    values = {key: getattr(u, key) for key in SETTINGS if getattr(u, key) is not None}
    values |= {"subject": u.subject} if u.subject else {}
    taken = {"alpha": w.alpha, "top": w.top, "translations": w.translations}
    return values | {k: v for k, v in taken.items() if k in known and (k != "alpha" or name != "whp_averaged")}


def check_config(config: Config, layers: int | None = None) -> None:
    """Raise InputError, before anything is loaded, unless the run's methods can run on what the configuration names."""
    t, have = config.text, {"reference", "reinforced"}
    if not config.reinforce.steps:
        have -= {"reinforced"}
    have |= {
        need for need, where in (("retain", t.retain), ("dictionary", t.dictionary), ("answers", t.answers)) if where
    }
    name = method_of(config)
    needed = have | {"dictionary"} if name in ("whp", *GENERIC) and not t.dictionary else have  # refused by read_inputs
    check_method(name, needed, layers=layers, **given(config, name))
    retain = {"whp.offset=contrast": config.whp.offset == "contrast", "reset.share": config.reset.share > 0}
    retain |= {f"controls={c}": c in config.controls for c in ("retain_only", "random_reset")}
    retain |= {"unlearn.retain_loss=kl": config.unlearn.retain_loss == "kl", "unlearn.reach": config.unlearn.reach > 0}
    wrong = [f"{key} needs text to keep: set text.retain" for key, asked in retain.items() if asked and not t.retain]
    if name == "kga" and not (t.holdout or t.retain_held):
        wrong.append("kga needs text that no step trains on: text.holdout above 0, or text.retain_held")
    if config.unlearn.reach and not t.prompts:
        wrong.append("unlearn.reach is a familiarity: set text.prompts")
    w = config.whp
    if w.labels == "soft" and w.offset_context == "original":
        wrong.append("whp.offset_context=original is for hard labels; use whp.offset=contrast")
    if w.forbid == "keys" and name not in GENERIC:
        wrong.append(f"whp.forbid=keys is for generic labels: {name} has none")
    if w.labels == "soft" and w.top and w.mode == "fused":
        wrong.append("whp.top stores outcomes, whp.mode=fused stores none: leave out one of the two")
    if config.unlearn.lora.rank and not METHODS[name].trains:
        wrong.append(f"unlearn.lora: {name} trains nothing")
    if config.repair.steps and name in ("whp_inference", "prompting"):
        wrong.append(f"repair: {name} leaves no model to teach")
    if not 0 <= config.reset.share <= 1:
        wrong.append(f"reset.share is a share of the weights, from 0 to 1 (got {config.reset.share})")
    if resets_by_importance(config) and "reinforced" not in have:
        wrong.append("reset.by=importance needs the reinforced model: set reinforce.steps, or reset.by=fisher")
    r = config.reset
    if r.share and r.on == "all" and (r.teacher == "baseline" or name == "reset_heal"):
        wrong.append(
            "reset.on=all would have the baseline teach the target again: unlearn, and reset.teacher=unlearned"
        )
    if r.share == 1 and r.by == "noise":
        wrong.append("reset.by=noise at share 1 leaves no norm: give less, or reset.by=random for a fresh model")
    if name == "reset_heal" and not config.reset.share:
        wrong.append("reset_heal re-draws reset.share of the weights: set it, 0.1 to 0.2 as a rule")
    if w.mode == "fused" and name == "whp" and config.unlearn.retain_weight:
        wrong.append("whp.mode=fused has no retain term: leave unlearn.retain_weight out, or use whp.mode=offline")
    if "random_reset" in config.controls and r.share and r.by in ("random", "noise"):
        wrong.append(f"controls=random_reset is a control for weights that were chosen, not for reset.by={r.by}")
    if "random_reset" in config.controls and not config.reset.share and name != "reset_heal":
        wrong.append("controls=random_reset has nothing to compare with: set reset.share")
    if wrong:
        raise InputError("the configuration cannot run:\n  " + "\n  ".join(wrong))


def needs(config: Config, what: str) -> bool:
    """Whether the run needs a model beside its baseline: "reinforced" or "diluted"."""
    name, w = method_of(config), config.whp
    if what == "diluted":
        return w.offset == "contrast" and (name in GENERIC or bool(set(config.controls) & {"reinforcement_alone"}))
    asked = {need for key, need in METHODS[name].needs_when.items() if float(given(config, name).get(key, 0)) > 0}
    labels = set(config.controls) - {"retain_only", "random_reset"}
    return "reinforced" in METHODS[name].needs | asked or resets_by_importance(config) or bool(labels)


def resets_by_importance(config: Config) -> bool:
    """Whether weights to re-draw are found by what reinforcing moved; not where every weight is drawn anew."""
    return 0 < config.reset.share < 1 and config.reset.by == "importance"


def recipe_of(config: Config, name: str, alpha: float) -> steps.Recipe:
    """Return what the train step of a method depends on."""
    values = METHODS[name].hyper | given(config, name)
    values |= {"alpha": alpha} if "alpha" in values and name != "whp_averaged" else {}
    u, w = config.unlearn, config.whp
    own = "kl" if name in KL else "nll"
    settings = Whp(seen_translation=w.seen_translation, seen_penalty=w.seen_penalty, alpha=alpha, top=w.top)
    return steps.Recipe(name, tuple(sorted(values.items())), own if u.retain_loss == "own" else u.retain_loss, settings)


class Plan(NamedTuple):
    """How a method trains: batch(step) -> arrays of the step function, and the step function itself."""

    batch: Any
    step: Any


def plan(config: Config, run: RunDirectory, x, variant, name: str, frozen: dict, labels=None, soft=None) -> Plan:
    """Bring together a method's data: `frozen` models by name, `labels` or `soft` outcomes as the label pass stored."""
    c, recipe = config.unlearn, recipe_of(config, name, variant.alpha)
    rows, seed = x.forget_split[0], config.seed
    tokens = x.forget.tokens_NT[rows]
    parts: dict[str, tuple] = {}  # name: (arrays, letters, seed)
    if name in GENERIC or name == "whp_averaged":
        if labels is not None:
            parts["labels"] = ((tokens, labels[rows]), ("BT", "BT"), seed)
        elif soft is not None:
            trained = np.asarray(x.passage(variant).trained_BT)[rows]
            parts["soft"] = ((tokens, soft[0][rows], soft[1][rows], trained), ("BT", "BTJ", "BTJ", "BT"), seed)
        else:
            count = int(recipe["translations"]) if name == "whp_averaged" else 1
            passages = [x.passage(variant, n).rows(rows) for n in range(count)]
            parts |= {f"passage {n}": (p, whp.LETTERS, seed) for n, p in enumerate(passages)}
    elif name in ANSWERS:
        parts |= _answers(config, x, name)
    elif name != "retain_only":
        parts["forget"] = (x.training("forget"), ("BT", "BT"), seed)
    if recipe["retain_weight"] or name == "retain_only":
        parts["retain"] = (x.training("retain"), ("BT", "BT"), seed + 1)
    for key in {"npo": ("forget",), "dpo": ("answers", "true")}.get(name, ()):
        (sequences, marked), letters, s = parts[key]
        logp = reference(config, run, x, f"{name}_{key}", sequences, marked, frozen)
        parts[key] = (sequences, marked, logp), (*letters, "B"), s

    def batch(n):
        return [frozen, _batch(c, parts, n)]

    return Plan(batch, train.compiled_step(c, steps.step, recipe=recipe))


def _batch(c: Unlearn, parts: dict, n: int) -> dict:
    """Return step n's microbatches of every part, as steps.py wants them."""
    made: dict[str, Any] = {}
    for name, (arrays, letters, seed) in parts.items():
        found = train.microbatches(c, arrays, letters, len(arrays[0]), seed, n)
        if name.startswith("passage"):
            made["passages"] = (*made.get("passages", ()), whp.Passage(*found))
        elif letters[-1] == "B":
            made[name] = tuple(found[:-1])
            made.setdefault("reference", {})[name] = found[-1]
        else:
            made[name] = tuple(found)
    return made


def models_for(config: Config, name: str, alpha: float, stored: bool) -> tuple[str, ...]:
    """Name the frozen models that a method's loss asks at every step."""
    r = recipe_of(config, name, alpha)
    asked = {"baseline"} if r.retain_loss == "kl" and (r["retain_weight"] or name == "retain_only") else set()
    asked |= {"baseline"} if name in ("rmu", "undial", "kga", "whp_averaged") else set()
    asked |= {"reinforced"} if name == "kga" or (name == "whp_averaged" and r["alpha"]) else set()
    if name == "whp_soft" and not stored:
        asked |= {"baseline", "reinforced"} | ({"diluted"} if config.whp.offset == "contrast" else set())
    return tuple(sorted(asked))


# ---- data


def _answers(config: Config, x, name: str) -> dict[str, tuple]:
    """Return the sequences to learn from questions: "answers", and for dpo "true", in the same order."""
    questions = load_questions(x.find(config.text.answers))
    rows = replacements(name, questions, config.seed)
    wanted = {"answers": [(q, taught) for q, taught, _ in rows]}
    if name == "dpo":
        wanted["true"] = [(q, true) for q, _, true in rows]
    width = max(len(_sequence(x.tokenizer, *pair)[0]) for pairs in wanted.values() for pair in pairs)
    if width > config.text.context:
        raise InputError(f"{config.text.answers}: a question has {width} tokens, text.context is {config.text.context}")
    return {
        key: (_padded([_sequence(x.tokenizer, *p) for p in pairs], width), ("BT", "BT"), config.seed)
        for key, pairs in wanted.items()
    }


def _sequence(tokenizer, question: str, answer: str) -> tuple[list[int], int]:
    """Return (BOS, question and answer as tokens, where the answer's first token stands)."""
    ids, ends = tokenizer.encode(f"{question} {answer}")
    first = min(int(np.sum(ends <= len(question) + 1)), len(ids) - 1)
    return [tokenizer.needed_bos_id(), *map(int, ids)], first + 1


def _padded(sequences: list[tuple[list[int], int]], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (tokens_NT, labels_NT): each position's next token where that is part of the answer."""
    width = -(-width // 32) * 32
    tokens_NT = np.full((len(sequences), width), PAD_ID, np.int32)
    labels_NT = np.full((len(sequences), width), IGNORE, np.int32)
    for n, (ids, first) in enumerate(sequences):
        tokens_NT[n, : len(ids)] = ids
        labels_NT[n, first - 1 : len(ids) - 1] = ids[first:]
    return tokens_NT, labels_NT


def reference(config: Config, run: RunDirectory, x, name: str, tokens_NT, labels_NT, frozen: dict) -> np.ndarray:
    """Return the baseline's logp_N of every sequence, computed once and kept in reference/NAME.npy."""
    from jaxunlearn.results import hash_of, load_model

    path, about = run / f"reference/{name}.npy", run / f"reference/{name}.json"
    key = {
        "baseline": hash_of(run / "baseline"),
        "inputs": x.hashes,
        "shape": list(tokens_NT.shape),
        "seed": config.seed,
    }
    if distributed.first(lambda: path.is_file() and about.is_file() and json.loads(about.read_text()) == key):
        return np.load(path)
    model = frozen.get("baseline") or load_model(config, run / "baseline", frozen=True)
    logp_N = all_logp(model, tokens_NT, labels_NT, config.whp.label_batch)

    def keep():
        path.parent.mkdir(exist_ok=True)
        np.save(path, logp_N)
        write_whole(about, json.dumps(key))

    distributed.first(keep)
    return logp_N


def all_logp(model, tokens_NT, labels_NT, batch: int) -> np.ndarray:
    """Return logp_N in nats of the labels of every sequence, in batches of one shape."""
    parts = []
    for start in range(0, len(tokens_NT), batch):
        rows = np.minimum(np.arange(start, start + batch), len(tokens_NT) - 1)
        logp_B = _logp(model, put(tokens_NT[rows], "BT"), put(labels_NT[rows], "BT"))
        parts.append(fetch(logp_B)[: len(tokens_NT) - start])
    return np.concatenate(parts).astype(np.float32)


_logp = jax.jit(steps.sequence_logp)


def mean_kl(teacher, model, tokens_NT, labels_NT, batch: int) -> float:
    """Return the mean KL(teacher || model) in nats a token: the gap that KGA aligns to, measured once."""
    total = count = 0.0
    for start in range(0, len(tokens_NT), batch):
        rows = np.arange(start, start + batch)
        real = np.minimum(rows, len(tokens_NT) - 1)
        labels = np.where((rows < len(tokens_NT))[:, None], labels_NT[real], IGNORE).astype(np.int32)
        sums = _kl(teacher, model, put(tokens_NT[real], "BT"), put(labels, "BT"))
        total, count = total + float(sums[0]), count + float(sums[1])
    return total / max(count, 1)


@jax.jit
def _kl(teacher, model, tokens_BT, labels_BT):
    scene = steps.Scene(model, {}, {"text": (tokens_BT, labels_BT)}, steps.Recipe("kl_retain", ()))
    return steps.kl_to(scene, teacher, "text")
