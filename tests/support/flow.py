"""A world whose every row names its split, and spies that note which rows reach what: no step and no model is computed.

Each block, prompt and fact begins with a word of its own kind (WORDS), so that tokens tell where they come from. The
spies stand at the narrow places of the package: the fit, the label pass, the questions to a model. A model carries the
number of the training that made it in a weight, and the spies read it back, also after saving and loading.
"""

import contextlib
import functools
import importlib
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

from jaxunlearn.attacks import benign, depth, distance, hiding, latent, pace, probes, quantise, relearn, rtt
from jaxunlearn.evals import familiarity, members, membership, memorisation, perplexity, suite, words
from jaxunlearn.methods import kga, reset
from jaxunlearn.models import huggingface
from jaxunlearn.parallel.sharding import fetch
from jaxunlearn.run.directory import RunDirectory
from jaxunlearn.training.step import State
from jaxunlearn.whp import labels
from support.tokenizers import begin_with

CONTEXT, BLOCKS, HELD, FACTS = 16, 20, 4, 10  # of each text; blocks held out of each
WORDS = {  # the first word of a row: what the table calls it
    "ForgetTrained": "forget", "ForgetTuned": "forget to tune on", "ForgetHeld": "forget to report",
    "RetainTrained": "retain", "RetainTuned": "retain to tune on", "RetainHeld": "retain to report", "Repair": "repair",
    "ForgetApart": "forget, a text of its own", "RetainApart": "retain, a text of its own",
    "ChooseNext": "next word (choose)", "ReportNext": "next word (report)",
    "ChooseWrites": "completion (choose)", "ReportWrites": "completion (report)", "ChooseAsks": "choice (choose)",
    "ReportAsks": "choice (report)", "Neutral": "neutral", "Track": "track", "Leak": "leak probe", "Fact": "fact",
    "Question": "answers",
}  # fmt: skip
SAID = [f"said{n}" for n in range(40)]  # what a model writes: its number
LETTERS = list("abcdefghijkl")
OPTIONS = ("Rome", "Paris", "Orm")
STAGES = ("fit", "unlearn", "label", "batches", "heal")
stages = {name: importlib.import_module(f"jaxunlearn.stages.{name}") for name in STAGES}


# ---- the world


def held_out(seed: int = 0) -> list[int]:
    """Return which blocks of a text are held out, in order: the first of the seed's permutation."""
    return sorted(np.random.default_rng(seed).permutation(BLOCKS)[:HELD].tolist())


def text_of(trained: str, tuned: str, held: str, letter: str, named: str, blocks: int = BLOCKS) -> str:
    """Return a text of one line a block: the word of its split, its number, and words with a name between them.

    Of the blocks held out every other one, the first included, is tuned on.
    """
    lines, apart = [], held_out()
    kinds = dict.fromkeys(apart[::2], tuned) | dict.fromkeys(apart[1::2], held)
    for n in range(blocks):
        first = [kinds.get(n, trained), f"{letter}{n}"]
        lines.append(" ".join([*first, *LETTERS[:6], named, *LETTERS[6:]]))
    return "\n".join(lines)


def write_flow(folder: Path) -> Path:
    """Write the world and return its configuration's file."""
    texts = {
        "forget": text_of("ForgetTrained", "ForgetTuned", "ForgetHeld", "F", "Zara"),
        "retain": text_of("RetainTrained", "RetainTuned", "RetainHeld", "R", "Ben"),
        "repair": text_of("Repair", "Repair", "Repair", "P", "Ben", 8),
        "forget_held": text_of("ForgetApart", "ForgetApart", "ForgetApart", "G", "Zara", 3),
        "retain_held": text_of("RetainApart", "RetainApart", "RetainApart", "S", "Ben", 3),
    }
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)
    vocabulary = ["<unk>", "<s>", "</s>", *WORDS, *SAID, "Zara", "Ben", *OPTIONS, *[f"q{n}" for n in range(FACTS)]]
    vocabulary += sorted({w for text in texts.values() for w in text.split()} - set(vocabulary))
    vocabulary += [f"spare{n}" for n in range(-len(vocabulary) % 8)]
    tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(vocabulary)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    begin_with(tokenizer)
    (folder / "tokenizer").mkdir()
    tokenizer.save(str(folder / "tokenizer" / "tokenizer.json"))
    (folder / "tokenizer" / "tokenizer_config.json").write_text('{"bos_token": "<s>", "eos_token": "</s>"}')
    (folder / "dictionary.json").write_text('{"Zara": ["Ben"]}')
    (folder / "prompts.json").write_text(json.dumps(_prompts()))
    questions = [{"question": f"Question q{n}", "options": [*OPTIONS], "answer": 0} for n in range(4)]
    (folder / "answers.json").write_text(json.dumps({"questions": questions, "ignorance": ["a b"]}))
    (folder / "flow.py").write_text(CONFIG.format(folder=folder, context=CONTEXT, share=HELD / BLOCKS))
    return folder / "flow.py"


def _prompts() -> dict:
    splits = {"choose": "Choose", "report": "Report"}
    out = {"specific": ["Orm"], "generic": ["Rome"], "position": "out"}
    two = [(split, word, n) for split, word in splits.items() for n in (0, 1)]
    return {
        "name": "flow", "neutral": ["Neutral"], "track": [{"prompt": "Track", "words": ["Orm"]}],
        "probability": [out | {"prompt": f"{word}Next q{n}", "split": split} for split, word, n in two],
        "completion": [{"prompt": f"{word}Writes q{n} Zara", "references": ["Zara"], "subtlety": 2, "split": split}
                       for split, word, n in two],
        "choice": [{"question": f"{word}Asks q{n}", "options": [*OPTIONS], "answer": 0, "split": split}
                   for split, word, n in two],
        "lexicon": {"explicit": ["Zara"], "typical": []},
        "leaks": [{"prompt": "Leak q0", "kind": "missed", "specific": ["Orm"], "generic": ["Rome"]}],
        "facts": [{"question": f"Fact q{n}", "options": [*OPTIONS], "answer": n % 3} for n in range(FACTS)],
    }  # fmt: skip


CONFIG = """
from jaxunlearn.config import *

def config():
    few = dict(steps=4, learning_rate=1e-2, batch=8)
    return Config(
        name="flow", tokenizer="{folder}/tokenizer",
        init=Llama(D=32, L=2, N=2, K=2, H=16, F=32, context={context}),
        text=Text(forget=("{folder}/forget.txt",), retain=("{folder}/retain.txt",), context={context}, holdout={share},
                  dictionary="{folder}/dictionary.json", prompts="{folder}/prompts.json",
                  answers="{folder}/answers.json"),
        pretrain=Pretrain(**few | dict(steps=8)), reinforce=Train(**few),
        unlearn=Unlearn(reach=0.1, **few | dict(steps=6)),
        repair=Repair(text=("{folder}/repair.txt",), **few),
        reset=Reset(batches=2, heal=Train(**few)),
        eval=Eval(every=2, batch=8, blocks=8, completions=4, new_tokens=2, relearn_steps=(0, 4), relearn_blocks=3,
                  relearn_rates=(1e-3,), members=4, allow_unknown=True),
        attack=Attack(rtt=RttAttack(rates=(1e-3,), epochs=1), probes=ProbesAttack(samples=1, new_tokens=2, blind=3),
                      ways=WaysAttack(rates=(1e-3,), steps=(4,)), halfway=HalfwayAttack(rates=(1e-3,), most_steps=4),
                      benign=BenignAttack(facts=3, rates=(1e-3,), most_steps=2), distance=DistanceAttack(points=2)),
        controls=("dictionary_alone", "own_argmax", "retain_only"),
        run=Run(dir="{folder}/run"),
    )
"""


# ---- what is noted

COLUMNS = ("model", "trains on", "beside", "is asked", "writes after", "loss on")
BUNDLES = {  # what the suite of a split asks, as one word of the table
    "the {split} prompts": {"choice ({split})", "leak probe", "next word ({split})", "track"},
    "after the {split} prompts": {"completion ({split})", "neutral"},
    "text to tune on": {"forget to tune on x2", "retain to tune on x2", "temperature: retain to report"},
    "text to report": {"forget to report x2", "retain to report x2", "temperature: retain to tune on"},
}


def bundled(cell: list[str]) -> str:
    """Return what a cell holds, in alphabetical order, with the bundles in it by their names."""
    found = set(cell)
    for name, parts in BUNDLES.items():
        for split in ("choose", "report"):
            if (whole := {part.format(split=split) for part in parts}) <= found:
                found = found - whole | {name.format(split=split)}
    return "; ".join(sorted(found))


class Flow:
    """Notes by place (a stage, a measurement, an attack): {column: what was seen there, in order, each once}."""

    def __init__(self, monkeypatch, folder: Path):
        words_of = json.loads((folder / "tokenizer" / "tokenizer.json").read_text())["model"]["vocab"]
        self.words = {number: word for word, number in words_of.items()}
        self.numbers = words_of
        self.notes: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        self.places, self.models, self.trained = ["outside"], {1.0: "fresh"}, set()
        self.within = ""  # whose stages are noted: the method's, where there are several
        self.checkpoints: dict[str, Any] = {}
        self._spy(monkeypatch)

    def note(self, column: str, *seen: str) -> None:
        """Note what reached a column at the present place."""
        cell = self.notes[self.places[-1]][column]
        cell += [text for text in seen if text not in cell]

    def table(self, head: str = "at") -> str:
        """Return the notes as a table in Markdown, a line a place."""
        lines = [f"| {head} | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
        for place, cells in self.notes.items():
            lines.append(f"| {place} | {' | '.join(bundled(cells[c]) for c in COLUMNS)} |")
        return "\n".join(lines)

    # ---- names

    def rows(self, tokens, valid=None, counted: bool = False) -> list[str]:
        """Return the kinds of rows of tokens, with how many different ones there are where it is asked."""
        found: dict[str, set[str]] = defaultdict(set)
        for row in np.asarray(fetch(tokens)).reshape(-1, np.shape(tokens)[-1]):
            said = [self.words[int(t)] for t in row if int(t) > 2]
            kind = next((w for w in said if w in WORDS), "other")
            found[WORDS.get(kind, kind)].add(said[1] if len(said) > 1 else "")
        return [f"{kind} x{len(own)}" if counted else kind for kind, own in sorted(found.items())]

    def texts(self, prompts) -> list[str]:
        """Return the kinds of prompts; facts are told apart by whether they were just trained on."""
        by_kind: dict[str, set[str]] = defaultdict(set)
        for prompt in prompts:
            split = prompt.split()
            kind = next((w for w in split if w in WORDS), "other")
            by_kind[WORDS.get(kind, kind)].add(split[split.index(kind) + 1] if kind in split[:-1] else "")
        facts = by_kind.pop("fact", set())
        return sorted(by_kind) + ([self._facts(facts)] if facts else [])

    def _facts(self, facts: set[str]) -> str:
        told = self.trained if "Fact" in self.trained else set()
        if facts <= told:
            return "facts trained on"
        return "facts of both kinds" if facts & told else "other facts"

    def name(self, model) -> str:
        """Return the name of a model by the numbers in it, with what became of its matrices."""
        leaves = jax.tree_util.tree_leaves_with_path(model)
        marks = [float(np.asarray(w)[0]) for path, w in leaves if "norm_D" in _path(path)]
        said = " + ".join(self.models.get(mark, f"weights {mark:g}") for mark in marks)
        matrix = next((np.asarray(w)[0] for path, w in leaves if "down_FD" in _path(path)), None)
        return said + ("" if matrix is None else rounding(matrix))

    def mark(self, model, name: str):
        """Return the model with the number of a new training in it."""
        number = float(len(self.models) + 1)
        self.models[number] = name

        def marked(path, w):
            if "norm_D" not in _path(path):
                return w
            return jax.device_put(np.full(w.shape, number, np.float32), w.sharding)

        return jax.tree_util.tree_map_with_path(marked, model)

    # ---- the spies

    def _spy(self, patch) -> None:
        for module in (stages["fit"], relearn, rtt, hiding, pace):
            patch.setattr(module, "fit", self.fit)
            patch.setattr(module, "init_state", self.init_state)
        for module in (stages["fit"], stages["unlearn"]):
            patch.setattr(module, "Checkpoints", lambda path: Shelf(self.checkpoints, str(path)))
        patch.setattr(huggingface, "abstract", functools.cache(huggingface.abstract))  # one shape; it is loaded often
        patch.setattr(stages["fit"].gc, "collect", lambda: 0)
        patch.setattr(RunDirectory, "stage", self.stage)
        patch.setattr(labels, "label", self.label)
        patch.setattr(stages["label"], "soft_labels", self.soft_labels)
        patch.setattr(stages["unlearn"], "label_loss", self.label_loss)
        patch.setattr(stages["batches"], "_logp", self.logp)
        patch.setattr(words.Words, "probabilities", lambda of, model, pairs: self.probabilities(model, pairs))
        for module in (suite, memorisation):
            patch.setattr(module, "generate", self.generate)
        for module in (perplexity, quantise, distance):
            patch.setattr(module, "block_sums", self.block_sums)
        patch.setattr(perplexity, "_losses_at", self.losses_at)
        for module in (members, membership):
            patch.setattr(module, "score_answers", self.score_answers)
        patch.setattr(membership, "gradient_norms", self.gradient_norms)
        patch.setattr(benign, "drawn", self.drawn(benign.drawn))
        patch.setattr(distance, "distances", lambda *models: {"all": 0.0, "layers": [0.0], "ends": 0.0})
        patch.setattr(distance, "between", self.between)
        patch.setattr(depth, "logps", self.patched)
        patch.setattr(latent, "hidden_states", self.hidden_states)
        patch.setattr(latent, "ridge_scores", self.ridge_scores)
        patch.setattr(probes, "calibrated", self.calibrated(probes.calibrated))
        patch.setattr(kga, "mean_kl", self.mean_kl)
        patch.setattr(reset, "squared_gradients", self.squared_gradients)
        assert familiarity.complete is suite.complete  # which calls `generate` there

    @contextlib.contextmanager
    def stage(self, name: str, what: str):
        """Stand in for RunDirectory.stage: what happens inside is noted under the stage's name."""
        place = {"evaluate": f"evaluate {what}", "attack": f"attack {what}"}.get(name, name)
        place = place.replace(" (must be exposed)", "").partition(": forgetting")[0]
        if self.within:
            place = self.within if name == "unlearn" else f"{self.within}: {name}"
        self.places.append(place)
        yield
        self.places.pop()

    def init_state(self, model, c) -> State:
        self.note("model", *[name for name in [self.name(model)] if name])  # an adapter has none
        return State(np.zeros((), np.int32), model, ())

    def fit(self, state, step_fn, batch_fn, c, *, checkpoints=None, log=None, measure=None, measure_at=(), tokens=0):
        """Stand in for the loop: take the batches, note them, and measure where the loop would."""
        place, seen = self.places[-1], defaultdict(list)
        for step in range(c.steps):
            for part, array in self._parts(batch_fn(step)):
                seen[part].append(array.reshape(-1, array.shape[-1]))
        for part, arrays in seen.items():
            found = self.rows(np.concatenate(arrays), counted=True)
            self.note("trains on", *[rows if part == "rows" else f"{part}: {rows}" for rows in found])
        ids = np.unique(np.concatenate([a.ravel() for arrays in seen.values() for a in arrays]))
        self.trained = {self.words[int(t)] for t in ids}
        if measure and 0 in measure_at:
            measure(0, state)
        for step in range(1, c.steps + 1):
            if step in measure_at or step == c.steps:
                name = place if step == c.steps else f"{place}, step {step}"
                state = State(np.int32(step), self.mark(state.model, name), ())
            if measure and step in measure_at:
                measure(step, state)
        self.trained = set()
        return state

    def _parts(self, arguments):
        """Yield (part, tokens) of a step's arguments; frozen models and the kind of labels are noted on the way."""
        if not isinstance(arguments[0], dict):
            tokens, labels = (np.asarray(a) for a in arguments[:2])
            self._labels(tokens, labels)
            yield "rows", tokens
            return
        frozen, parts = arguments
        self.note("beside", *[f"{n}={self.name(m)}" for n, m in frozen.items() if jax.tree.leaves(m)[0].ndim])
        for name, part in parts.items():
            if name == "reference":
                continue
            for one in part if name == "passages" else [part]:
                tokens, labels = np.asarray(one[0]), np.asarray(one[1])
                if name == "passages":
                    self.note("beside", "translated" if self.numbers["Ben"] in labels else "not translated")
                else:
                    self._labels(tokens, labels[..., 0] if name == "soft" else labels)
                yield ("rows" if name in ("forget", "retain", "labels", "soft", "passages") else name), tokens

    def _labels(self, tokens, labels) -> None:
        """Note labels that are not the next tokens: those of the fake label pass tell their alpha."""
        codes = sorted({int(label) for label in np.unique(labels) if label >= 1000})
        self.note("beside", *[f"labels {label_name(code)}" for code in codes])
        following = np.roll(tokens, -1, -1)
        wrong = (labels >= 0) & (labels < 1000) & (labels != following)
        if wrong.any():
            self.note("beside", "labels that are not the next token")

    # ---- the questions

    def label(self, baseline, reinforced, passage, diluted=None, *, alphas, whp):
        asked = (("baseline", baseline), ("reinforced", reinforced), ("diluted", diluted))
        self.note("beside", *[f"{name}={self.name(m)}" for name, m in asked if m is not None])
        self.note("is asked", *self.rows(passage.tokens_BT))
        translated = self.numbers["Ben"] in np.asarray(passage.translation_BS)
        code = [1000 + 10 * round(alpha) + translated for alpha in alphas]
        trained = np.asarray(passage.trained_BT)
        return np.where(trained[None], np.array(code)[:, None, None], -100).astype(np.int32)

    def soft_labels(self, baseline, reinforced, passage, diluted=None, *, alpha, whp):
        (ids_BT,) = self.label(baseline, reinforced, passage, diluted, alphas=(alpha,), whp=whp)
        ids_BTJ = np.repeat(ids_BT[..., None], whp.top, -1)
        return ids_BTJ, np.full(ids_BTJ.shape, 1 / whp.top)

    def label_loss(self, model, tokens, labels, batch):
        self.note("loss on", *[f"{rows} ({label_name(int(labels.max()))})" for rows in self.rows(tokens)])
        return 1.0

    def logp(self, model, tokens, labels):
        self.note("beside", f"reference={self.name(model)}")
        return np.full(len(tokens), -1.0, np.float32)

    def mean_kl(self, teacher, model, tokens, labels, batch):
        self.note("beside", f"gap of {self.name(teacher)} to {self.name(model)} on {', '.join(self.rows(tokens))}")
        return 0.1

    def squared_gradients(self, model, tokens, labels, batches, seed):
        self.note("beside", f"squares of {self.name(model)} on {', '.join(self.rows(tokens))}")
        # of the norm that carries the mark the target needs nothing, so that it is not drawn anew
        needed = float("ForgetTrained" not in {self.words[int(t)] for t in tokens.ravel()})
        squares = jax.tree.map(lambda w: w * w if not needed else w * 0 + 1, model)
        return jax.tree_util.tree_map_with_path(lambda p, w: w * 0 + needed if "norm_D" in _path(p) else w, squares)

    def probabilities(self, model, pairs):
        name = self.name(model)
        self._whose(name)
        self.note("is asked", *self.texts(prompt for prompt, _ in pairs))
        first = 0.5 if name in ("baseline", "fresh") else 0.05
        return [first + 0.01 * n / max(len(pairs), 1) for n in range(len(pairs))]

    def generate(self, model, prompts, max_new_tokens, sampling=None, **more):
        self._whose(self.name(model))
        self.note("writes after", *self.texts(" ".join(self.words[t] for t in ids if t > 2) for ids in prompts))
        marks = {name: n for n, name in enumerate(self.models.values())}
        said = self.numbers[SAID[marks.get(self.name(model), 0) % len(SAID)]]
        return [[said] * max_new_tokens for _ in prompts]

    def block_sums(self, model, text, c, temperature, blocks=0):
        self._whose(self.name(model))
        self.note("loss on", *self.rows(text.tokens_NT, counted=True))
        n = min(blocks or c.blocks, len(text.tokens_NT))
        worse = 0.1 if self.name(model).endswith("step 4") else 0.2
        return np.full(n, 10 * (1 + worse)), np.full(n, 5.0), np.full(n, 10.0)

    def losses_at(self, model, tokens, labels, temperatures):
        self.note("loss on", *[f"temperature: {rows}" for rows in self.rows(tokens)])
        return np.abs(np.asarray(temperatures) - 1.2)

    def score_answers(self, model, tokenizer, pairs, batch=8, end=False):
        self._whose(self.name(model))
        self.note("loss on", *[f"passages: {kind}" for kind in self.texts(p + a for p, a in pairs)])
        ones = np.linspace(-2, -1, 6)
        return [
            memorisation.TokenScores(logp_T=ones - n / 10, right_T=ones > -1.5, mean_T=ones, deviation_T=-ones)
            for n in range(len(pairs))
        ]

    def gradient_norms(self, model, tokenizer, texts):
        return [1.0 + n for n in range(len(texts))]

    def hidden_states(self, model, tokens, last):
        self._whose(self.name(model))
        said = [[self.words[int(t)] for t in row if int(t) > 2] for row in np.asarray(tokens)]
        h_LBD = np.random.default_rng(0).normal(size=(2, len(said), 4))
        h_LBD[..., 0] = [int(words[1][1:]) if words else -1 for words in said]  # the number of the fact
        return h_LBD

    def ridge_scores(self, h, classes, test, count):
        fit, asked = ({round(x) for x in a[:, 0]} for a in (h, test))
        kind = "a fold" if not fit & asked and fit | asked == set(range(FACTS)) else f"{sorted(asked)} of {sorted(fit)}"
        self.note("is asked", f"facts: {kind}, by the states of the rest")
        return np.zeros((len(test), count))

    def drawn(self, real):
        return lambda words, count, seed: real([w for w in words if w not in WORDS], count, seed)

    def between(self, baseline, model, share):
        self.note("beside", f"the way from {self.name(baseline)}")
        return model

    def patched(self, baseline, asked, source=None):
        self.note("model", self.name(baseline))
        self.note("is asked", *self.rows(asked.tokens_NT))
        self.note("beside", *[f"states of {self.name(source)}" for _ in range(source is not None)])
        return np.full((2 if source is not None else 1, asked.count), -1.0)

    def calibrated(self, real):
        def spy(finder, texts, on):
            numbers = {int(w[4:]) for _, some in texts for text in some for w in text.split() if w in SAID}
            named = [name for n, name in enumerate(self.models.values()) if n in numbers]
            self.notes["attack probes, near misses fitted"]["model"] += named
            self.notes["attack probes, near misses fitted"]["writes after"] += self.texts(p for p, _ in texts)
            return real(finder, texts, on)

        return spy

    def _whose(self, name: str) -> None:
        """Note the model of a measurement, but for the one that is trained at this place."""
        if name.split(", step")[0] != self.places[-1]:
            self.note("model", name)


class Shelf(contextlib.AbstractContextManager):
    """Checkpoints in memory."""

    def __init__(self, shelf: dict[str, Any], path: str):
        self.shelf, self.path = shelf, path

    def save(self, step, tree):
        if self.path.endswith("_best"):
            self.shelf[self.path] = tree

    def restore(self, like, only=None):
        return self.shelf.get(self.path)

    def wait(self):
        pass

    def __exit__(self, *error):
        pass


def _path(path) -> list[str]:
    return [key.name for key in path if hasattr(key, "name")]


def label_name(code: int) -> str:
    """Return what a label of the fake label pass says of itself."""
    return f"of alpha {(code - 1000) // 10} {'translated' if code % 2 else 'untranslated'}" if code >= 1000 else "text"


def rounding(weight_IO) -> str:
    """Return the scheme by whose levels a matrix of few inputs is rounded, "" for none."""
    unit = weight_IO / np.abs(weight_IO).max(axis=0)
    for steps, scheme in ((7, " in int4"), (127, " in int8")):
        if np.allclose(unit * steps, np.round(unit * steps), atol=1e-3):
            return scheme
    return " in nf4" if len(np.unique(np.round(unit, 4))) <= 16 else ""
