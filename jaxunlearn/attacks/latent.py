"""The latent probe: can a linear classifier read forgotten facts off the hidden states? The twin is the reference.

The state at the last token of a fact's question, after each layer, is regressed (ridge) onto the right option; tried
on facts that it was not fitted to. Facts are independent, so a state that holds none gives chance.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxunlearn.attacks.base import FILTER, MAIN, STRESS, Attacked
from jaxunlearn.config import Attack, as_dict
from jaxunlearn.data.facts import Fact
from jaxunlearn.errors import RunError
from jaxunlearn.estimates import rate_estimate
from jaxunlearn.evals.suite import Suite
from jaxunlearn.files import sha256_text
from jaxunlearn.models.transformer import rope_table
from jaxunlearn.parallel.sharding import act, lookup, put, replicated


def attack_latent(a: Attacked) -> None:
    """Read the facts off the hidden states with a linear classifier, layer by layer."""
    facts = a.run.facts
    if not facts:
        return a.skip("latent probe", "no facts: give attack.facts=FILE, or `facts` in text.prompts")
    for name, of in a.weights(*MAIN, STRESS, FILTER):

        def make(of=of):
            return probe(a.load(of, frozen=True), a.run.suite, facts, a.c)

        depends = [as_dict(a.c), sha256_text(repr(facts))]
        a.found.setdefault("latent", {})[name] = a.kept("latent", of, depends, make)


RIDGE = 1.0  # on standardised states


@jax.jit
def hidden_states(model, tokens_BT, last_B):
    """Return h_LBD, the residual stream after each layer at position last_B of each row, gathered whole."""
    x_BTD = lookup(model.embed_VD[...].astype(model.c.compute), tokens_BT)
    rope = rope_table(model.c, jnp.arange(tokens_BT.shape[1])[None])
    pick_BT = (jnp.arange(tokens_BT.shape[1])[None] == last_B[:, None]).astype(x_BTD.dtype)

    def layer(x_BTD, block):
        x_BTD = block(x_BTD, rope, None)[0]
        return x_BTD, jnp.einsum("BT,BTD->BD", pick_BT, x_BTD, out_sharding=act("BD"))

    return replicated(jax.lax.scan(layer, x_BTD, model.blocks)[1])


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
            raise RunError(f"the model's hidden states are not finite after {prompts[start]!r} or a prompt near it")
        parts.append(h_LBD[:, : len(rows)])
    return np.concatenate(parts, axis=1)


def ridge_scores(h_ND: np.ndarray, classes_N: np.ndarray, test_MD: np.ndarray, count: int) -> np.ndarray:
    """Return scores_MC of a ridge classifier on standardised states, classes one-hot, the mean left free."""
    middle_D, spread_D = h_ND.mean(axis=0), h_ND.std(axis=0) + 1e-6
    x_ND, z_MD = (h_ND - middle_D) / spread_D, (test_MD - middle_D) / spread_D
    y_NC = np.eye(count)[classes_N]
    gram_NN = x_ND @ x_ND.T + RIDGE * x_ND.shape[1] * np.eye(len(x_ND))  # the dual: D may exceed N
    return z_MD @ x_ND.T @ np.linalg.solve(gram_NN, y_NC - y_NC.mean(axis=0)) + y_NC.mean(axis=0)


def probe(model, suite: Suite, facts: Sequence[Fact], c: Attack) -> dict:
    """Return {"layers": accuracy after each layer, "chance"}: every fact tried once, among its own options."""
    answers = sorted({option for f in facts for option in f.options})
    number = {option: n for n, option in enumerate(answers)}
    right_N = np.array([number[f.options[f.answer]] for f in facts])
    h_LND = states(model, suite, [f.question for f in facts])
    folds = np.array_split(np.random.default_rng(c.seed).permutation(len(facts)), min(c.splits, len(facts)))
    layers = []
    for h_ND in h_LND:
        hits = 0
        for fold in folds:
            rest = np.setdiff1d(np.arange(len(facts)), fold)
            scores_MC = ridge_scores(h_ND[rest], right_N[rest], h_ND[fold], len(answers))
            for scores_C, n in zip(scores_MC, fold, strict=True):
                options = [scores_C[number[o]] for o in facts[n].options]
                hits += int(np.argmax(options)) == facts[n].answer
        layers.append(rate_estimate(hits, len(facts)).to_json())
    return {"layers": layers, "chance": float(np.mean([1 / len(f.options) for f in facts]))}
