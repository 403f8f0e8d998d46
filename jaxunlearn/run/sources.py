"""Find the text and the model of a run: in the built-in universe, in files, or by a hub name."""

import dataclasses
import tempfile
from pathlib import Path

from jaxunlearn.config import Config, Text
from jaxunlearn.data import universe
from jaxunlearn.data.documents import Document, read_documents
from jaxunlearn.errors import InputError
from jaxunlearn.models import transformer
from jaxunlearn.models.families import FAMILIES, read_shape
from jaxunlearn.models.hub import find_model
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.console import say
from jaxunlearn.parallel.sharding import model_fits
from jaxunlearn.run.directory import RunDirectory


def located(config: Config, folder: RunDirectory) -> Config:
    """Return the configuration with files in the place of the universe, and a folder in the place of a hub name.

    Raises InputError where there is no text to forget, and where there is no baseline.
    """
    if config.universe.people:
        fresh = not folder.begun  # written again after a kill that may have left it incomplete
        processes.first(lambda: bool(with_universe(config, folder / "data", fresh)))
        config = with_universe(config, folder / "data", fresh=False)
    if not config.text.forget:
        raise InputError("text.forget names no text to forget; give files, folders or tfds:NAME/SPLIT")
    if not config.model and not config.pretrain.steps:
        families = ", ".join(FAMILIES)
        raise InputError(
            f"no baseline: give model=DIR (a Hugging Face model: {families}), or pretrain.steps to make one"
        )
    return dataclasses.replace(config, model=str(find_model(config.model))) if config.model else config


def read_texts(config: Config) -> tuple[list[Document], list[Document]]:
    """Return the documents (to forget, to retain), and read nothing else; no run directory is needed.

    Raises InputError where there is no text to forget.
    """
    if config.universe.people:
        with tempfile.TemporaryDirectory() as folder:
            return _read(with_universe(config, Path(folder)).text)
    if not config.text.forget:
        raise InputError("text.forget names no text to forget; give files, folders or tfds:NAME/SPLIT")
    return _read(config.text)


def _read(t: Text) -> tuple[list[Document], list[Document]]:
    forget, retain = (
        read_documents(source, t.unwrap, say, t.most_characters) if source else [] for source in (t.forget, t.retain)
    )
    return forget, retain


def with_universe(config: Config, data: Path, fresh: bool = True) -> Config:
    """Return the configuration with the texts, dictionary and prompts of the built-in universe, in the folder `data`.

    fresh: write the files first.
    """
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
    """Return the shape of the given model, or of `init`, for a tokenizer of `vocabulary` tokens.

    Raises InputError where `init` has fewer tokens than the tokenizer (a given model: models.directory.tokens_fit), and
    where the mesh does not divide it.
    """
    if config.model:
        shape = read_shape(Path(config.model), config.compute, config.remat)
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
