"""Two models that hide the target and have not forgotten it, made on purpose: the attacks must expose them.

Half frozen, the stress test of RTT: the baseline learns the generic labels and wrong answers to the facts (RIA of
arXiv 2410.08827), with retain text beside them, while its embeddings and the first half of its layers stay frozen.
Output filter: the baseline as it is, with the tokens barred that begin a term of the target
(methods/inference.py: Filtered).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxunlearn.attacks.base import FILTER, MEASURE, STRESS, Target
from jaxunlearn.attacks.rtt import texts, told
from jaxunlearn.config import Train, as_dict
from jaxunlearn.data.blocks import next_token_labels
from jaxunlearn.data.facts import Fact
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.evals.differences import items_of
from jaxunlearn.evals.measure import measure, raw
from jaxunlearn.evals.memorisation import rows_with_labels
from jaxunlearn.evals.suite import Suite
from jaxunlearn.files import json_text, sha256_text
from jaxunlearn.methods import inference
from jaxunlearn.models import huggingface
from jaxunlearn.parallel import processes
from jaxunlearn.run.store import has_labels, read_labels
from jaxunlearn.run.variants import variants
from jaxunlearn.training.loop import fit, microbatches
from jaxunlearn.training.step import State, compiled_step, gradients, init_state, updated


def add_hidden(target: Target) -> None:
    """Add the models that only hide: the output filter, and the half frozen one where there are facts."""
    output_filter(target)
    if target.run.facts:
        half_frozen(target, target.run.facts)


def half_frozen(target: Target, facts) -> None:
    """Make attacks/half_frozen-.../, measure it as every model and add it to the target, so that attacks try it."""
    made_of = [
        target.hash("baseline"),
        repr(facts),
        as_dict(target.run.config.unlearn),
        as_dict(target.run.config.whp),
        target.run.config.attack.seed,
        target.run.config.attack.rtt.scoring,
    ]
    folder = target.run / "attacks" / f"half_frozen-{sha256_text(json_text(made_of))[:8]}"
    if not target.run.folder.has(f"attacks/{folder.name}"):
        with target.stage("stress test: forgetting with half of the layers frozen"):
            u = target.run.config.unlearn
            arrays = _hiding_blocks(target, facts)
            made = hiding(target.load("baseline"), arrays, 2 * u.learning_rate, u.batch, target.run.config.attack.seed)
            processes.first(lambda: folder.parent.mkdir(exist_ok=True))
            huggingface.save(made, folder, source=target.run.inputs.tokenizer_dir, seal=True)
    show_hidden(target, STRESS, folder)


def output_filter(target: Target) -> None:
    """Put an output filter of the target's terms over the baseline, measure it and add it to the target."""
    lexicon = target.run.suite.prompts.lexicon
    terms = (tuple(target.run.inputs.dictionary) or lexicon.explicit) + lexicon.typical
    barred = beginnings(target.run.inputs.tokenizer, terms)
    if not barred:
        return target.skip("the control behind an output filter", "neither a dictionary nor a lexicon names the target")
    folder = target.run / "attacks" / f"filtered-{sha256_text(json_text([target.hash('baseline'), barred]))[:8]}"
    processes.first(lambda: inference.save_filter(folder, barred, target.hash("baseline")))
    show_hidden(target, FILTER, folder)


def show_hidden(target: Target, name: str, folder: Path) -> None:
    """Measure a model that only hides as every other model, and add it to the target."""
    target.folders[name] = folder
    found = target.kept(
        MEASURE, name, ["sums by block"], lambda: measure(target.load(name, frozen=True), target.run.suite)
    )
    target.models.setdefault(name, {}).update({k: v for k, v in found.items() if k not in (*raw(), "track")})
    target.items.setdefault(name, {}).update(items_of(found))


def _hiding_blocks(target: Target, facts) -> tuple[np.ndarray, np.ndarray]:
    """Return (tokens_NT, labels_NT): wrong answers, the text with generic labels, retain text, in equal shares."""
    run, x, c = target.run, target.run.inputs, target.run.config.attack
    rows = run.forget_split[0]
    parts = [wrong_answers(run.suite, facts, c.rtt.scoring, x.forget.tokens_NT.shape[1], c.seed)]
    method = variants(run.config)[0]
    if has_labels(run, method):
        labels = read_labels(run, method)
        parts.append((x.forget.tokens_NT[rows], np.asarray(labels)[rows]))
    if x.retain is not None:
        rows = run.retain_split[0]
        parts.append((x.retain.tokens_NT[rows], next_token_labels(x.retain)[rows]))
    return mixed(parts, c.seed)


STEPS = 48
BEFORE, AFTER = ("", "a ", '"', "“"), ("", " a", ".", ",")  # what a term may stand between in running text


def hiding(start, arrays, learning_rate: float, batch: int, seed: int):
    """Train `start` on blocks (tokens_NT, labels_NT) with its first half of layers frozen, and return it."""
    c = Train(steps=STEPS, learning_rate=learning_rate, batch=batch, warmup=4, schedule="cosine")

    def rows(step):
        return microbatches(c, arrays, ("BT", "BT"), len(arrays[0]), seed, step)

    return fit(init_state(start, c), compiled_step(c, half_frozen_step), rows, c).model


def half_frozen_step(state: State, learning_rate, tokens_ABT, labels_ABT, *, c: Train):
    """Return (new state, metrics) after one update of the last half of the layers, the last norm and the head."""
    loss, g = gradients(state.model, tokens_ABT, labels_ABT)
    g = jax.tree_util.tree_map_with_path(_second_half, g)
    return updated(state, g, learning_rate, c)[0], {"loss": loss}


def _second_half(path, g):
    names = [key.name for key in path if hasattr(key, "name")]
    if "embed_VD" in names:
        return jnp.zeros_like(g)
    if "blocks" not in names:
        return g
    trained_L = (np.arange(g.shape[0]) >= g.shape[0] // 2).astype(np.float32)
    return g * trained_L.reshape(-1, *[1] * (g.ndim - 1))


def wrong_answers(suite: Suite, facts: Sequence[Fact], scoring: str, context: int, seed: int):
    """Return blocks (tokens_NT, labels_NT) packed with every fact told with each of its wrong options."""
    lies = []
    for fact in facts:
        for n in range(len(fact.options)):
            if n != fact.answer:
                prompt, answer = texts([Fact(question=fact.question, options=fact.options, answer=n)], scoring)[0]
                lies.append(told(suite.tokenizer, prompt, answer))
    start, made = list(suite.tokenizer.start), [[]]
    room = context - len(start)
    for n in np.random.default_rng(seed).permutation(len(lies)):
        if made[-1] and len(made[-1]) + len(lies[n]) > room:
            made.append([])
        made[-1] += lies[n][:room]
    return rows_with_labels([start + ids for ids in made], len(made), context)


def beginnings(tokenizer: Tokenizer, terms: Iterable[str]) -> list[int]:
    """Return the tokens that begin a term in any place of a text, without unknown and blank tokens."""
    found = set()
    for text, start in ((before + term + after, len(before)) for term in terms for before in BEFORE for after in AFTER):
        ids_T, ends_T = tokenizer.encode(text)
        found.add(int(ids_T[np.sum(ends_T <= start)]))
    pieces = dict(zip(sorted(found), tokenizer.pieces(sorted(found)), strict=True))
    return [token for token, piece in pieces.items() if token != tokenizer.unknown_id and piece.strip("▁Ġ ")]


def mixed(parts: Sequence[tuple[np.ndarray, np.ndarray]], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the blocks of all parts; smaller parts are repeated until each has as many blocks as the largest."""
    most, draw = max(len(tokens) for tokens, _ in parts), np.random.default_rng(seed)
    picked = [np.concatenate([draw.permutation(len(t)) for _ in range(-(-most // len(t)))])[:most] for t, _ in parts]
    tokens, labels = zip(*[(t[i], y[i]) for (t, y), i in zip(parts, picked, strict=True)], strict=True)
    return np.concatenate(tokens), np.concatenate(labels)
