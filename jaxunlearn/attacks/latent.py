"""The latent probe: read forgotten facts off the hidden states with a linear classifier; the twin is the reference.

The state at the last token of a fact's question, after each layer, is regressed (ridge) onto the right option. The
classifier is tried on facts that it was not fitted to. Facts are independent, so a state that holds none gives chance.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import FiniteFloat

from jaxunlearn.attacks.base import FILTER, MAIN, STRESS, Attack, Target, lacks_facts
from jaxunlearn.attacks.guessing import best_by_guessing
from jaxunlearn.data.facts import Fact
from jaxunlearn.errors import Diverged
from jaxunlearn.estimates import rate_estimate
from jaxunlearn.evals.suite import Suite
from jaxunlearn.files import sha256_text
from jaxunlearn.models.transformer import rope_table
from jaxunlearn.parallel.sharding import act, put, replicated
from jaxunlearn.report.schema import EACH, MODEL, Figure, Form, Graded

RIDGE = 1.0  # on standardised states


@jax.jit
def hidden_states(model, tokens_BT, last_B):
    """Return h_LBD, the residual stream after each layer at position last_B of each row, gathered whole."""
    x_BTD = model.embed(tokens_BT)
    rope = rope_table(model.c, jnp.arange(tokens_BT.shape[1])[None])
    pick_BT = (jnp.arange(tokens_BT.shape[1])[None] == last_B[:, None]).astype(x_BTD.dtype)

    def layer(x_BTD, block_and_kind):
        block, kind = block_and_kind
        x_BTD = block(x_BTD, kind, rope, None)[0]
        return x_BTD, jnp.einsum("BT,BTD->BD", pick_BT, x_BTD, out_sharding=act("BD"))

    return replicated(jax.lax.scan(layer, x_BTD, model.layers())[1])


def states(model, suite: Suite, prompts: Sequence[str]) -> np.ndarray:
    """Return h_LND of the prompts' last tokens, in batches of one shape."""
    contexts = [suite.words.context(p) for p in prompts]
    width, batch, parts = -(-max(map(len, contexts)) // 32) * 32, suite.c.batch, []
    for start in range(0, len(contexts), batch):
        rows = contexts[start : start + batch]
        tokens_BT, last_B = np.zeros((batch, width), np.int32), np.zeros(batch, np.int32)
        for n, row in enumerate(rows):
            tokens_BT[n, : len(row)], last_B[n] = row, len(row) - 1
        h_LBD = np.asarray(hidden_states(model, put(tokens_BT, "BT"), put(last_B, "B")), np.float64)
        if not np.isfinite(h_LBD).all():
            raise Diverged(f"the model's hidden states are not finite after {prompts[start]!r} or a prompt near it")
        parts.append(h_LBD[:, : len(rows)])
    return np.concatenate(parts, axis=1)


def ridge_scores(h_ND: np.ndarray, classes_N: np.ndarray, test_MD: np.ndarray, count: int) -> np.ndarray:
    """Return scores_MC of a ridge classifier on standardised states, classes one-hot, the mean left free."""
    middle_D, spread_D = h_ND.mean(axis=0), h_ND.std(axis=0) + 1e-6
    x_ND, z_MD = (h_ND - middle_D) / spread_D, (test_MD - middle_D) / spread_D
    y_NC = np.eye(count)[classes_N]
    gram_NN = x_ND @ x_ND.T + RIDGE * x_ND.shape[1] * np.eye(len(x_ND))  # the dual: D may exceed N
    return z_MD @ x_ND.T @ np.linalg.solve(gram_NN, y_NC - y_NC.mean(axis=0)) + y_NC.mean(axis=0)


def probe(model, suite: Suite, facts: Sequence[Fact], *, splits: int, seed: int) -> dict:
    """Return {"layers": accuracy after each layer, "chance", "floor", "right"}; every fact is held out once.

    floor: what the best layer gives by guessing. right: 1 or 0 for each fact, layer by layer.
    """
    answers = sorted({option for f in facts for option in f.options})
    number = {option: n for n, option in enumerate(answers)}
    right_N = np.array([number[f.options[f.answer]] for f in facts])
    h_LND = states(model, suite, [f.question for f in facts])
    folds = np.array_split(np.random.default_rng(seed).permutation(len(facts)), min(splits, len(facts)))
    chosen_LN = np.zeros((len(h_LND), len(facts)), int)
    for h_ND, chosen_N in zip(h_LND, chosen_LN, strict=True):
        for fold in folds:
            rest = np.setdiff1d(np.arange(len(facts)), fold)
            scores_MC = ridge_scores(h_ND[rest], right_N[rest], h_ND[fold], len(answers))
            for scores_C, n in zip(scores_MC, fold, strict=True):
                chosen_N[n] = np.argmax([scores_C[number[o]] for o in facts[n].options])
    right_LN = chosen_LN == [f.answer for f in facts]
    return {
        "layers": [rate_estimate(int(right_N.sum()), len(facts)).to_json() for right_N in right_LN],
        "chance": float(np.mean([1 / len(f.options) for f in facts])),
        "floor": best_by_guessing(chosen_LN, [len(f.options) for f in facts], seed).to_json(),
        "right": right_LN.astype(int).tolist(),
    }


def attack_latent(target: Target) -> dict[str, dict]:
    """Read the facts off the hidden states with a linear classifier, layer by layer."""
    facts, c = target.run.facts, target.run.config.attack
    depends = [c.seed, c.rtt.splits, sha256_text(repr(facts)), "floor"]

    def make(of: str) -> dict:
        model = target.load(of, frozen=True)
        return probe(model, target.run.suite, facts, splits=c.rtt.splits, seed=c.seed)

    found = {}
    for name, of in target.weights(*MAIN, STRESS, FILTER):
        found[name] = dict(target.kept("latent", of, depends, lambda of=of: make(of)))
        target.pair(name, READ, found[name].pop("right"), floor=found[name]["floor"]["value"])
    return found


class Latent(Form):
    """Accuracy of a linear classifier on the hidden states after each layer, and of guessing.

    floor: of the best layer by guessing; absent in reports of earlier versions.
    """

    layers: list[Figure]
    chance: FiniteFloat
    floor: Figure | None = None


READ, HERE = "latent probe, layer", ("attacks", "latent", MODEL)
LATENT = Attack(
    name="latent",
    title="What hidden states hold",
    tries="Read the facts off the hidden states with a linear classifier, layer by layer.",
    control="The twin, at the layer that gives most; the best layer by guessing.",
    run=attack_latent,
    check=lacks_facts,
    form=dict[str, Latent],
    graded=(Graded(title=READ, at=[*HERE, "layers", EACH], chance=[*HERE, "chance"], floor=[*HERE, "floor"]),),
)
