"""Show one labelled block: its labels, why each position has one, and what both models predict there.

T: positions of a block; S: positions of its translation; V: vocabulary. report/block.py renders the result.
"""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxunlearn.anchors.translate import Anchor, Translation, block_anchors, show_block
from jaxunlearn.config import Config, Whp
from jaxunlearn.data.blocks import Blocks
from jaxunlearn.errors import InputError
from jaxunlearn.files import read_json
from jaxunlearn.methods import resolved
from jaxunlearn.methods.whp import teachers
from jaxunlearn.models import lora, peft
from jaxunlearn.parallel.sharding import make_mesh, put, rows_at
from jaxunlearn.report.block import FURTHEST
from jaxunlearn.run import Run, open_run
from jaxunlearn.run.store import labels_folder, load_model, read_labels, stored_parts
from jaxunlearn.run.variants import Variant, variants
from jaxunlearn.stages.fit import frozen_models
from jaxunlearn.whp import equation
from jaxunlearn.whp.argmax import seen_table
from jaxunlearn.whp.labels import Passage

TOP = 3  # tokens shown of each distribution


def show_labels(config: Config, n: int, ask_models: bool = True) -> dict[str, Any]:
    """Return block n of a labelled run as plain JSON values.

    Lists have one entry for each position T, without padding; `translation` has one for each position S.
    Keys: tokens, translation, map (position in the translation, -1: none), labels (of the next token, -100: untrained),
    label_tokens, alpha, text (the characters that a token covers), reason, anchors, document, held_out, block, blocks,
    title, notes. Where both models are asked also top ({model: [(token, probability), ...]}) and departure (nats).
    Raises InputError where there is no such block, and where the run holds no finished labels.
    """
    _labelled(config, variants(resolved(config))[0])
    with jax.set_mesh(make_mesh(devices=jax.local_devices()[:1])):  # one device is enough for one block
        run = open_run(config, looks=True)  # who looks at a run is not who made it
        x, variant = run.inputs, variants(run.config)[0]
        shown = show_block(x.forget, run.translation, x.tokenizer, n)
        anchors = block_anchors(x.forget, run.translation, x.dictionary, n, run.config.whp.match)
        held, length = n not in run.forget_split[0], len(shown["tokens"])
        labels_T = np.array(read_labels(run, variant)[n])
        shown |= {
            "labels": labels_T[:length].tolist(),
            "label_tokens": [x.tokenizer.pieces([i])[0] if i >= 0 else None for i in labels_T[:length].tolist()],
            "alpha": variant.alpha,
            "text": token_texts(x.forget, n, shown["tokens"]),
            "reason": reasons(x.forget, run.translation, anchors, n, held)[:length],
            "anchors": [{k: getattr(a, k) for k in ("term", "translation", "first", "last")} for a in anchors],
            "document": Path(x.forget.streams[int(x.forget.spans_N3[n, 0])].name).name,
            "held_out": held, "block": n, "blocks": len(x.forget.tokens_NT),
            "title": run.config.title or run.config.name,
        }  # fmt: skip
        return shown | _models_say(run, variant, n, labels_T[:length], ask_models)


def _labelled(config: Config, variant: Variant) -> None:
    """Raise InputError, before anything is read or written, unless the run has finished hard labels."""
    if stored_parts(variant) != ("labels",):
        raise InputError(
            f"{config.directory}: {variant.method.name} stores no hard labels in this configuration; to see them label "
            "in a run of its own by unlearn.method=whp, whp.labels=hard and whp.mode=offline"
        )
    path = labels_folder(config.directory, variant) / "provenance.json"
    done = read_json(path, dict) if path.is_file() else {}
    if not done.get("complete") or variant.alpha not in done["alphas"]:
        raise InputError(
            f"{config.directory} holds no finished labels for alpha {variant.alpha:g}; run `jaxunlearn label` on this "
            "configuration first"
        )


# ---- the text


def token_texts(blocks: Blocks, n: int, tokens: list[str]) -> list[str]:
    """Return the characters that each token of block n covers; BOS keeps its own name.

    A token that is one byte of a longer character covers "", except the last byte.
    """
    document, first, stop = blocks.spans_N3[n].tolist()
    stream = blocks.streams[document]
    ends_N = np.append(0, stream.ends_N[:stop])[first:].tolist()
    covered = [stream.text[a:b] for a, b in itertools.pairwise(ends_N)]
    return tokens[: blocks.bos_width] + covered


def reasons(
    blocks: Blocks, translation: Translation, anchors: list[Anchor], n: int, held_out: bool = False
) -> list[str]:
    """Return for each position T of block n why it is trained or not; anchors: from block_anchors."""
    map_T, trained_T, valid_T = (a[n] for a in (translation.map_NT, translation.trained_NT, blocks.valid_NT))
    inside_T = np.zeros(len(map_T), bool)
    for a in anchors:
        inside_T[a.first : a.last + (not a.ends_here)] = True
    mapped = np.flatnonzero(map_T >= 0)
    full = translation.cut > 0 and translation.width_N[n] == translation.tokens_NS.shape[1]
    beyond_T = full & (np.arange(len(map_T)) > max(mapped, default=-1))
    found = {
        "padding": ~valid_T,
        "held out": trained_T & held_out,
        "trained": trained_T,
        "asked": blocks.asks_NT[n],
        "repeated anchor": map_T >= 0,
        "inside an anchor": inside_T,
        "cut off": beyond_T,
    }
    return np.select(list(found.values()), list(found), default="unaligned").tolist()


# ---- what the models say


def _models_say(run: Run, v: Variant, n: int, labels_T, ask: bool) -> dict:
    """Return {"top", "departure", "notes"}; where the models are not asked, only a note that says why."""
    names = teachers(v.config)
    missing = [name for name in names if not (run / name).exists()]
    if not ask or missing:
        why = f"the run holds no {' and no '.join(missing)}" if missing else "the models were not asked"
        return {"notes": [f"top tokens and departures are left out: {why}"]}
    passage = run.passage(v).rows([n])
    translated_TV, original_TV, *others = (a[: len(labels_T)] for a in logits_of(run, names[1:], passage))
    reinforced_TV = others[0]
    generic_TV = generic_block(v.config.whp, passage, translated_TV, original_TV, *others, alpha=v.alpha)
    mapped_T = passage.map_BT[0, : len(labels_T)] >= 0
    lists = {
        "baseline": top_tokens(translated_TV, mapped_T),
        "reinforced": top_tokens(reinforced_TV, np.ones_like(mapped_T)),
        "generic": top_tokens(generic_TV, mapped_T),
    }
    named = {k: [[(*run.inputs.tokenizer.pieces([i]), p) for i, p in row] for row in rows] for k, rows in lists.items()}
    top = [dict(zip(named, at, strict=True)) for at in zip(*named.values(), strict=True)]
    known_T = mapped_T & (np.arange(len(labels_T)) < len(labels_T) - 1)
    departure = departures(original_TV, generic_TV, run.inputs.forget.tokens_NT[n, 1 : len(labels_T)], known_T)
    differ = int(((generic_TV.argmax(-1) != labels_T) & (labels_T >= 0)).sum())
    said = f"the models now give another label than the stored one at {differ} positions"
    return {"top": top, "departure": departure, "notes": [said] if differ else []}


def logits_of(run: Run, others: Iterable[str], passage: Passage) -> list[np.ndarray]:
    """Return fp32 logits_TV of one block: the baseline on the translation and on the original, others on the original.

    One model is in memory at a time; an adapter lies over the baseline.
    """
    every_BT = np.arange(passage.tokens_BT.shape[1])[None]
    translated = put(passage.translation_BS, "BS"), put(np.maximum(passage.map_BT, 0), "BT")
    original = put(passage.tokens_BT, "BT"), put(every_BT, "BT")
    asked = [("baseline", translated), ("baseline", original), *[(name, original) for name in others]]
    return [np.asarray(_logits(_model(run, name), *arrays))[0] for name, arrays in asked]


def _model(run: Run, name: str):
    """Return a model of the run in the compute dtype."""
    if not peft.is_adapter(run / name):
        return load_model(run.config, run / name, frozen=True)
    found = frozen_models(run, (name,))
    return lora.over(found["baseline"], found[name])


@jax.jit
def _logits(model, tokens_BS, at_BT):
    return model.logits(rows_at(model(tokens_BS), at_BT))


def generic_block(w: Whp, passage: Passage, translated_TV, original_TV, reinforced_TV, diluted_TV=None, *, alpha):
    """Return generic_TV, the generic logits of one block, from logits_of; its labels are their argmax.

    diluted_TV: the offset is the contrast, a difference of log-probabilities.
    """
    T, V = translated_TV.shape
    seen_BV = seen_table(put(passage.seen_id_BR, "BR"), put(passage.seen_from_BR, "BR"), V)
    seen = {"seen": np.arange(T)[:, None] >= np.asarray(seen_BV), "mean": translated_TV.mean(-1, keepdims=True)}
    more: dict[str, Any] = {"rule": w.seen_translation, "penalty": w.seen_penalty}
    if diluted_TV is not None:
        reinforced_TV, more["v_offset"], more["shift"] = log_softmax(reinforced_TV), log_softmax(diluted_TV), 0.0
    elif w.offset_context == "original":
        more["v_offset"] = original_TV
    return np.array(equation.generic_logits(translated_TV, reinforced_TV, alpha, **seen, **more))


def log_softmax(v_TV) -> np.ndarray:
    """Return the log-probabilities in nats of logits."""
    v_TV = v_TV - v_TV.max(-1, keepdims=True)
    return v_TV - np.log(np.exp(v_TV).sum(-1, keepdims=True))


def top_tokens(v_TV, known_T) -> list[list[tuple[int, float]]]:
    """Return the TOP likeliest tokens of each position as (id, probability); [] where known_T is False."""
    left_TV, rows = log_softmax(v_TV), []
    every_T = np.arange(len(left_TV))
    for _ in range(min(TOP, left_TV.shape[1])):
        best_T = left_TV.argmax(-1)  # the lowest index wins a tie, as in the labels
        rows.append((best_T, np.exp(left_TV[every_T, best_T])))
        left_TV[every_T, best_T] = -np.inf
    return [[(int(i[t]), round(float(p[t]), 6)) for i, p in rows] if known_T[t] else [] for t in every_T]


def departures(original_TV, generic_TV, next_T, known_T) -> list[float | None]:
    """Return log p_baseline - log p_generic of the next token in the text, clipped to 0 .. FURTHEST nats.

    original_TV: the baseline's logits on the original. next_T has one entry less than known_T. None where known_T is
    False.
    """
    at = np.arange(len(next_T)), next_T
    gap = np.clip(log_softmax(original_TV)[at] - log_softmax(generic_TV)[at], 0, FURTHEST)
    return [round(float(g), 4) if known else None for g, known in zip([*gap, 0], known_T, strict=True)]
