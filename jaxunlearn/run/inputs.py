"""Read and check the inputs of a run before any work: texts, tokenizer, dictionary, prompts, model shape."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from jaxunlearn import sealed
from jaxunlearn.anchors.auditing.audit import refuse_errors
from jaxunlearn.anchors.building.make import build_dictionary
from jaxunlearn.anchors.dictionary import load_dictionary
from jaxunlearn.anchors.translate import Translation
from jaxunlearn.config import Config
from jaxunlearn.data.blocks import Blocks, make_blocks
from jaxunlearn.data.documents import Document, read_documents
from jaxunlearn.data.facts import load_facts
from jaxunlearn.data.tokenizer import Tokenizer, load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.evals.prompts import CompletionPrompt, ProbabilityPrompt, Prompts, load_prompts
from jaxunlearn.evals.words import Words
from jaxunlearn.files import find_data, json_text, read_json, sha256, sha256_text
from jaxunlearn.methods import check_config
from jaxunlearn.models import huggingface, peft, transformer
from jaxunlearn.models.directory import check_model, check_numbers, tokens_fit
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.console import say
from jaxunlearn.run import checks
from jaxunlearn.run.directory import RunDirectory
from jaxunlearn.run.sources import located, shape_of


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The inputs of a run: tokenizer, blocks of the texts, dictionary, prompts, and the hashes of all of them."""

    tokenizer: Tokenizer
    tokenizer_dir: Path
    shape: transformer.Shape
    forget: Blocks
    documents: list[Document]
    retain: Blocks | None
    retain_documents: list[Document]
    held: dict[str, Blocks]  # text.forget_held as "forget", text.retain_held as "retain"
    dictionary: dict[str, tuple[str, ...]]
    prompts: Prompts | None
    repair: Blocks | None
    hashes: dict[str, str]
    unknown: tuple[ProbabilityPrompt, ...] = ()  # prompts that the baseline does not know (stages/known.py)
    untold: tuple[CompletionPrompt, ...] = ()  # prompts that name what the text does not
    translations: dict[tuple, Translation] = field(default_factory=dict)  # a cache, filled by Run.translation


def read_inputs(config: Config, folder: RunDirectory) -> tuple[Config, Inputs]:
    """Read and check all that a configuration names; return (the configuration with files and folders found, inputs).

    Raises InputError for any fault.
    """
    config = located(config, folder)
    check_config(config, None if config.model else config.init.L)
    tokenizer_dir = Path(config.tokenizer or config.model)
    tokenizer = load_tokenizer(tokenizer_dir)
    shape = shape_of(config, tokenizer.vocab_size)
    check_config(config, shape.L)
    if config.model:
        check_model(config.model, tokenizer)
        if not folder.begun:
            processes.first(lambda: check_numbers(Path(config.model), shape))
    tokens_fit(tokenizer, shape.V, str(tokenizer_dir))
    checks.refuse_sizes(config, shape)
    prompts = _small_files(config, tokenizer, shape)
    documents, forget = _text(config, tokenizer, config.text.forget)
    say(f"  to forget: {forget.summary()}")
    retain_documents, retain = _text(config, tokenizer, config.text.retain) if config.text.retain else ([], None)
    if retain is not None:
        say(f"  to retain: {retain.summary()}")
    elif config.pretrain.steps:
        raise InputError("pretraining needs text.retain as well as text.forget")
    checks.refuse_one_block(forget, retain, config)
    held = {"forget": config.text.forget_held, "retain": config.text.retain_held}
    held_documents, held_blocks = {}, {}
    for name, source in held.items():
        if source:
            held_documents[f"text.{name}_held"], held_blocks[name] = _text(config, tokenizer, source)
    config, dictionary = _dictionary(config, documents, retain_documents, folder)
    _warn(checks.fit(dictionary, documents), checks.overlap(forget, retain))
    for name, blocks in {"text.forget": forget, "text.retain": retain}.items():
        _warn(checks.unknown(name, blocks, tokenizer) if blocks else "")
    mended, repair = _text(config, tokenizer, checks.repair_text(config)) if config.repair.steps else ([], None)
    _warn(checks.warning(checks.anchored([d.text for d in mended], dictionary)))
    texts = {"text.forget": documents, "text.retain": retain_documents} | held_documents
    texts |= {"repair.text": mended} if mended else {}
    inputs = Inputs(
        tokenizer=tokenizer, tokenizer_dir=tokenizer_dir, shape=shape, forget=forget, documents=documents,
        retain=retain, retain_documents=retain_documents, held=held_blocks, dictionary=dictionary, prompts=prompts,
        repair=repair, hashes=_hashes(config, tokenizer, texts),
    )  # fmt: skip
    return config, inputs


def _small_files(config: Config, tokenizer: Tokenizer, shape: transformer.Shape) -> Prompts | None:
    """Check prompts, dictionary and facts before any text is read, and return the prompts. Raises InputError."""
    if config.text.prompts and not find_data(config.text.prompts).exists():
        raise InputError(
            f"text.prompts: {config.text.prompts} does not exist; `jaxunlearn prompts build CONFIG` makes prompts from "
            "the texts"
        )
    prompts = load_prompts(find_data(config.text.prompts)) if config.text.prompts else None
    if config.eval.chat:
        tokenizer.chat("Hello.")  # refused here where there is no template, or one that does not render
    if prompts:
        checks.refuse_unwritable(prompts, tokenizer)
        checks.refuse_empty_split(prompts, config.eval.split)
        asked = Words(tokenizer, config.eval.batch, chat=config.eval.chat)
        checks.refuse_long(prompts, asked, shape.context, config.eval.new_tokens)
    if config.text.dictionary not in ("", "build"):
        load_dictionary(find_data(config.text.dictionary))
    if config.attack.rtt.facts:
        load_facts(config.attack.rtt.facts)
    _warn(checks.no_dictionary(config))
    return prompts


def _warn(*warnings: str) -> None:
    for warning in filter(None, warnings):
        say(f"  {warning}")


def _text(config: Config, tokenizer: Tokenizer, source: tuple[str, ...]) -> tuple[list[Document], Blocks]:
    documents = read_documents(source, config.text.unwrap, say, config.text.most_characters)
    return documents, make_blocks(documents, tokenizer, config.text.context, config.whp.block_bos)


def _dictionary(config: Config, documents, retain_documents, folder: RunDirectory) -> tuple[Config, dict]:
    """Return (the configuration with the dictionary's file, the dictionary).

    text.dictionary=build makes the file first. Raises InputError for faults that anchors.audit refuses.
    """
    if config.text.dictionary == "build":
        made = processes.first(lambda: str(build_dictionary(config, documents, retain_documents, folder / "anchors")))
        config = dataclasses.replace(config, text=dataclasses.replace(config.text, dictionary=str(made)))
    dictionary = load_dictionary(find_data(config.text.dictionary)) if config.text.dictionary else {}
    if dictionary and config.anchors.audit == "refuse":
        refuse_errors(dictionary, [d.text for d in documents], retain_text=[d.text for d in retain_documents])
    if not dictionary and config.whp.alpha == 0:
        raise InputError(
            "without text.dictionary and with whp.alpha=0 the labels would be the baseline's own predictions"
        )
    return config, dictionary


def _hashes(config: Config, tokenizer: Tokenizer, texts: dict[str, list[Document]]) -> dict[str, str]:
    """Return the hash of every input. Raises RunError where another process read something else."""
    found = {name: sha256_text(*[d.text for d in documents]) for name, documents in texts.items()}
    found["tokenizer"] = sha256_text(*[sha256(f) for f in tokenizer.files])
    beside = Path(config.tokenizer or config.model) / "config.json"  # it may name BOS and EOS
    if config.tokenizer and beside.is_file():
        found["tokenizer/config.json"] = sha256(beside)
    files = {f"text.{name}": getattr(config.text, name) for name in ("dictionary", "prompts", "answers")}
    found |= {name: sha256(find_data(path)) for name, path in files.items() if path}
    processes.same_everywhere("the text, the tokenizer, the dictionary or the prompts", json_text(found))
    if config.model:
        given = model_files(Path(config.model))
        weights = [p for p in given.values() if p.suffix == ".safetensors"]
        processes.same_everywhere("the model's files", json_text([huggingface.glance(p) for p in weights]))
        found |= processes.first(lambda: {name: sealed.digest(p) for name, p in given.items()})
    return found


def places_of(config: Config) -> dict[str, str]:
    """Return {name of a hash: where the input lies}, for messages."""
    t = config.text
    many = {"text.forget": t.forget, "text.retain": t.retain, "text.forget_held": t.forget_held}
    many |= {"text.retain_held": t.retain_held, "repair.text": config.repair.text}
    found = {name: ", ".join(sources) for name, sources in many.items()}
    found |= {"text.dictionary": t.dictionary, "text.prompts": t.prompts, "text.answers": t.answers}
    found |= {"tokenizer": config.tokenizer or config.model}
    return found | ({name: str(p) for name, p in model_files(Path(config.model)).items()} if config.model else {})


def model_files(directory: Path, place: str = "model") -> dict[str, Path]:
    """Return {name: path} of the files that make a given model what it is, wherever an index places them.

    These are the weights, config.json, the index, and of an adapter the files of the model below it too. (The tokenizer
    has a hash of its own.)
    """
    index = directory / "model.safetensors.index.json"
    names = {p.name for p in directory.glob("*.safetensors")}
    names |= {name for name in ("config.json", index.name, "adapter_config.json") if (directory / name).is_file()}
    if index.is_file():
        try:
            names |= {str(name) for name in read_json(index, dict)["weight_map"].values()}
        except (KeyError, AttributeError):
            raise InputError(f'{index} is no index of tensors; expected {{"weight_map": {{name: file}}}}') from None
    if absent := [name for name in sorted(names) if not (directory / name).is_file()]:
        raise InputError(f"{directory / absent[0]}, which {index.name} names, is missing; fetch the model again")
    found = {f"{place}/{name}": directory / name for name in sorted(names)}
    return found | (model_files(peft.base_of(directory), f"{place}/base") if peft.is_adapter(directory) else {})
