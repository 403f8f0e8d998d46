"""What ONE run has: its configuration, its folder, what it works on.

open_run resolves the configuration (presets, the built-in universe, hub names, a dictionary to be built), reads and
checks every input, and writes the manifest. After that there is one configuration, run.config, and stages take `run`.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from jaxunlearn.anchors.building.make import build_offline
from jaxunlearn.anchors.translate import Translation, translate
from jaxunlearn.config import Config
from jaxunlearn.data.blocks import next_token_labels, split_holdout
from jaxunlearn.data.facts import Fact, load_facts, read_facts
from jaxunlearn.data.tokenizer import holds
from jaxunlearn.errors import InputError
from jaxunlearn.evals import measure
from jaxunlearn.evals.prompts import Prompts
from jaxunlearn.evals.suite import Suite
from jaxunlearn.methods import resolved
from jaxunlearn.models.scoring import Text
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.console import say
from jaxunlearn.parallel.sharding import device_names
from jaxunlearn.run.directory import RunDirectory
from jaxunlearn.run.inputs import Inputs, read_inputs
from jaxunlearn.run.variants import Variant
from jaxunlearn.whp.labels import Passage


@dataclass(frozen=True)
class Run:
    """One run. What follows from its configuration and its inputs is made when it is first asked for."""

    config: Config
    folder: RunDirectory
    inputs: Inputs

    def with_(self, config: Config, folder: RunDirectory | None = None) -> "Run":
        """Return the same inputs under another configuration, of a control or of a sweep's cell."""
        return Run(config, folder or self.folder, self.inputs)

    # ---- blocks

    @cached_property
    def forget_split(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the blocks to forget that are trained on, and of those held out."""
        return split_holdout(len(self.inputs.forget.tokens_NT), self.config.text.holdout, self.config.seed)

    @cached_property
    def retain_split(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the blocks to keep that are trained on, and of those held out."""
        assert self.inputs.retain is not None, "asked for only where there is text to retain"
        return split_holdout(len(self.inputs.retain.tokens_NT), self.config.text.holdout, self.config.seed)

    def training(self, name: Literal["forget", "retain"]) -> tuple[np.ndarray, np.ndarray]:
        """Return (tokens_NT, next-token labels_NT) of a text's blocks that are trained on."""
        x = self.inputs
        blocks, split = (x.forget, self.forget_split) if name == "forget" else (x.retain, self.retain_split)
        assert blocks is not None, "methods.check_config refuses what needs a text that is not there"
        return blocks.tokens_NT[split[0]], next_token_labels(blocks)[split[0]]

    # ---- translations

    @cached_property
    def translation(self) -> Translation:
        """The text to forget, translated by the run's dictionary."""
        return self._translated("dictionary", self.inputs.dictionary)

    @cached_property
    def built_translation(self) -> Translation:
        """The translation by a dictionary that counting alone made of the two texts, without a language model."""
        x = self.inputs
        folder = self.folder / "anchors"
        built = processes.first(lambda: build_offline(self.config, x.documents, x.retain_documents, folder))
        return self._translated("built", {term: tuple(words) for term, words in built.items()})

    def _translated(self, name: str, dictionary: dict, draw: int = 0) -> Translation:
        """Translate, once for all configurations that translate alike."""
        x, w, seed = self.inputs, self.config.whp, self.config.seed + draw
        key = (name, w.match, w.draw, w.repeat, w.forbid, seed)
        if key not in x.translations:
            x.translations[key] = translate(
                x.forget, x.documents, x.tokenizer, dictionary, match=w.match, draw=w.draw, repeat=w.repeat,
                forbid=w.forbid, seed=seed, max_width=min(x.shape.context, x.shape.window or x.shape.context),
            )  # fmt: skip
        return x.translations[key]

    def passage(self, variant: Variant, draw: int = 0) -> Passage:
        """Return every block of the text to forget with the translation that a variant's labels use.

        draw: which of several translations, each with names drawn anew, where a method wants more than one.
        """
        if draw:
            t = self._translated("dictionary", self.inputs.dictionary, draw)
        elif variant.labels == "translated":
            t = self.translation
        else:
            t = self._translated("identity", {}) if variant.labels == "original" else self.built_translation
        tokens_NT = self.inputs.forget.tokens_NT
        return Passage(tokens_NT, t.tokens_NS, t.map_NT, t.trained_NT, t.seen_id_NR, t.seen_from_NR)

    # ---- what is measured

    @cached_property
    def suite(self) -> Suite:
        """What is measured on every model: the prompts of one split and held-out text."""
        c, x = self.config, self.inputs
        held, labels_NT = self.forget_split[1], next_token_labels(x.forget)
        texts = {"forget": Text(tokens_NT=x.forget.tokens_NT[held], labels_NT=labels_NT[held])}
        texts |= self._retain_held()
        for name, blocks in x.held.items():
            texts[name] = Text(tokens_NT=blocks.tokens_NT, labels_NT=next_token_labels(blocks))
        prompts = x.prompts.of(c.eval.split) if x.prompts else Prompts(name="none")
        return Suite(x.tokenizer, prompts, texts, c.eval, c.seed)

    @cached_property
    def tuning(self) -> Suite:
        """What the stop rule looks at: the other prompts, and blocks held out from the training text itself."""
        prompts = self.inputs.prompts.of("choose") if self.inputs.prompts else self.suite.prompts
        return dataclasses.replace(self.suite, prompts=prompts, texts=self.suite.texts | self._retain_held())

    def _retain_held(self) -> dict[str, Text]:
        retain = self.inputs.retain
        if retain is None:
            return {}
        held = self.retain_split[1]
        return {"retain": Text(tokens_NT=retain.tokens_NT[held], labels_NT=next_token_labels(retain)[held])}

    @cached_property
    def facts(self) -> list[Fact]:
        """Independent facts to retrain on and to ask for, none where there are none; InputError for faulty ones."""
        given, prompts, tokenizer = self.config.attack.rtt.facts, self.inputs.prompts, self.inputs.tokenizer
        rows = prompts.facts if prompts else ()
        found = load_facts(given) if given else read_facts(rows, "text.prompts: facts") if rows else []
        odd = [f.question for f in found if not holds(tokenizer, f"{f.question} {' '.join(f.options)}")]
        if odd:
            raise InputError(f"{len(odd)} facts hold tokens that the tokenizer lacks, for example {odd[0]!r}")
        return found

    def __truediv__(self, name: str) -> Path:
        """Return a path in the run's folder."""
        return self.folder / name


def open_run(config: Config, *more_checks: Callable[[Run], None]) -> Run:
    """Resolve a configuration, read and check everything that it names, and open its folder.

    more_checks: of layers above, made before the manifest is written. Raises InputError, before any work, for what is
    missing, malformed or contradictory, and for a folder that holds another run (resume.py).
    """
    config = resolved(config)
    folder = RunDirectory(config)
    say(f"{config.title or config.name}: {folder.path} on {device_names()}")
    config, inputs = read_inputs(config, folder)
    measure.refuse(config, "forget" in inputs.held)
    run = Run(config, folder, inputs)
    _ = run.facts  # faulty files are refused here
    for check in more_checks:
        check(run)
    folder.manifest(inputs.hashes)
    return run
