"""Write a first configuration for a model and texts: rates by the model's size, batches by this device's memory.

The rates are those of the configurations that ship, by the size of the model that each was tried on; between and beyond
them they are a guess, and the file says so.
"""

import dataclasses
import math
import re
import shlex
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from jaxunlearn.anchors.building.extract import extract_terms
from jaxunlearn.config import Train
from jaxunlearn.data.documents import Document, read_documents
from jaxunlearn.data.tokenizer import Tokenizer, load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.evals.building.ask import LEAST, masses, pooled
from jaxunlearn.evals.building.draw import Text, next_words
from jaxunlearn.evals.building.places import Terms, sentences
from jaxunlearn.evals.building.splits import Splits
from jaxunlearn.evals.words import Words
from jaxunlearn.files import json_text
from jaxunlearn.models import huggingface
from jaxunlearn.models.directory import check_model
from jaxunlearn.models.hub import find_model
from jaxunlearn.models.transformer import Shape
from jaxunlearn.models.weights import parameters
from jaxunlearn.parallel.console import say
from jaxunlearn.parallel.sharding import platform
from jaxunlearn.perf.arithmetic import Choice, step_bytes
from jaxunlearn.perf.forecast import device_bytes

BY, CONFIG = "init", "config.py"
KNOWN = 0.2  # share of windows of the text that a model must know; with less it is taught the text first
WINDOWS = 60  # that it is asked about, at most
FEWEST = 10  # with fewer a share says nothing
ASKABLE = {"cpu": 5e8, "gpu": 2e10, "tpu": 2e10}  # parameters of a model that is asked
SAMPLE = 200_000  # characters that tokens are counted on
ROOM = 0.7  # of the device's memory
BATCHES = (8, 4, 2, 1)
IN_TEXT = " (asked in running text, not through its chat template)"


@dataclass(frozen=True)
class Size:
    """Settings for models of up to `below` parameters, and where they come from."""

    below: float
    source: str
    teach: float  # learning rates
    reinforce: float
    unlearn: float
    exposures: int  # how often a taught model sees the text to forget
    epochs: int  # of reinforcing


SIZES = (
    Size(1e7, "those of oz_tiny, tried on 656 thousand parameters", 1e-3, 3e-4, 5e-4, 16, 3),
    Size(1e9, "those of oz_smollm2, tried on 135 million parameters", 2e-4, 1e-4, 5e-5, 9, 3),
    Size(4e9, "a guess between those of oz_smollm2 and of the paper", 3e-5, 1e-5, 5e-6, 6, 3),
    Size(math.inf, "the paper's, for 7 billion parameters", 1e-5, 3e-6, 1e-6, 6, 3),
)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a configuration is made from; shape, counts and known are None where they could not be found out."""

    model: str
    forget: tuple[str, ...]
    retain: tuple[str, ...]
    shape: Shape | None = None
    forget_tokens: int | None = None
    retain_tokens: int | None = None
    unwrap: bool = False
    known: float | None = None  # share of the windows that the model was asked about and knows
    asked: int = 0  # these windows
    why_unknown: str = "the model was not asked"
    chat: bool = False  # the model has a chat template


def suggest(folder: Path, model: str, forget: Sequence[str], retain: Sequence[str]) -> tuple[str, list[str]]:
    """Return (the text of a configuration file, lines that say what it holds and what comes next).

    What is not given stands as a folder beside the file, to be filled. Raises InputError for a model or a text that is
    given and cannot be read.
    """
    facts = _facts(model, tuple(forget), tuple(retain))
    size = SIZES[-1] if facts.shape is None else next(s for s in SIZES if _parameters(facts.shape) < s.below)
    text, why, commands = _file(folder, facts, size)
    said = []
    if absent := [n for n in ("model", "forget", "retain") if not getattr(facts, n)]:
        said.append(f"put what is to be used into {', '.join(str(folder / n) for n in absent)}, or name it in the file")
    if facts.shape is None:
        said.append(f"the rates are {size.source}, the lowest: with --model they follow from the model's size")
    return text, [*said, why, "next:", *(f"  {command}" for command in commands)]


def _parameters(c: Shape) -> int:
    layer, rest = parameters(c)
    return c.L * layer + rest


# ---- what there is


def _facts(model: str, forget: tuple[str, ...], retain: tuple[str, ...]) -> Facts:
    found = Facts(model=_whole(model), forget=tuple(map(_whole, forget)), retain=tuple(map(_whole, retain)))
    tokenizer = folder = None
    if model:
        folder = find_model(model)
        tokenizer = load_tokenizer(folder)
        found = dataclasses.replace(found, shape=check_model(folder, tokenizer), chat=tokenizer.has_chat)
    texts = {}
    for name, sources in (("forget", forget), ("retain", retain)):
        if sources:
            texts[name] = read_documents(sources, say=say)
    if "forget" in texts:
        wrapped = is_wrapped(texts["forget"])
        if wrapped:
            texts = {name: read_documents(getattr(found, name), True, lambda _: None) for name in texts}
        found = dataclasses.replace(found, unwrap=wrapped)
    if tokenizer:
        counts: dict[str, Any] = {f"{name}_tokens": _tokens(documents, tokenizer) for name, documents in texts.items()}
        found = dataclasses.replace(found, **counts)
    if tokenizer and folder and len(texts) == 2:
        found = _asked(found, folder, tokenizer, texts["forget"], texts["retain"])
    return found


def _whole(source: str) -> str:
    """Return a path that exists as it is from anywhere; a hub name, a glob or tfds:... as it was given."""
    return str(Path(source).expanduser().resolve()) if source and Path(source).expanduser().exists() else source


def is_wrapped(documents: Sequence[Document]) -> bool:
    """Return whether a text breaks its lines at a width, as printed books do: most lines are near the longest ones."""
    lines = [len(line) for d in documents for line in d.text[:SAMPLE].split("\n") if line.strip()]
    return len(lines) >= 20 and 40 <= median(lines) <= 100 and sorted(lines)[len(lines) * 99 // 100] <= 120


def _tokens(documents: Sequence[Document], tokenizer: Tokenizer) -> int:
    """Return about how many tokens texts have, counted on the first of their characters."""
    text = "\n\n".join(d.text for d in documents)
    part = text[:SAMPLE]
    return round(len(tokenizer.encode(part)[0]) / max(len(part), 1) * len(text))


def _asked(found: Facts, folder: Path, tokenizer: Tokenizer, forget, retain) -> Facts:
    """Return the facts with how much of the text the model knows, where it is small enough to be asked here.

    There is no configuration to follow yet: it is asked in running text, as the one that is written does (eval.chat).
    """
    assert found.shape is not None, "a model was given"
    if _parameters(found.shape) > ASKABLE.get(platform(), 5e8):
        return dataclasses.replace(found, why_unknown="a model of this size was not asked on this device")
    try:
        terms = extract_terms(forget, retain)
    except InputError as error:
        return dataclasses.replace(found, why_unknown=f"the model was not asked: {error}")
    text = Text(sentences([d.text for d in forget], Terms(terms)), Terms(terms), Splits(terms))
    windows = pooled((c for c in next_words(text) if c.section == "out"), WINDOWS)
    places = len({c.prompt for c in windows})
    if places < FEWEST:
        few = f"the model was not asked: the text has {places} windows for a prompt, fewer than {FEWEST}"
        return dataclasses.replace(found, why_unknown=few)
    probabilities = masses(huggingface.load(folder), Words(tokenizer, 16), windows)
    known = sum(p >= LEAST for p in probabilities.values()) / len(probabilities)
    return dataclasses.replace(found, known=known, asked=places)


# ---- the file


def _file(folder: Path, facts: Facts, size: Size) -> tuple[str, str, list[str]]:
    """Return (the text of the file, why the model is taught the text first or not, the commands that come next)."""
    c = facts.shape
    context = min(256 if c and c.context < 1024 else 512, c.context if c else 512)
    blocks = {n: max(1, -(-(getattr(facts, f"{n}_tokens") or 100_000) // context)) for n in ("forget", "retain")}
    batch = _batch(c, context)
    part = f"batch={batch}, accumulate={8 // batch}" if batch < 8 else "batch=8"
    teach, why = _teaching(facts, size, blocks, part)
    reinforce = max(20, blocks["forget"] * size.epochs // 8)
    unlearn = min(160, max(48, blocks["forget"] * 3 // 8))
    every = max(1, unlearn // 4)
    name = re.sub(r"\W+", "_", folder.resolve().name).strip("_") or "mine"
    texts = {n: getattr(facts, n) or (f"{{HERE}}/{n}",) for n in ("forget", "retain")}
    values = {
        "name": name, "title": _said(_title(facts)), "about": _title(facts),
        "model": _said(facts.model or "{HERE}/model"),
        "compute": "float32" if platform() == "cpu" else "bfloat16", "context": context, "unwrap": facts.unwrap,
        "forget": _listed(texts["forget"]), "retain": _listed(texts["retain"]),
        "holdout": 0.1 if min(blocks.values()) < 1000 else 0.05, "source": size.source, "teach": teach,
        "reinforce": f"steps={reinforce}, learning_rate={size.reinforce:g}, {part}",
        "unlearn": f"steps={unlearn}, learning_rate={size.unlearn:g}, {part}", "every": every,
        "known": 0.02 if teach else LEAST,
        "completions": 120 if platform() == "cpu" else 300, "label_batch": batch,
        "rate": f"{size.reinforce:g}", "batch": batch, "pretrain": "Pretrain, " * bool(teach),
    }  # fmt: skip
    commands = [f"jaxunlearn {' '.join(parts)}" for parts in COMMANDS if teach or parts[0] != "pretrain"]
    commands = [command.replace("CONFIG", shlex.quote(str(folder / CONFIG))) for command in commands]
    listed = "\n".join(f"    {command}" for command in commands).replace("\\", "\\\\").replace('"', '\\"')
    return FILE.format(**values, commands=listed), why, commands


def _batch(c: Shape | None, context: int) -> int:
    """Return the blocks of a microbatch that a training step has room for on one device, by arithmetic; 1 at least."""
    room = device_bytes()
    if c is None or room is None:
        return 8
    for batch in BATCHES:
        needed = step_bytes(c, Choice(1, 1, 1, batch, 8 // batch, "full"), Train(batch=batch), context)
        if sum(needed.values()) <= ROOM * room:
            return batch
    return 1


def _teaching(facts: Facts, size: Size, blocks: dict[str, int], part: str) -> tuple[str, str]:
    """Return (the lines of the file that teach the model the text first, a sentence that says why or why not)."""
    if facts.known is None:
        why = f"{facts.why_unknown}: if it does not know the text, set pretrain.steps to teach it first"
        return "", why
    share = f"the model knows {facts.known:.0%} of {facts.asked} places of the text to forget{IN_TEXT * facts.chat}"
    if facts.known >= KNOWN:
        return "", f"{share}, so it is unlearned as it is; there is no twin, a model that never saw the text"
    epochs = max(3, -(-blocks["retain"] // (2 * blocks["forget"])))  # a third of what is read, at least
    steps = max(50, size.exposures * (blocks["retain"] + epochs * blocks["forget"]) // (epochs * 8))
    why = f"{share}, so it is taught the text first, and a twin is trained on the text to keep alone"
    comment = textwrap.fill(why[0].upper() + why[1:], 108).replace("\n", "\n        # ")
    lines = TEACH.format(
        why=comment, steps=steps, rate=f"{size.teach:g}", warmup=max(5, steps // 40), part=part, epochs=epochs,
        every=max(50, steps // 5), log=max(10, steps // 20),
    )  # fmt: skip
    return lines, why


def _title(facts: Facts) -> str:
    def named(source: str, other: str) -> str:
        name = Path(source).name.removesuffix(".txt").removesuffix(".gguf")
        return re.sub(r"[^\w.']+|_", " ", name) if source else other

    return f"{named(facts.forget[0] if facts.forget else '', 'A text')}, forgotten by {named(facts.model, 'a model')}"


def _said(text: str) -> str:
    """Return a text as Python source, an f-string where it begins with {HERE}."""
    return f'f"{text}"' if text.startswith("{HERE}") else json_text(text, ensure_ascii=False)


def _listed(sources: Sequence[str]) -> str:
    return "".join(f"\n                {_said(source)}," for source in sources)


COMMANDS = (("pretrain", "CONFIG"), ("prompts", "build", "CONFIG"), ("run", "CONFIG", "--dry-run"), ("run", "CONFIG"))

TEACH = """\
        # {why}
        pretrain=Pretrain(
            steps={steps}, learning_rate={rate}, schedule="cosine", warmup={warmup}, {part},
            forget_epochs={epochs},  # the text to forget stands so often in one epoch
            checkpoint_every={every}, log_every={log},
        ),
"""

FILE = '''\
"""{about}. Written by `jaxunlearn init`; change whatever you like.

{commands}

The prompts can be reviewed in prompts.html; the run goes on where it was stopped, and ends with report.html.
Rates: {source}.
`key=value` after the file's name changes any setting. docs/methods.md says what each method has.
"""

from pathlib import Path

from jaxunlearn.config import Config, Eval, {pretrain}Run, Text, Train, Unlearn, Whp

HERE = Path(__file__).resolve().parent


def config() -> Config:
    return Config(
        name="{name}",
        title={title},
        model={model},  # Hugging Face directory, hub name or .gguf file
        compute="{compute}",
        text=Text(
            forget=({forget}
            ),
            retain=({retain}
            ),
            context={context},  # tokens a block
            unwrap={unwrap},  # join the hard line breaks of printed books
            holdout={holdout},  # share of the blocks that is measured on and never trained on
            dictionary="build",  # terms and their generic translations, by counting; or a file of yours
            prompts=f"{{HERE}}/prompts.json",  # `jaxunlearn prompts build` makes it
        ),
{teach}\
        # What the text makes likelier is found by training on it a while
        reinforce=Train({reinforce}, checkpoint_every=50, log_every=20),
        unlearn=Unlearn(method="whp_plus", {unlearn}, checkpoint_every=50, log_every=10),
        whp=Whp(alpha=5.0, top=64, label_batch={label_batch}),  # the 64 likeliest outcomes a position are stored
        eval=Eval(
            every={every},  # steps between measurements
            known={known},  # prompts whose words the baseline gives less stand apart
            completions={completions}, new_tokens=24, batch=32, blocks=32,
            members=32,  # blocks for memorisation and membership attacks
            relearn_steps=(0, 4, 12), relearn_batch={batch}, relearn_rates=({rate},),  # does it come back?
        ),
        controls=("hard_labels", "retain_only"),  # the paper's method, and text to keep alone
        run=Run(dir=f"{{HERE}}/run"),
    )
'''
