"""One run: its configuration, its folder and its inputs.

open_run resolves the configuration (presets, the built-in universe, hub names, a dictionary to be built), reads and
checks every input, and writes the manifest. After that run.config is the only configuration, and stages take `run`.
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
from jaxunlearn.data.blocks import halves, next_token_labels, split_holdout
from jaxunlearn.data.facts import Fact, load_facts, read_facts
from jaxunlearn.data.tokenizer import holds
from jaxunlearn.errors import InputError
from jaxunlearn.evals import measure
from jaxunlearn.evals.prompts import ProbabilityPrompt, Prompts
from jaxunlearn.evals.suite import Suite
from jaxunlearn.methods import check_controls, method_of, resolved
from jaxunlearn.models.scoring import Text
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.console import doing, say
from jaxunlearn.parallel.sharding import device_names
from jaxunlearn.run import checks
from jaxunlearn.run.directory import RunDirectory
from jaxunlearn.run.inputs import Inputs, places_of, read_inputs
from jaxunlearn.run.variants import Variant
from jaxunlearn.whp.labels import Passage


@dataclass(frozen=True)
class Run:
    """One run. Whatever follows from its configuration and inputs is made at the first use and cached."""

    config: Config
    folder: RunDirectory
    inputs: Inputs

    def with_(self, config: Config, folder: RunDirectory | None = None) -> "Run":
        """Return a run with the same inputs and another configuration, that of a control or of a sweep's cell."""
        return Run(config, folder or self.folder, self.inputs)

    # ---- blocks

    @cached_property
    def forget_split(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (indices of the blocks to forget that are trained on, indices of those held out)."""
        return split_holdout(len(self.inputs.forget.tokens_NT), self.config.text.holdout, self.config.seed)

    @cached_property
    def retain_split(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (indices of the blocks to keep that are trained on, indices of those held out)."""
        assert self.inputs.retain is not None, "asked for only where there is text to retain"
        return split_holdout(len(self.inputs.retain.tokens_NT), self.config.text.holdout, self.config.seed)

    def training(self, name: Literal["forget", "retain"]) -> tuple[np.ndarray, np.ndarray]:
        """Return (tokens_NT, next-token labels_NT) of the blocks of a text that are trained on."""
        x = self.inputs
        blocks, split = (x.forget, self.forget_split) if name == "forget" else (x.retain, self.retain_split)
        assert blocks is not None, "methods.check_config refuses what needs a text that is not there"
        return blocks.tokens_NT[split[0]], next_token_labels(blocks)[split[0]]

    # ---- translations

    @cached_property
    def translation(self) -> Translation:
        """Return the text to forget, translated by the run's dictionary."""
        return self._translated("dictionary", self.inputs.dictionary)

    @cached_property
    def built_translation(self) -> Translation:
        """Return the text to forget, translated by a dictionary built by counting alone, without a language model."""
        x = self.inputs
        folder = self.folder / "anchors"
        built = processes.first(lambda: build_offline(self.config, x.documents, x.retain_documents, folder))
        return self._translated("built", {term: tuple(words) for term, words in built.items()})

    def _translated(self, name: str, dictionary: dict, draw: int = 0) -> Translation:
        """Translate by a dictionary; the result is shared by all configurations with the same settings.

        draw: added to the seed, so that each draw chooses other names.
        """
        x, w, seed = self.inputs, self.config.whp, self.config.seed + draw
        key = (name, w.match, w.draw, w.repeat, w.seen_from, w.forbid, seed)
        if key not in x.translations:
            x.translations[key] = translate(
                x.forget, x.documents, x.tokenizer, dictionary, match=w.match, draw=w.draw, repeat=w.repeat,
                seen_from=w.seen_from, forbid=w.forbid, seed=seed,
                max_width=x.shape.context,
            )  # fmt: skip
        return x.translations[key]

    def passage(self, variant: Variant, draw: int = 0) -> Passage:
        """Return every block of the text to forget with the translation that a variant's labels use.

        draw: which of several translations, each with names drawn anew; 0 for methods that use one.
        """
        run = self.with_(variant.config)  # whose rules the translation follows
        if draw:
            t = run._translated("dictionary", self.inputs.dictionary, draw)
        elif variant.labels == "translated":
            t = run.translation
        else:
            t = run._translated("identity", {}) if variant.labels == "original" else run.built_translation
        tokens_NT = self.inputs.forget.tokens_NT
        return Passage(tokens_NT, t.tokens_NS, t.map_NT, t.trained_NT, t.seen_id_NR, t.seen_from_NR)

    # ---- what is measured

    @cached_property
    def suite(self) -> Suite:
        """Return what is measured on every model: the prompts of eval.split, and held-out text."""
        c, x = self.config, self.inputs
        texts = self._held(1)
        texts |= {n: Text(tokens_NT=b.tokens_NT, labels_NT=next_token_labels(b)) for n, b in x.held.items()}
        prompts = x.prompts.of(c.eval.split) if x.prompts else Prompts(name="none")
        fit = self._held(0).get("retain")
        return Suite(x.tokenizer, prompts, texts, c.eval, c.seed, fit=fit, unknown=self._unknown(c.eval.split))

    def _unknown(self, split: str) -> tuple[ProbabilityPrompt, ...]:
        return tuple(p for p in self.inputs.unknown if p.split == split)

    @cached_property
    def tuning(self) -> Suite:
        """Return what the stop rule measures: the "choose" prompts, and the held-out blocks that are not reported.

        Its temperature, which no rule uses, is fitted on the other half.
        """
        prompts = self.inputs.prompts.of("choose") if self.inputs.prompts else self.suite.prompts
        return dataclasses.replace(
            self.suite, prompts=prompts, texts=self._held(0), fit=self._held(1).get("retain"),
            unknown=self._unknown("choose"),
        )  # fmt: skip

    def _held(self, half: int) -> dict[str, Text]:
        """Return the held-out blocks of both texts: 0, the half for tuning; 1, the half for reporting."""
        x, found = self.inputs, {}
        splits = {"forget": (x.forget, self.forget_split)}
        if x.retain is not None:
            splits["retain"] = (x.retain, self.retain_split)
        for name, (blocks, (_, held)) in splits.items():
            rows = halves(held)[half]
            found[name] = Text(tokens_NT=blocks.tokens_NT[rows], labels_NT=next_token_labels(blocks)[rows])
        return found

    @cached_property
    def facts(self) -> list[Fact]:
        """Return the independent facts that RTT retrains on and asks for; [] where none are given.

        Raises InputError for a faulty file and for facts that the tokenizer cannot hold.
        """
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


def checked(config: Config, folder: RunDirectory, *more_checks: Callable[[Run], object]) -> Run:
    """Read and check all inputs of a resolved configuration and return the run; raises what open_run raises."""
    config, inputs = read_inputs(config, folder)
    measure.refuse(config, "forget" in inputs.held)
    run = Run(config, folder, inputs)
    _ = run.facts  # read here, so that faulty files are refused before any work
    for check in more_checks:
        check(run)
    return run


def open_run(config: Config, *more_checks: Callable[[Run], object], looks: bool = False) -> Run:
    """Resolve a configuration, read and check everything that it names, open its folder and return the run.

    more_checks: checks of layers above. They run before the manifest is written, because a manifest binds the next
    attempt. looks: only read; the folder may be in use, and its configuration and manifest stay as they are.

    Raises InputError, before any work, for missing, malformed or contradictory inputs and settings, and for a folder
    that holds another run (run/resume.py).
    """
    config = resolved(config)
    method_of(config)  # names first: nothing is created for a misspelt one
    check_controls(config)
    checks.refuse_endpoints(config)
    folder = RunDirectory(config, looks)
    try:
        say(f"{config.title or config.name}: {folder.path} on {device_names()}")
        doing("reading and checking the inputs")
        run = checked(config, folder, *more_checks)
        folder.manifest(run.inputs.hashes, places_of(run.config))
    except BaseException:
        folder.abandon()
        raise
    return run
