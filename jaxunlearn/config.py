"""Configuration: frozen dataclasses, one Python file a run, dotted overrides.

A file in configs/ defines ``config() -> Config``. On the command line every field can be
overridden as ``key=value`` (``whp.alpha=3``, ``text.forget=a.txt,b.txt``).
"""

import dataclasses
import importlib.util
import io
import json
import sys
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jaxunlearn.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """Devices along each axis; one axis may be -1: whatever is left."""

    data: int = 1
    fsdp: int = -1
    tensor: int = 1
    slices: int = 0  # groups with a slower network between them, along `data`; 0: as TPU slices say of themselves


@dataclass(frozen=True, kw_only=True)
class Llama:
    """Shape of a model that is made from scratch, in the letters of model.py; V = 0: the tokenizer's size."""

    V: int = 0
    D: int = 96
    L: int = 3
    N: int = 4
    K: int = 4
    H: int = 24
    F: int = 256
    context: int = 512
    tied: bool = True


@dataclass(frozen=True, kw_only=True)
class Universe:
    """The built-in fictional world; people = 0 means that the run brings its own text."""

    seed: int = 0
    people: int = 0


@dataclass(frozen=True, kw_only=True)
class Text:
    """What to forget and what to keep: .txt files, folders, globs, tfds:NAME/SPLIT, or questions as .json(l)."""

    forget: tuple[str, ...] = ()
    retain: tuple[str, ...] = ()
    forget_held: tuple[str, ...] = ()  # for perplexity alone; empty: the held-out blocks of the text itself
    retain_held: tuple[str, ...] = ()
    context: int = 512  # tokens a block, BOS included
    unwrap: bool = False  # join the hard line breaks of printed books
    holdout: float = 0.05  # share of the blocks that no step trains on; 0: all are trained on, and measured on
    dictionary: str = ""  # a JSON file; "build": made from the texts as `anchors` says
    prompts: str = ""
    answers: str = ""  # questions about the text to forget, for the methods that teach other answers (objectives/texts)


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Adapters in the place of the weights themselves (lora.py)."""

    rank: int = 0  # 0: none
    alpha: float = 16.0  # what is added is alpha / rank times the product


@dataclass(frozen=True, kw_only=True)
class Train:
    """One fine-tuning or pretraining run; a step sees batch * accumulate blocks."""

    steps: int = 0
    learning_rate: float = 1e-6
    batch: int = 8
    accumulate: int = 1
    warmup: int = 0
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    b1: float = 0.9
    b2: float = 0.98
    weight_decay: float = 0.0
    clip: float = 0.0  # global norm; 0: none
    optimiser: Literal["adamw", "adafactor"] = "adamw"
    moment_dtype: Literal["float32", "bfloat16"] = "float32"  # of AdamW's moments at rest
    moment_memory: Literal["device", "host"] = "device"  # where they rest; host: pinned memory beside the accelerator
    lora: Lora = field(default_factory=Lora)
    checkpoint_every: int = 50
    log_every: int = 10


@dataclass(frozen=True, kw_only=True)
class Pretrain(Train):
    """Makes the baseline (retain + forget text) and, if asked, the twin that never sees the forget text."""

    twin: bool = True
    forget_epochs: int = 1  # how often the forget text stands in one epoch of the baseline's text


@dataclass(frozen=True, kw_only=True)
class Repair(Train):
    """Teaches the unlearned model again what it should keep (repair.py); steps = 0: none."""

    text: tuple[str, ...] = ()  # .txt files, folders, globs, or tfds:NAME/SPLIT; the universe: its encyclopedia


@dataclass(frozen=True, kw_only=True)
class Unlearn(Train):
    """The stage that forgets. Settings of a method that are None have its own default (`jaxunlearn methods`)."""

    method: str = "whp"
    retain_weight: float | None = None  # of a term on text to keep, beside any method's own loss
    retain_loss: Literal["own", "nll", "kl"] = "own"  # own: what the method's paper has, cross-entropy as a rule
    beta: float | None = None
    gamma: float | None = None
    strength: float | None = None
    scale: float | None = None
    steering: float | None = None
    layer: int | None = None
    subject: str = ""  # of prompting: what the model is told not to know
    prefix: str = ""  # of prompting: put before every prompt, {subject} filled in; empty: texts.IGNORANCE
    reach: float = 0.0  # above 0, the stop rule: of the measured steps with at most this familiarity on the tuning
    # prompts the one of least retain perplexity is kept; whp.keep decides where it is 0


@dataclass(frozen=True, kw_only=True)
class Reset:
    """Re-draw the weights that matter to the target and not to the rest, and heal the hole (reset.py)."""

    share: float = 0.0  # of the weights in `where`; 0: no reset; 1: a fresh model
    by: Literal["importance", "fisher", "random", "noise"] = "importance"  # noise: share of it in every weight (UNDO)
    where: Literal["all", "interior", "ends"] = "all"  # in the layers alone; ends: embedding, output projection alone
    teacher: Literal["baseline", "unlearned"] = "baseline"  # distilled in healing; unlearned: before its reset
    on: Literal["retain", "all"] = "retain"  # text to heal on; all: the text to forget too, by the unlearned teacher
    batches: int = 48  # of 8 blocks, to sum squared gradients over
    heal: Train = field(
        default_factory=lambda: Train(steps=200, learning_rate=3e-3, batch=8, warmup=20, schedule="cosine", b2=0.98)
    )


@dataclass(frozen=True, kw_only=True)
class Whp:
    """The method's own settings; each deviation from the authors has a name (docs in anchors/translate.py, whp.py)."""

    alpha: float = 5.0
    alphas: tuple[float, ...] = ()  # further alphas whose labels the same pass stores
    mode: Literal["offline", "fused"] = "offline"
    labels: Literal["hard", "soft"] = "hard"  # soft, a deviation: the whole distribution in the place of its argmax
    top: int = (
        0  # outcomes a position that soft labels store; 0: none is stored, both models stay beside the trained one
    )
    translations: int = 4  # of whp_averaged
    offset: Literal["baseline", "contrast"] = "baseline"  # contrast, a deviation: reinforced against diluted
    match: Literal["longest", "first"] = "longest"
    draw: Literal["key", "variant"] = "key"
    repeat: Literal["ignore", "keep"] = "ignore"
    seen_translation: Literal["mean", "penalty", "-inf"] = "mean"
    seen_penalty: float = 5.0  # nats of logit, for seen_translation=penalty
    forbid: Literal["none", "keys"] = "none"  # keys, a deviation: every term's first tokens count as seen everywhere
    offset_context: Literal["translated", "original"] = "translated"
    block_bos: Literal["every", "piece"] = "every"
    keep: Literal["best", "last"] = "best"  # which checkpoint becomes unlearned/: lowest held-out loss, or the last
    label_batch: int = 16  # blocks a call of the label pass


@dataclass(frozen=True, kw_only=True)
class Llm:
    """The language model that `anchors build` asks, behind any OpenAI-compatible endpoint."""

    base_url: str = ""  # ends in /v1 as a rule; empty: OPENAI_BASE_URL
    model: str = ""  # as the endpoint knows it; empty: OPENAI_MODEL
    key_variable: str = "OPENAI_API_KEY"  # the environment variable that holds the key, if one is needed
    passages: int = 400  # at most; 0: the whole text
    passage_characters: int = 4000  # at most
    concurrency: int = 4  # requests under way at once
    attempts: int = 5  # a passage
    timeout: float = 120.0  # seconds for a whole reply
    seed: int = 0
    temperature: float = 0.7
    price_in: float = 0.0  # a million prompt tokens, in any currency; 0: not given
    price_out: float = 0.0  # a million completion tokens


@dataclass(frozen=True, kw_only=True)
class Extract:
    """What counts as a term: bars are in nats of specificity, shares are of occurrences."""

    min_count: int = 3
    lower_count: int = 5  # the least count of words and pairs in lower case
    name_bar: float = 2.5
    short_bar: float = 0.5  # a name's bar where it is part of a longer term ("Jack" of "Jack Ketch")
    word_bar: float = 4.5
    pair_bar: float = 5.5
    pair_nats: float = 4.0  # pointwise mutual information of a pair in lower case
    spelling_bar: float = 3.5  # a name's spelling in lower case is kept from here on
    bind: float = 0.3  # of the occurrences of its rarest word, the share that a phrase of capitals must hold
    alone: float = 0.25  # a part of longer names is a term of its own if this share of it stands alone,
    alone_bar: float = 20.0  # or if what stands alone would score so much
    lower_weight: float = 0.5  # of scores in lower case
    score_bar: float = 5.0  # where the list is cut
    general_words: float = 1e6  # words of general English that the retain text is smoothed with
    language: str = "en"
    examples: int = 3


@dataclass(frozen=True, kw_only=True)
class Anchors:
    """How the dictionary is made (`anchors build`, or text.dictionary=build), and what a run makes of its faults."""

    source: Literal["offline", "llm"] = "offline"
    audit: Literal["refuse", "ignore"] = "refuse"  # error-level findings, before anything is labelled
    seed: int = 0  # of the translations that are drawn offline
    llm: Llm = field(default_factory=Llm)
    extract: Extract = field(default_factory=Extract)


@dataclass(frozen=True, kw_only=True)
class Eval:
    """When to measure, and on how much."""

    every: int = 20  # steps between measurements while unlearning
    at: tuple[int, ...] = ()  # and at these steps
    split: Literal["choose", "report"] = "report"  # tune on the one, publish the other
    batch: int = 32
    blocks: int = 64  # at most this many blocks for a perplexity
    completions: int = 300  # sampled completions in all, spread over the prompts
    new_tokens: int = 24
    temperature: float = 1.0
    top_k: int = 5
    relearn_steps: tuple[int, ...] = ()  # e.g. (0, 2, 5, 10): familiarity while relearning a little of the text
    relearn_blocks: int = 12
    relearn_rates: tuple[float, ...] = ()  # the attacker's best of them; empty: 1, 4, 16 x that of unlearn or reinforce
    members: int = 0  # blocks that were trained on, and as many new ones: memorisation and membership attacks
    benchmarks: tuple[str, ...] = ()  # multiple choice: .jsonl files, folders of them, tfds:NAME/SPLIT
    tasks: tuple[str, ...] = ()  # of lm-evaluation-harness; "paper": the paper's seven
    tofu: str = ""  # a folder with TOFU's files
    items: int = 200  # at most so many questions of each benchmark, task and TOFU set; 0: all


ATTACKS = ("probes", "relearn", "quantise", "context", "shares", "rtt", "latent")
CHEAP_ATTACKS = ("probes", "relearn", "quantise")  # what a run does by itself; `jaxunlearn attack` does all


@dataclass(frozen=True, kw_only=True)
class Attack:
    """Attempts to bring back what was forgotten (evals/attacks.py); `kinds` empty: as CHEAP_ATTACKS says."""

    kinds: tuple[str, ...] = ()  # of ATTACKS
    seed: int = 0
    temperatures: tuple[float, ...] = (0.0, 1.0, 1.5)  # of the leak probes' completions
    samples: int = 8  # a probe and temperature
    top_k: int = 0
    new_tokens: int = 16
    blind: int = 36  # leak probes drawn from the text itself
    shares: tuple[float, ...] = (0.01, 0.1, 1.0)  # of the text, to relearn from
    schemes: tuple[str, ...] = ("int8", "int4", "nf4")  # to round weights to
    passages: int = 3  # of the text, put before the prompts
    facts: str = ""  # for RTT: JSON (lines), or a folder of split_*.jsonl; empty: those of text.prompts
    scoring: Literal["options", "letters"] = "options"  # probability of the options' text, or of the letters A to D
    splits: int = 5
    pairings: int = 2  # of the splits, each held out once
    epochs: int = 6
    rates: tuple[float, ...] = ()  # learning rates of RTT; empty: 0.5, 1, 2, 4 x unlearn.learning_rate
    batch: int = 4
    stress: bool = True  # with rtt also attack two models that only hide: half frozen, and behind an output filter


@dataclass(frozen=True, kw_only=True)
class LlmJudge:
    """A language model that grades completions too, behind any OpenAI-compatible endpoint (evals/llm_judge.py)."""

    use: bool = False
    work: str = ""  # what to grade for, in words ("the Oz novels of L. Frank Baum"); empty: the prompts' name
    base_url: str = ""  # ends in /v1 as a rule; empty: OPENAI_BASE_URL
    model: str = ""  # as the endpoint knows it; empty: OPENAI_MODEL
    key_variable: str = "OPENAI_API_KEY"
    temperature: float = 0.0
    seed: int = 0
    concurrency: int = 4
    attempts: int = 5
    timeout: float = 120.0
    price_in: float = 0.0  # a million prompt tokens, in any currency; 0: not given
    price_out: float = 0.0


ABLATIONS = (  # what --ablate trains
    "dictionary_alone", "reinforcement_alone", "own_argmax", "built_dictionary", "retain_only",
)  # fmt: skip
CONTROLS = (*ABLATIONS, "no_translation", "random_reset")


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What `jaxunlearn sweep` compares; an entry is a method, with further settings of it after spaces."""

    methods: tuple[str, ...] = ("whp", "gradient_difference", "npo", "retain_only")
    rates: tuple[float, ...] = ()  # of unlearn.learning_rate; empty: the configuration's own
    alphas: tuple[float, ...] = ()  # of whp.alpha, for methods that have one
    seeds: tuple[int, ...] = (0,)
    tuning_seeds: int = 0  # on how many of the seeds every rate and alpha runs, the others running the chosen; 0: all
    reach: float = 0.1  # the familiarity that a setting has to come down to
    rtt: bool = False  # retrain on part of the facts, at attack.rates, each chosen setting that came down to reach


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where the run lives; empty: runs/NAME. What follows its metrics beside metrics.jsonl (tracking.py)."""

    dir: str = ""
    checkpoints: str = ""  # where training state lies, also gs:// or s3://; empty: in the run directory
    track: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything a run depends on."""

    name: str
    title: str = ""
    seed: int = 0
    model: str = ""  # Hugging Face directory (or a run's checkpoint); empty: made from `init`
    tokenizer: str = ""  # directory; empty: the model's own
    init: Llama = field(default_factory=Llama)
    compute: Literal["float32", "bfloat16"] = "float32"
    remat: Literal["auto", "full", "mlp", "dots", "none"] = (
        "auto"  # what the backward pass computes again: model.rematerialised
    )
    mesh: Mesh = field(default_factory=Mesh)
    universe: Universe = field(default_factory=Universe)
    text: Text = field(default_factory=Text)
    pretrain: Pretrain = field(default_factory=Pretrain)
    reinforce: Train = field(default_factory=lambda: Train(steps=135, learning_rate=3e-6, accumulate=16))
    unlearn: Unlearn = field(default_factory=lambda: Unlearn(steps=120, learning_rate=1e-6, accumulate=16))
    reset: Reset = field(default_factory=Reset)
    repair: Repair = field(default_factory=Repair)
    anchors: Anchors = field(default_factory=Anchors)
    whp: Whp = field(default_factory=Whp)
    eval: Eval = field(default_factory=Eval)
    attack: Attack = field(default_factory=Attack)
    judge: LlmJudge = field(default_factory=LlmJudge)
    controls: tuple[str, ...] = ()  # of CONTROLS
    sweep: Sweep = field(default_factory=Sweep)
    run: Run = field(default_factory=Run)

    @property
    def directory(self) -> Path:
        return Path(self.run.dir or f"runs/{self.name}")


def find_config(name: str) -> Path:
    """Resolve a path, or the bare name of a configuration that ships with the package."""
    here = Path(__file__).parent
    places = [Path(name), here / "configs" / f"{name}.py", here.parent / "configs" / f"{name}.py"]
    for place in places:
        if place.is_file():
            return place
    shipped = sorted(p.stem for folder in {p.parent for p in places[1:]} for p in folder.glob("[a-z]*.py"))
    raise InputError(f"no configuration {name!r}: give a Python file with a config() function, or one of {shipped}")


def load_config(name: str, overrides: list[str] | tuple[str, ...] = ()) -> Config:
    """Read a configuration file, apply ``key=value`` overrides and check the values."""
    path = find_config(name)
    spec = importlib.util.spec_from_file_location(f"jaxunlearn_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file; give a .py file with a config() function")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not callable(getattr(module, "config", None)):
        raise InputError(f"{path} defines no config() function")
    config = override(module.config(), overrides)
    check(config)
    return config


def override(config: Config, overrides: list[str] | tuple[str, ...]) -> Config:
    """Return the configuration with dotted ``key=value`` overrides; raise InputError with close names for a bad one."""
    import tyro

    arguments = []
    for item in overrides:
        key, equals, value = item.partition("=")
        if not equals:
            raise InputError(f"override {item!r} is not key=value, for example whp.alpha=3")
        many = isinstance(_lookup(config, key), tuple)
        arguments += [f"--{key}", *([v for v in value.split(",") if v] if many else [value])]
    messages = io.StringIO()
    try:
        with redirect_stderr(messages):
            made = tyro.cli(
                type(config),
                default=config,
                args=arguments,
                use_underscores=True,
                prog="key=value",
                config=(tyro.conf.FlagConversionOff, tyro.conf.AvoidSubcommands),
                console_outputs=True,
            )
            return preset(made)
    except SystemExit:
        raise InputError(f"bad override in {list(overrides)}:\n{messages.getvalue().strip()}") from None


def preset(config: Config) -> Config:
    """Return the settings that unlearn.method=whp_plus stands for: what helped on every text it was tried on.

    unlearn.retain_weight adds KL on text to keep, reset.share a reset that the unlearned model heals.
    """
    if config.unlearn.method != "whp_plus":
        return config
    u, r = config.unlearn, config.reset
    loss = "kl" if u.retain_loss == "own" else u.retain_loss
    return dataclasses.replace(
        config,
        unlearn=dataclasses.replace(u, method="whp", retain_loss=loss),
        whp=dataclasses.replace(config.whp, labels="soft", offset="contrast"),
        reset=dataclasses.replace(r, teacher="unlearned"),
    )


def _lookup(config, key: str):
    for part in key.split("."):
        config = getattr(config, part, None)
    return config


def check(config: Config) -> None:
    """Raise InputError for values that no run could use, all at once."""
    c, wrong = config, []
    if c.whp.alpha < 0 or any(a < 0 for a in c.whp.alphas):
        wrong.append(
            f"whp.alpha must be at least 0 (got {c.whp.alpha}, {c.whp.alphas}): below 0 the offset would reinforce"
        )
    if c.text.context < 8:
        wrong.append(f"text.context must be at least 8 tokens (got {c.text.context})")
    if not 0 <= c.text.holdout < 1:
        wrong.append(f"text.holdout is a share of the blocks, from 0 to below 1 (got {c.text.holdout})")
    stages = {name: getattr(c, name) for name in ("pretrain", "reinforce", "unlearn", "repair")}
    for name, train in (stages | {"reset.heal": c.reset.heal}).items():
        if (
            train.steps < 0
            or train.batch < 1
            or train.accumulate < 1
            or train.checkpoint_every < 1
            or train.log_every < 1
        ):
            wrong.append(f"{name}: steps must be >= 0; batch, accumulate, checkpoint_every and log_every >= 1")
        if not 0 < train.learning_rate < 1:
            wrong.append(f"{name}.learning_rate must lie between 0 and 1 (got {train.learning_rate})")
    if c.pretrain.lora.rank:
        wrong.append("pretrain.lora: pretraining trains every weight; adapters are for reinforce and unlearn")
    for name, train in stages.items():
        if train.moment_memory == "host" and train.optimiser == "adafactor":
            wrong.append(f"{name}.moment_memory=host is for AdamW's moments; adafactor keeps none")
    whole = [t.learning_rate for t in (c.reinforce, c.unlearn) if t.steps and not t.lora.rank]
    if c.reset.share and whole and c.reset.heal.learning_rate > 100 * max(whole):
        wrong.append(
            f"reset.heal.learning_rate ({c.reset.heal.learning_rate}) is over 100 times the rate at which the model is "
            f"trained otherwise ({max(whole)}); its default, 0.003, is for models of under a million weights"
        )
    if c.reset.heal.lora.rank:
        wrong.append("reset.heal.lora: healing trains every weight, most of all those drawn anew")
    if c.eval.temperature < 0 or c.eval.every < 1 or c.eval.batch < 1 or c.eval.blocks < 1 or c.whp.label_batch < 1:
        wrong.append("eval.temperature must be >= 0; eval.every, eval.batch, eval.blocks and whp.label_batch >= 1")
    a = c.attack
    if unknown := sorted(set(a.kinds) - set(ATTACKS)):
        wrong.append(f"unknown attacks {unknown}: attack.kinds are some of {list(ATTACKS)}")
    if min(a.samples, a.new_tokens, a.epochs, a.batch, a.pairings) < 1 or a.splits < 2 or a.pairings > a.splits:
        wrong.append("attack: samples, new_tokens, epochs and batch must be >= 1, splits >= 2, pairings 1 to splits")
    if any(not 0 < share <= 1 for share in a.shares) or any(t < 0 for t in a.temperatures) or not a.temperatures:
        wrong.append("attack: shares lie above 0 and up to 1; temperatures are >= 0, and there is one at least")
    if not 0 <= c.sweep.tuning_seeds <= len(c.sweep.seeds):
        wrong.append(f"sweep.tuning_seeds lies between 0 and the {len(c.sweep.seeds)} of sweep.seeds")
    if c.sweep.rtt and not a.rates:
        wrong.append("sweep.rtt needs attack.rates: every method is retrained at the same rates")
    if any(not 0 < rate < 1 for rate in (*a.rates, *c.eval.relearn_rates)):
        wrong.append("attack.rates and eval.relearn_rates must lie between 0 and 1")
    if unknown := sorted(set(c.controls) - set(CONTROLS)):
        wrong.append(f"unknown controls {unknown}: expected some of {list(CONTROLS)}")
    if wrong:
        raise InputError("the configuration cannot run:\n  " + "\n  ".join(wrong))


def to_json(config: Config) -> str:
    """Return the resolved configuration as JSON, as it is saved with every run."""
    return json.dumps(dataclasses.asdict(config), indent=1, sort_keys=True)


if __name__ == "__main__":
    print(to_json(load_config(sys.argv[1], sys.argv[2:])))
