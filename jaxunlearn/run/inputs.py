"""What a run works on, read and checked in full before any work: texts, tokenizer, dictionary, prompts, model shape."""

import dataclasses
import json
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from jaxunlearn.anchors.auditing.audit import refuse_errors
from jaxunlearn.anchors.building.make import build_dictionary, build_offline
from jaxunlearn.anchors.dictionary import load_dictionary
from jaxunlearn.anchors.translate import Translation, translate
from jaxunlearn.config import Config
from jaxunlearn.data import universe
from jaxunlearn.data.blocks import Blocks, make_blocks, next_token_labels, split_holdout
from jaxunlearn.data.documents import Document, read_documents
from jaxunlearn.data.facts import Fact, load_facts, pairings, read_facts
from jaxunlearn.data.tokenizer import Tokenizer, holds, load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.evals.benchmarks import Benchmark, read_benchmarks
from jaxunlearn.evals.harness import library as harness_library
from jaxunlearn.evals.prompts import Prompts, load_prompts
from jaxunlearn.evals.standard import tofu_files
from jaxunlearn.evals.suite import Suite
from jaxunlearn.files import find_data, sha256, sha256_text
from jaxunlearn.methods.settings import check_config
from jaxunlearn.models import huggingface, lora, transformer
from jaxunlearn.models.families import read_shape
from jaxunlearn.models.hub import find_model
from jaxunlearn.models.scoring import Text
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.console import say
from jaxunlearn.parallel.sharding import batch_size_fits, model_fits
from jaxunlearn.run import checks
from jaxunlearn.run.checks import anchored, refuse_empty_split, refuse_unwritable
from jaxunlearn.run.directory import RunDirectory
from jaxunlearn.run.variants import Variant
from jaxunlearn.whp.labels import Passage


@dataclass(frozen=True)
class Inputs:
    """What a run works on: the tokenizer, blocks of both texts, the dictionary and the prompts."""

    config: Config
    tokenizer: Tokenizer
    tokenizer_dir: Path
    shape: transformer.Shape
    forget: Blocks
    documents: list[Document]
    retain: Blocks | None
    retain_documents: list[Document]
    built_dir: Path
    held: dict[str, Blocks]
    dictionary: dict[str, tuple[str, ...]]
    prompts: Prompts | None
    hashes: dict[str, str]
    repair: Blocks | None = None

    @cached_property
    def forget_split(self) -> tuple[np.ndarray, np.ndarray]:
        return split_holdout(len(self.forget.tokens_NT), self.config.text.holdout, self.config.seed)

    @cached_property
    def retain_split(self) -> tuple[np.ndarray, np.ndarray]:
        assert self.retain is not None, "asked for only where there is text to retain"
        return split_holdout(len(self.retain.tokens_NT), self.config.text.holdout, self.config.seed)

    def training(self, name: Literal["forget", "retain"]) -> tuple[np.ndarray, np.ndarray]:
        """Return (tokens_NT, next-token labels_NT) of a text's blocks that are trained on."""
        blocks, split = (self.forget, self.forget_split) if name == "forget" else (self.retain, self.retain_split)
        assert blocks is not None, "methods.check_config refuses what needs a text that is not there"
        return blocks.tokens_NT[split[0]], next_token_labels(blocks)[split[0]]

    @cached_property
    def benchmarks(self) -> list[Benchmark]:
        """Every multiple-choice benchmark that is asked."""
        return read_benchmarks(self.config.eval.benchmarks, self.config.eval.items)

    @cached_property
    def facts(self) -> list[Fact]:
        """Independent facts to retrain on and to ask for, none where there are none; InputError for faulty ones."""
        given = self.config.attack.facts
        rows = self.prompts.facts if self.prompts else ()
        found = load_facts(given) if given else read_facts(rows, "text.prompts: facts") if rows else []
        odd = [f.question for f in found if not holds(self.tokenizer, f"{f.question} {' '.join(f.options)}")]
        if odd:
            raise InputError(f"{len(odd)} facts hold tokens that the tokenizer lacks, for example {odd[0]!r}")
        return found

    @cached_property
    def translation(self) -> Translation:
        return self._translate(self.dictionary)

    @cached_property
    def identity(self) -> Translation:
        return self._translate({})

    @cached_property
    def built_translation(self) -> Translation:
        """The translation by a dictionary that counting alone made of the two texts, without a language model."""
        built = processes.first(
            lambda: build_offline(self.config, self.documents, self.retain_documents, self.built_dir)
        )
        return self._translate({term: tuple(words) for term, words in built.items()})

    def find(self, path: str) -> Path:
        """Resolve a data file (find_data)."""
        return find_data(path)

    def _translate(self, dictionary, seed: int = 0) -> Translation:
        w = self.config.whp
        return translate(
            self.forget, self.documents, self.tokenizer, dictionary, match=w.match, draw=w.draw, repeat=w.repeat,
            forbid=w.forbid, seed=self.config.seed + seed,
            max_width=min(self.shape.context, self.shape.window or self.shape.context),
        )  # fmt: skip

    def passage(self, variant: Variant, draw: int = 0) -> Passage:
        """Return every block of the text to forget with the translation that a variant's labels use.

        draw: which of several translations, each with names drawn anew, where a method wants more than one.
        """
        if draw:
            t = self._translate(self.dictionary, draw)
        elif variant.labels == "translated":
            t = self.translation
        else:
            t = self.identity if variant.labels == "original" else self.built_translation
        return Passage(self.forget.tokens_NT, t.tokens_NS, t.map_NT, t.trained_NT, t.seen_id_NR, t.seen_from_NR)

    @cached_property
    def suite(self) -> Suite:
        """What is measured on every model: the prompts of one split and held-out text."""
        c, texts = self.config, {}
        labels = next_token_labels(self.forget)
        texts["forget"] = Text(
            tokens_NT=self.forget.tokens_NT[self.forget_split[1]], labels_NT=labels[self.forget_split[1]]
        )
        if self.retain is not None:
            rows, labels = self.retain_split[1], next_token_labels(self.retain)
            texts["retain"] = Text(tokens_NT=self.retain.tokens_NT[rows], labels_NT=labels[rows])
        for name, blocks in self.held.items():
            texts[name] = Text(tokens_NT=blocks.tokens_NT, labels_NT=next_token_labels(blocks))
        prompts = self.prompts.of(c.eval.split) if self.prompts else Prompts(name="none")
        return Suite(self.tokenizer, prompts, texts, c.eval, c.seed)

    @cached_property
    def tuning(self) -> Suite:
        """What the stop rule looks at: the other prompts, and blocks held out from the training text itself."""
        suite, texts = self.suite, dict(self.suite.texts)
        if self.retain is not None:
            rows, labels = self.retain_split[1], next_token_labels(self.retain)
            texts["retain"] = Text(tokens_NT=self.retain.tokens_NT[rows], labels_NT=labels[rows])
        prompts = self.prompts.of("choose") if self.prompts else suite.prompts
        return dataclasses.replace(suite, prompts=prompts, texts=texts)


def read_inputs(config: Config, run: RunDirectory) -> Inputs:
    """Read and check the tokenizer, the texts, the dictionary, the prompts and the model's shape; InputError if not."""
    if config.universe.people:
        fresh = not run.begun  # also after a kill while it was written
        processes.first(lambda: bool(with_universe(config, run / "data", fresh)))
        config = with_universe(config, run / "data", fresh=False)
    t = config.text
    if not t.forget:
        raise InputError("text.forget names no text to forget; give files, folders or tfds:NAME/SPLIT")
    if not config.model and not config.pretrain.steps:
        raise InputError("no baseline: give model=DIR (a Hugging Face Llama), or pretrain.steps to make one")
    if config.model:
        config = dataclasses.replace(config, model=str(find_model(config.model)))
    check_config(config, None if config.model else config.init.L)
    tokenizer_dir = Path(config.tokenizer or config.model)
    tokenizer = load_tokenizer(tokenizer_dir)
    shape = shape_of(config, tokenizer.vocab_size)
    check_config(config, shape.L)
    transformer.context_fits(shape, t.context, "a block (text.context)")
    for name in ("pretrain", "reinforce", "unlearn", "repair"):
        batch_size_fits(getattr(config, name).batch)
        lora.rank_fits(shape, getattr(config, name).lora, f"{name}.lora")
    batch_size_fits(config.whp.label_batch)
    batch_size_fits(config.eval.batch)
    documents = read_documents(t.forget, t.unwrap)
    forget = make_blocks(documents, tokenizer, t.context, config.whp.block_bos)
    say(f"  to forget: {forget.summary()}")
    retain_documents = read_documents(t.retain, t.unwrap) if t.retain else []
    retain = make_blocks(retain_documents, tokenizer, t.context, config.whp.block_bos) if retain_documents else None
    if retain is not None:
        say(f"  to retain: {retain.summary()}")
    if config.pretrain.steps and retain is None:
        raise InputError("pretraining needs text.retain as well as text.forget")
    held = {
        name: make_blocks(read_documents(source, t.unwrap), tokenizer, t.context, config.whp.block_bos)
        for name, source in {"forget": t.forget_held, "retain": t.retain_held}.items()
        if source
    }
    if t.dictionary == "build":
        made = processes.first(lambda: str(build_dictionary(config, documents, retain_documents, run / "anchors")))
        config = dataclasses.replace(config, text=dataclasses.replace(t, dictionary=str(made)))
        t = config.text
    dictionary = load_dictionary(find_data(t.dictionary)) if t.dictionary else {}
    if dictionary and config.anchors.audit == "refuse":
        refuse_errors(dictionary, [d.text for d in documents], retain_text=[d.text for d in retain_documents])
    mending = read_repair_text(config, tokenizer)
    if mending and (warning := checks.warning(anchored(mending[1], dictionary))):
        say(f"  {warning}")
    prompts = load_prompts(find_data(t.prompts)) if t.prompts else None
    if prompts:
        refuse_unwritable(prompts, tokenizer)
        refuse_empty_split(prompts, config.eval.split)
    if not dictionary and config.whp.alpha == 0:
        raise InputError(
            "without text.dictionary and with whp.alpha=0 the labels would be the baseline's own predictions"
        )
    hashes = {
        "text.forget": sha256_text(*[d.text for d in documents]),
        "text.retain": sha256_text(*[d.text for d in retain_documents]),
        "tokenizer": sha256_text(*[sha256(f) for f in tokenizer.files]),
    }
    hashes |= {
        f"text.{k}": sha256(find_data(v)) for k, v in {"dictionary": t.dictionary, "prompts": t.prompts}.items() if v
    }
    if mending:
        hashes["repair.text"] = sha256_text(*mending[1])
    processes.same_everywhere("the text, the tokenizer, the dictionary or the prompts", json.dumps(hashes))
    if config.model:
        files = sorted(Path(config.model).glob("*.safetensors"))
        processes.same_everywhere("the model's files", json.dumps([huggingface.glance(p) for p in files]))
        hashes |= processes.first(lambda: {f"model/{p.name}": sha256(p) for p in files})
    made = Inputs(
        config, tokenizer, tokenizer_dir, shape, forget, documents, retain, retain_documents, run / "anchors", held,
        dictionary, prompts, hashes, mending and mending[0],
    )  # fmt: skip
    refuse_late_faults(made)
    return made


def refuse_late_faults(x: Inputs) -> None:
    """Raise InputError for what would otherwise come to light after the training."""
    e = x.config.eval
    if e.members and not (x.config.text.holdout or "forget" in x.held):
        raise InputError("eval.members needs text that was held out: text.holdout above 0, or text.forget_held")
    if e.tofu:
        tofu_files(e.tofu)
    if e.tasks:
        harness_library()  # InputError where it is not installed
    if x.facts and "rtt" in x.config.attack.kinds:
        pairings(x.facts, x.config.attack)
    _ = x.benchmarks


def read_texts(config: Config) -> tuple[list[Document], list[Document]]:
    """Read the texts to forget and to retain alone, those of the built-in universe without a run directory."""
    if config.universe.people:
        with tempfile.TemporaryDirectory() as folder:
            made = with_universe(config, Path(folder))
            return read_documents(made.text.forget), read_documents(made.text.retain)
    if not config.text.forget:
        raise InputError("text.forget names no text to forget; give files, folders or tfds:NAME/SPLIT")
    t = config.text
    return read_documents(t.forget, t.unwrap), read_documents(t.retain, t.unwrap) if t.retain else []


def with_universe(config: Config, data: Path, fresh: bool = True) -> Config:
    """Return the configuration with the built-in world's texts, dictionary and prompts, from `data`."""

    if fresh:
        universe.write(universe.build(seed=config.universe.seed, people=config.universe.people), data)
    text = dataclasses.replace(
        config.text,
        forget=(str(data / "saga.txt"),), retain=(str(data / "general.txt"),),
        forget_held=(str(data / "saga_held.txt"),), retain_held=(str(data / "general_held.txt"),),
        dictionary=config.text.dictionary or str(data / "dictionary.json"), prompts=str(data / "prompts.json"),
        answers=config.text.answers or str(data / "answers.json"),
    )  # fmt: skip
    mended = dataclasses.replace(config.repair, text=config.repair.text or (str(data / "encyclopedia.txt"),))
    return dataclasses.replace(config, text=text, repair=mended, tokenizer=str(data / "tokenizer"))


def shape_of(config: Config, vocabulary: int) -> transformer.Shape:
    """Return the shape of the given model, or of `init`, for a tokenizer of that many tokens."""
    if config.model:
        shape = read_shape(Path(config.model), config.compute, config.remat)
        if vocabulary > shape.V:
            raise InputError(
                f"the tokenizer has {vocabulary} tokens but the weights only {shape.V}: they do not belong together"
            )
    else:
        i = config.init
        shape = transformer.Shape(
            V=i.V or vocabulary, D=i.D, L=i.L, N=i.N, K=i.K, H=i.H, F=i.F, context=i.context, tied=i.tied,
            compute=config.compute, remat=config.remat,
        )  # fmt: skip
        if vocabulary > shape.V:
            raise InputError(f"init.V = {shape.V} is smaller than the tokenizer's {vocabulary} tokens")
    model_fits(shape)
    return shape


def read_repair_text(config: Config, tokenizer: Tokenizer) -> tuple[Blocks, list[str]] | None:
    """Return the blocks to repair with and their documents' texts; None without a repair."""
    c = config.repair
    if not c.steps:
        return None
    if not c.text:
        raise InputError("repair.steps needs repair.text: what the model should know again (files, folders or tfds:)")
    documents = read_documents(c.text, config.text.unwrap)
    blocks = make_blocks(documents, tokenizer, config.text.context, config.whp.block_bos)
    return blocks, [d.text for d in documents]
