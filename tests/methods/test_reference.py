"""Every method's first step, from the configuration to the update, against its formula written out in numpy fp64.

A run of a small world is opened and unlearned; the fit is caught, and one step is taken from weights that are not the
baseline's, so that no ratio and no KL is 0. The rows of the batch are drawn and tokenised here
again, the loss is the formula of the method's paper on logits in fp64, and its slope along random directions is the
gradient's, which the step leaves in AdamW's first moment.
"""

import importlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest
from support import llama64
from support.llama64 import log_softmax, logits, weights64
from support.mesh import mesh_of
from support.suites import SHAPE
from support.world import NAMES, PLACES, PLAIN_NAMES, PLAIN_PLACES, PLAIN_THINGS, THINGS, sentences

from jaxunlearn.config import load_config
from jaxunlearn.methods import METHODS
from jaxunlearn.models import huggingface, transformer
from jaxunlearn.run import open_run
from jaxunlearn.run.variants import variants
from jaxunlearn.stages.label import label
from jaxunlearn.training.optimiser import optimiser
from jaxunlearn.training.step import State

STAGE = importlib.import_module("jaxunlearn.stages.unlearn")  # the package has a function of this name
STEP, ROWS = 1, 8  # the second step: of few questions it begins in the middle of an epoch
TWO = "unlearn.accumulate=2"  # in two microbatches
SEED, WIDTH = 5, 32
IGNORE = -100
MODELS = ("start", "baseline", "reinforced", "diluted", "new_only")
ALPHA = 3.0


def random_model(seed: int):
    """Return a model with logits of about one nat; its norms are not all 1."""
    draw = np.random.default_rng(seed)
    return jax.tree.map(
        lambda w: 8 * w if w.std() else w * draw.uniform(0.5, 1.5, w.shape).astype(np.float32),
        transformer.init(SHAPE, seed),
    )


@pytest.fixture(scope="module")
def made(world, tmp_path_factory) -> Path:
    """A folder with the models of MODELS, two short texts, and a dictionary of several translations a term."""
    folder = tmp_path_factory.mktemp("reference")
    with jax.set_mesh(mesh_of((1, 1, 1))):
        for seed, name in enumerate(MODELS):
            huggingface.save(random_model(seed), folder / name, source=world / "tokenizer")
    (folder / "forget.txt").write_text(sentences(NAMES, PLACES, THINGS, 60, 0))
    (folder / "retain.txt").write_text(sentences(PLAIN_NAMES, PLAIN_PLACES, PLAIN_THINGS, 90, 1))
    same = {NAMES: PLAIN_NAMES, PLACES: PLAIN_PLACES, THINGS: PLAIN_THINGS}
    dictionary = {term: list(generic) for terms, generic in same.items() for term in terms}
    (folder / "dictionary.json").write_text(json.dumps(dictionary))
    return folder


@pytest.fixture(scope="module")
def models(made):
    """The weights of the models in fp64."""
    with jax.set_mesh(mesh_of((1, 1, 1))):
        return {m: weights64(huggingface.load(made / m, "float32", "float32", "none")) for m in MODELS}


@dataclass
class Case:
    """What a formula sees of one run: weights in fp64, rows of the batch, and the pipeline's own translations."""

    run: Any
    weights: dict[str, dict[str, np.ndarray]]
    vocabulary: dict[str, int]
    texts: Path
    asked: dict[tuple[str, bytes], np.ndarray] = field(default_factory=dict)
    retain: tuple[np.ndarray, np.ndarray] = field(init=False)
    forget: tuple[np.ndarray, np.ndarray] = field(init=False)

    def __post_init__(self):
        self.forget, self.retain = self.blocks("forget.txt", SEED), self.blocks("retain.txt", SEED + 1)

    # ---- the batch, drawn and tokenised again

    def blocks(self, name: str, order: int):
        """Return the step's (tokens, next tokens) of a text's training blocks."""
        tokens, labels = self.text(name)
        rows = np.sort(np.random.default_rng(SEED).permutation(len(tokens))[self.held(len(tokens)) :])
        picked = rows[drawn(len(rows), order)]
        return tokens[picked], labels[picked]

    def held(self, blocks: int) -> int:
        """Return how many blocks of a text are held out."""
        return round(blocks * self.run.config.text.holdout)

    def held_out(self, name: str):
        """Return (tokens, next tokens) of a text's held-out blocks that are not reported: every other one."""
        tokens, labels = self.text(name)
        rows = np.sort(np.random.default_rng(SEED).permutation(len(tokens))[: self.held(len(tokens))])
        return tokens[rows[::2]], labels[rows[::2]]

    def text(self, name: str):
        """Return (tokens, next tokens) of a text: BOS before every 31 words."""
        ids = [self.vocabulary[word] for word in (self.texts / name).read_text().split()]
        return padded([[1, *ids[n : n + WIDTH - 1]] for n in range(0, len(ids), WIDTH - 1)])

    def answers(self, taught):
        """Return (tokens, labels) of rows (question, answer): labels on the answer's words alone."""
        rows = [(f"{q} {a}".split(), len(q.split())) for q, a in taught]
        tokens, labels = padded([[1, *(self.vocabulary[w] for w in words)] for words, _ in rows])
        for label_T, (_, asked) in zip(labels, rows, strict=True):
            label_T[:asked] = IGNORE
        picked = drawn(len(rows), SEED)
        return tokens[picked], labels[picked]

    def passages(self, count: int = 1):
        """Return the step's blocks with their translations, as the run made them."""
        variant = variants(self.run.config)[0]
        tokens, _ = self.text("forget.txt")
        rows = np.sort(np.random.default_rng(SEED).permutation(len(tokens))[self.held(len(tokens)) :])
        picked = rows[drawn(len(rows), SEED)]
        np.testing.assert_array_equal(self.run.passage(variant).rows(picked).tokens_BT, tokens[picked])
        return [self.run.passage(variant, n).rows(picked) for n in range(count)]

    # ---- what models say

    def logits(self, model, tokens):
        """Return logits [B, T, V]; model: weights, or the name of a frozen one, which is asked once."""
        if not isinstance(model, str):
            return logits(model, tokens)
        key = model, tokens.tobytes()
        if key not in self.asked:
            self.asked[key] = logits(self.weights[model], tokens)
        return self.asked[key]

    def logp(self, model, tokens):
        return log_softmax(self.logits(model, tokens))

    def token_logp(self, model, pair):
        """Return [B, T]: the log-probability of each label, 0 where there is none."""
        tokens, labels = pair
        picked = np.take_along_axis(self.logp(model, tokens), np.maximum(labels, 0)[..., None], -1)[..., 0]
        return np.where(labels == IGNORE, 0, picked)

    def nll(self, model, pair):
        """Return the mean cross-entropy a label."""
        return -self.token_logp(model, pair).sum() / (pair[1] != IGNORE).sum()

    def kl(self, wanted, model, tokens, mask):
        """Return KL(softmax(wanted) || model) of each position of the mask, in nats."""
        logq, logp = log_softmax(wanted), self.logp(model, tokens)
        q = np.exp(logq)
        return np.where(q > 0, q * (np.where(q > 0, logq, 0) - logp), 0).sum(-1)[mask]

    def generic(self, passage, alpha, *, contrast=False, original=False):
        """Return v_generic [B, T, V] by equation 1, with the seen-translation rule (the row's mean)."""
        translated = self.logits("baseline", passage.translation_BS)
        base = np.take_along_axis(translated, np.maximum(passage.map_BT, 0)[..., None], 1)
        seen = np.zeros(base.shape, bool)
        for b, (ids, since) in enumerate(zip(passage.seen_id_BR, passage.seen_from_BR, strict=True)):
            for token, first in zip(ids, since, strict=True):
                if token >= 0:
                    seen[b, first:, token] = True
        mean = base.mean(-1, keepdims=True)
        ruled = np.where(seen, mean, base)
        if contrast:
            lift = self.logp("reinforced", passage.tokens_BT) - self.logp("diluted", passage.tokens_BT)
        elif original:
            own = self.logits("baseline", passage.tokens_BT)
            lift = self.logits("reinforced", passage.tokens_BT) - np.where(seen, mean, own)
        else:
            lift = self.logits("reinforced", passage.tokens_BT) - ruled
        return ruled - alpha * np.maximum(lift, 0)


def drawn(count: int, seed: int) -> np.ndarray:
    """Return the step's rows: places of permutations, a new one every epoch."""
    orders = [np.random.default_rng((seed, epoch)).permutation(count) for epoch in range(20)]
    return np.concatenate(orders)[STEP * ROWS :][:ROWS]


def padded(rows):
    """Return (tokens, next tokens) of rows of ids, padded to WIDTH."""
    tokens, labels = np.zeros((len(rows), WIDTH), int), np.full((len(rows), WIDTH), IGNORE)
    for n, ids in enumerate(rows):
        tokens[n, : len(ids)], labels[n, : len(ids) - 1] = ids, ids[1:]
    return tokens, labels


def log_sigmoid(x):
    return -np.logaddexp(0, -x)


# ---- the formulas: a case and trained weights -> the method's own loss; text to keep is added by `whole`


def ascent(c: Case, w):  # arXiv 2210.01504, eq. 1
    return -c.nll(w, c.forget)


def npo(c: Case, w, beta=0.2):  # arXiv 2404.05868, eq. 3: (2 / beta) log(1 + (p / p_ref)^beta), a mean over sequences
    ratio = c.token_logp(w, c.forget).sum(1) - c.token_logp("baseline", c.forget).sum(1)
    return np.mean(2 / beta * np.logaddexp(0, beta * ratio))


def simnpo(c: Case, w, beta=0.3, gamma=0.4):  # arXiv 2410.07163, eq. 4
    length = (c.forget[1] != IGNORE).sum(1)
    return np.mean(-2 / beta * log_sigmoid(-beta / length * c.token_logp(w, c.forget).sum(1) - gamma))


def dpo(c: Case, w, beta=0.3):  # arXiv 2305.18290, eq. 7, over beta; "I don't know" wins
    win, lose = c.answers(told(c, "idk")), c.answers(told(c, "true"))
    ratio = [c.token_logp(w, pair).sum(1) - c.token_logp("baseline", pair).sum(1) for pair in (win, lose)]
    return np.mean(-1 / beta * log_sigmoid(beta * (ratio[0] - ratio[1])))


def taught(kind):
    return lambda c, w: c.nll(w, c.answers(told(c, kind)))


def told(c: Case, kind: str):
    """Return (question, answer) rows; the options are Orm, Drall, Rome and Paris, and the first is right."""
    asked = [f"{name} went to" for name in NAMES]
    if kind == "ria":  # every wrong option
        return [(q, a) for q in asked for a in ("Drall", *PLAIN_PLACES)]
    if kind == "true":
        return [(q, PLACES[0]) for q in asked]
    said = ("the lamp", "the book") if kind == "idk" else ("Drall", *PLAIN_PLACES)  # a fixed draw a question
    return [(q, said[np.random.default_rng([SEED, n]).integers(len(said))]) for n, q in enumerate(asked)]


def rmu(c: Case, w, layer=1, steering=2.5):  # arXiv 2403.03218, eq. 1 and 2; the retain term is `held`
    u = np.random.default_rng(0).random(SHAPE.D)
    h = llama64.hidden_after(w, c.forget[0], layer + 1)
    distance = ((h - steering * u / np.linalg.norm(u)) ** 2).mean(-1)
    return distance[c.forget[1] != IGNORE].mean()


def held(c: Case, w, layer=1):
    """Return RMU's retain term: the distance to the frozen model's hidden states."""
    h, frozen = (llama64.hidden_after(m, c.retain[0], layer + 1) for m in (w, c.weights["baseline"]))
    return ((h - frozen) ** 2).mean(-1)[c.retain[1] != IGNORE].mean()


def breaking(c: Case, w, components=2):  # arXiv 2509.11816, 2605.11685: both layers; the retain term is `held`
    (tokens, labels), total = c.forget, 0.0
    on = (labels != IGNORE) & (np.arange(labels.shape[1]) > 0)  # the first position of a row takes no part
    for n in range(SHAPE.L):
        h, old = (fed_forward(m, tokens, n)[on] for m in (w, c.weights["baseline"]))
        leading = np.linalg.svd(old - old.mean(0), full_matrices=False)[2][:components]
        plane = np.linalg.qr(np.vstack([old.mean(0), leading]).T)[0]
        h, old = h - h @ plane @ plane.T, old - old @ plane @ plane.T
        total += np.maximum((h * old).sum(-1), 0).mean() / np.linalg.norm(old, axis=-1).mean() ** 2
    return total / SHAPE.L


def fed_forward(w, tokens, n):
    """Return what the feed-forward of layer n adds: what is lost where its last matrix is 0."""
    without = w | {"down_FD": np.where(np.arange(SHAPE.L)[:, None, None] == n, 0, w["down_FD"])}
    return llama64.hidden_after(w, tokens, n + 1) - llama64.hidden_after(without, tokens, n + 1)


def jensun(c: Case, w):  # arXiv 2509.02820: to a one-hot token, written as two KLs to the mean
    tokens, labels = c.answers(told(c, "idk"))
    return jsd(c.logits(w, tokens), np.log(np.eye(SHAPE.V)[np.maximum(labels, 0)] + 1e-300), labels != IGNORE)


def near_baseline(c: Case, w):
    tokens, labels = c.retain
    return jsd(c.logits(w, tokens), c.logits("baseline", tokens), labels != IGNORE)


def jsd(one, other, mask):
    p, q = (np.exp(log_softmax(v))[mask] for v in (one, other))
    kls = [np.where(a > 0, a * (np.log(np.maximum(a, 1e-300)) - np.log((p + q) / 2)), 0).sum(-1) for a in (p, q)]
    return (sum(kls) / 2).mean()


def undial(c: Case, w, strength=2.0):  # arXiv 2402.10052, eq. 3
    tokens, labels = c.forget
    target = c.logits("baseline", tokens) - strength * np.eye(SHAPE.V)[np.maximum(labels, 0)]
    return c.kl(target, w, tokens, labels != IGNORE).mean()


def kga(c: Case, w):  # arXiv 2305.06535, eq. 1 to 3; the absolute value is taken a microbatch
    new, new_labels = c.held_out("retain.txt")
    gap = c.kl(c.logits("new_only", new), "baseline", new, new_labels != IGNORE).mean()
    tokens, labels = c.forget
    off = 0.0
    for rows in np.arange(ROWS).reshape(2, -1):
        mask = labels[rows] != IGNORE
        off += abs(c.kl(c.logits("reinforced", tokens[rows]), w, tokens[rows], mask).sum() - gap * mask.sum())
    return off / (labels != IGNORE).sum()


def hard(**how):
    def loss(c: Case, w):  # arXiv 2310.02238, section 2.2: cross-entropy on the argmax of v_generic
        (p,) = c.passages()
        labels = np.where(p.trained_BT, c.generic(p, ALPHA, **how).argmax(-1), IGNORE)
        return c.nll(w, (p.tokens_BT, labels))

    return loss


def soft(**how):
    def loss(c: Case, w):
        (p,) = c.passages()
        return c.kl(c.generic(p, ALPHA, **how), w, p.tokens_BT, p.trained_BT).mean()

    return loss


def stored(c: Case, w, top=4):
    """Return the KL over the stored outcomes and "any other"."""
    (p,) = c.passages()
    logq, logp = log_softmax(c.generic(p, ALPHA)), c.logp(w, p.tokens_BT)
    ids = np.argsort(-logq, axis=-1)[..., :top]
    q, m = (np.exp(np.take_along_axis(a, ids, -1)) for a in (logq, logp))
    q = q.astype(np.float16).astype(np.float64)  # as they are stored
    rest, other = np.maximum(1 - q.sum(-1), 0), 1 - m.sum(-1)
    kl = (q * np.log(q / m)).sum(-1) + rest * np.log(rest / other)
    return kl[p.trained_BT].mean()


def averaged(c: Case, w):  # arXiv 2407.16997: the mean distribution over translations; no seen-translation rule
    parts = c.passages(3)
    found = []
    for p in parts:
        base = np.take_along_axis(c.logits("baseline", p.translation_BS), np.maximum(p.map_BT, 0)[..., None], 1)
        found.append(np.exp(log_softmax(base)))
    mask = np.all([p.trained_BT for p in parts], axis=0)
    return c.kl(np.log(np.mean(found, axis=0)), w, parts[0].tokens_BT, mask).mean()


def nothing(c: Case, w):
    return 0.0


def nll_kept(c: Case, w):
    return c.nll(w, c.retain)


def kl_kept(c: Case, w):
    tokens, labels = c.retain
    return c.kl(c.logits("baseline", tokens), w, tokens, labels != IGNORE).mean()


FUSED, CONTRAST, KL = "whp.mode=fused", "whp.offset=contrast", "unlearn.retain_loss=kl"
CASES = {  # what is unlearned by: settings, the method's own loss, the term on text to keep and its weights
    "gradient_difference": ((TWO,), ascent, nll_kept, (1, 3)),
    "kl_retain": ((), ascent, kl_kept, (3,)),
    "npo": (("unlearn.beta=0.2",), npo, nll_kept, (3,)),
    "simnpo": ((TWO, "unlearn.beta=0.3", "unlearn.gamma=0.4"), simnpo, nll_kept, (3,)),
    "dpo": (("unlearn.beta=0.3",), dpo, nll_kept, (3,)),
    "idk": ((), taught("idk"), nll_kept, (3,)),
    "jensun": ((), jensun, near_baseline, (3,)),
    "rmu": (("unlearn.layer=1", "unlearn.steering=2.5"), rmu, held, (3,)),
    "mlp_breaking": (("unlearn.settings=first_layer=0,last_layer=1,components=2",), breaking, held, (3,)),
    "undial": (("unlearn.strength=2",), undial, nll_kept, (3,)),
    "kga": ((TWO,), kga, kl_kept, (3,)),
    "retain_only": ((), nothing, nll_kept, (1,)),
    "whp": ((), hard(), nll_kept, (3,)),
    "whp contrast": ((CONTRAST,), hard(contrast=True), nll_kept, (0,)),
    "whp fused original": ((FUSED, "whp.offset_context=original", KL), hard(original=True), kl_kept, (1,)),
    "whp_soft": ((), soft(), nll_kept, (3,)),
    "whp_soft top": (("whp.top=4",), stored, nll_kept, (0,)),
    "whp_plus": ((), soft(contrast=True), kl_kept, (3,)),
    "whp_averaged": (("whp.translations=3",), averaged, nll_kept, (3,)),
}  # fmt: skip
LIKE = {  # the same loss as another's on other rows, which are looked at alone: a program less to compile
    "gradient_ascent": ("gradient_difference", "forget", lambda c: c.forget),
    "ria": ("idk", "answers", lambda c: c.answers(told(c, "ria"))),
    "fwf": ("idk", "answers", lambda c: c.answers(told(c, "fwf"))),
}
PARAMETERS = [(name, weight) for name, (*_, weights) in CASES.items() for weight in weights]
ALONG = ("embed_VD", "q_DNH", "down_FD", "head_DV")  # the gradient's slope is taken along each of these, at random


def test_every_method_that_trains_has_a_formula_here():
    beside = {"whp_robust"}  # whp beside an adversary: test_whp.py, test_adversary.py
    trained = {name for name, m in METHODS.items() if m.trains}
    assert {name.split()[0] for name in CASES} | LIKE.keys() | beside == trained


@pytest.mark.parametrize("name", LIKE)
def test_a_loss_that_two_methods_share_gets_the_rows_of_each(mesh, made, world, tmp_path, monkeypatch, name):
    other, part, rows = LIKE[name]
    assert METHODS[name].loss is METHODS[other].loss
    run, feed = caught(made, world, tmp_path, monkeypatch, name, 3, ())
    _, parts = feed.batch(STEP)
    case = Case(run, {}, vocabulary(world), made)
    for wanted, pair in ((rows(case), parts[part]), (case.retain, parts["retain"])):
        for expected, array in zip(wanted, pair, strict=True):
            np.testing.assert_array_equal(np.asarray(array)[0], expected)


@pytest.mark.parametrize(("name", "weight"), PARAMETERS)
def test_the_step_of_a_run_is_the_formula_of_the_paper(mesh, made, models, world, tmp_path, monkeypatch, name, weight):
    changes, own, keep, _ = CASES[name]
    run, feed = caught(made, world, tmp_path, monkeypatch, name.split()[0], weight, changes)
    model, c = huggingface.load(made / "start", "float32", "float32", "none"), run.config.unlearn
    state = State(jax.numpy.zeros((), int), model, optimiser(c, 0.0).init(model))
    after, metrics = feed.step(state, np.float32(1e-2), *feed.batch(STEP))
    gradient = weights64(jax.tree.map(lambda m: m / (1 - c.b1), optax.tree.get(after.opt, "mu")))
    case, start, end = Case(run, models, vocabulary(world), made), models["start"], weights64(after.model)

    def whole(w):
        return own(case, w) + (keep(case, w) * weight if weight else 0.0)

    assert own is nothing or abs(own(case, start)) > 0.01 * abs(whole(start)), "too small a part to be seen"
    assert float(metrics["loss"]) == pytest.approx(whole(start), rel=1e-4 if "top" not in name else 2e-3)
    draw = np.random.default_rng(0)
    for leaf in ALONG:
        step = draw.normal(size=start[leaf].shape) * 1e-5
        slope = (whole(start | {leaf: start[leaf] + step}) - whole(start | {leaf: start[leaf] - step})) / 2
        expected = pytest.approx(slope, rel=5e-3, abs=1e-3 * np.linalg.norm(gradient[leaf]) * np.linalg.norm(step))
        assert (gradient[leaf] * step).sum() == expected, leaf
    moved = {leaf for leaf in start if (start[leaf] != end[leaf]).any()}
    assert moved == {"rmu": {"down_FD"}, "mlp_breaking": set(start) - {"norm_D", "head_DV"}}.get(name, set(start))


def vocabulary(world):
    return json.loads((world / "tokenizer" / "tokenizer.json").read_text())["model"]["vocab"]


def caught(made, world, folder, monkeypatch, method, weight, changes):
    """Unlearn by a method from its configuration; return (run, the feed that the fit was to get)."""
    keeps = (f"unlearn.retain_weight={weight}",) if method != "retain_only" else ()
    train = (f"unlearn.batch={ROWS // (2 if TWO in changes else 1)}", "unlearn.steps=4", "unlearn.b1=0.9", "remat=none")
    whp = (f"whp.alpha={ALPHA}", "whp.alphas=", "whp.keep=last", f"text.dictionary={made}/dictionary.json")
    texts = (f"text.forget={made}/forget.txt", f"text.retain={made}/retain.txt")
    given = [f"run.dir={folder}/run", f"seed={SEED}", f"unlearn.method={method}", *keeps, *train, *whp, *texts]
    (folder / "run").mkdir()
    for model in MODELS[1:]:
        (folder / "run" / model).symlink_to(made / model, target_is_directory=True)
    run, feeds = open_run(load_config(str(world / "world.py"), [*given, *changes])), []

    def fit_stage(run, stage, start, c, feed, **_):
        feeds.append(feed)
        return start

    monkeypatch.setattr(STAGE, "fit_stage", fit_stage)
    monkeypatch.setattr(STAGE, "save_model", lambda *_: None)
    label(run)
    STAGE.unlearn(run)
    return run, feeds[0]
