"""The fields of a configuration, as frozen dataclasses.

config/training.py has those of the stages that train, config/attacks.py those of the attacks.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jaxunlearn.config.attacks import Attack, ContextAttack, ProbesAttack, QuantiseAttack, RttAttack
from jaxunlearn.config.training import Pretrain, Repair, Reset, Train, Unlearn


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """Devices along each axis; one axis may be -1: whatever is left."""

    data: int = 1  # copies of the model, each with other rows of the batch
    fsdp: int = -1  # parts of the weights and the optimiser's state; rows of the batch too
    tensor: int = 1  # parts of each matrix, for models too large for `fsdp` alone
    slices: int = 0  # groups with a slower network between them, along `data`; 0: as TPU slices say of themselves


@dataclass(frozen=True, kw_only=True)
class Llama:
    """Shape of a model that is made from scratch, letters as in models/transformer.py; V = 0: the tokenizer's size."""

    V: int = 0  # tokens of the vocabulary; 0: as many as the tokenizer has
    D: int = 96  # width of the residual stream
    L: int = 3  # layers
    N: int = 4  # query heads
    K: int = 4  # key and value heads; N is a multiple of it
    H: int = 24  # width of a head
    F: int = 256  # width of the MLP
    context: int = 512  # tokens of a text at most
    tied: bool = True  # the output projection is the embedding


@dataclass(frozen=True, kw_only=True)
class Universe:
    """The built-in fictional world; people = 0 means that the run brings its own text."""

    seed: int = 0  # of the world that is invented
    people: int = 0  # random ones in its stories, the text to keep; 0: no universe


@dataclass(frozen=True, kw_only=True)
class Text:
    """What to forget and what to keep: .txt files, folders, globs, tfds:NAME/SPLIT, or questions as .json(l)."""

    forget: tuple[str, ...] = ()  # what to forget
    retain: tuple[str, ...] = ()  # what to keep: to measure, to compare counts with, and for methods that train on it
    forget_held: tuple[str, ...] = ()  # for perplexity alone; empty: the held-out blocks of the text itself
    retain_held: tuple[str, ...] = ()  # the same of the text to keep
    context: int = 512  # tokens a block, BOS included
    unwrap: bool = False  # join the hard line breaks of printed books
    most_characters: int = 0  # read of each document, in whole paragraphs from its beginning; 0: all
    holdout: float = 0.05  # share of the blocks that no step trains on; 0: none, so what is measured was trained on
    dictionary: str = ""  # a JSON file; "build": made from the texts as `anchors` says
    prompts: str = ""  # what to measure by, a JSON file (evals/prompts.py); empty: perplexities alone
    answers: str = ""  # questions about the text to forget, for methods that teach other answers (methods/answers.py)


@dataclass(frozen=True, kw_only=True)
class Whp:
    """The method's own settings; whp/__init__.py has the table of those by which it can deviate from the paper."""

    alpha: float = 5.0  # by how much what reinforcement lifted is lowered (whp/equation.py)
    alphas: tuple[float, ...] = ()  # further alphas whose labels the same pass stores
    mode: Literal["offline", "fused"] = "offline"  # labels are stored first, or made in the step
    labels: Literal["hard", "soft"] = "hard"  # soft, a deviation: the whole distribution in the place of its argmax
    top: int = 0  # outcomes a position that soft labels store; 0: none, both models stay beside the trained one
    translations: int = 4  # of whp_averaged: how many the distribution is averaged over
    offset: Literal["baseline", "contrast"] = "baseline"  # contrast, a deviation: reinforced against diluted
    match: Literal["longest", "first"] = "longest"  # of overlapping terms; first, the paper: the first in the file
    draw: Literal["key", "variant"] = (
        "key"  # one translation a term and block; variant, the paper: another at line starts
    )
    repeat: Literal["ignore", "keep"] = "ignore"  # whether to train on a term that has occurred in the block before
    seen_translation: Literal["mean", "penalty", "-inf"] = "mean"  # the logit of a translation that has appeared
    seen_penalty: float = 5.0  # nats of logit, for seen_translation=penalty
    seen_from: Literal["after", "at"] = "after"  # at, a deviation: at the anchor's last token already
    forbid: Literal["none", "keys"] = "none"  # keys, a deviation: every term's first tokens count as seen everywhere
    offset_context: Literal["translated", "original"] = "translated"  # text of the baseline's logits in the ReLU
    block_bos: Literal["every", "piece"] = "every"  # a BOS a block; piece, the paper: one every 10,000 characters
    keep: Literal["best", "last"] = "best"  # last: unlearned/ is the last step; best: see unlearn.reach
    label_batch: int = 16  # blocks a call of the label pass


@dataclass(frozen=True, kw_only=True)
class LlmEndpoint:
    """A language model behind an OpenAI-compatible endpoint, and how it is asked (llm/endpoint.py)."""

    base_url: str = ""  # ends in /v1 as a rule; empty: OPENAI_BASE_URL
    model: str = ""  # as the endpoint knows it; empty: OPENAI_MODEL
    key_variable: str = "OPENAI_API_KEY"  # the environment variable that holds the key, if one is needed
    concurrency: int = 4  # requests under way at once
    attempts: int = 5  # of a question, until it counts as unanswered
    timeout: float = 120.0  # seconds for a whole reply
    seed: int = 0  # sent with each question, for endpoints that heed it
    temperature: float = 0.7  # at which it samples; 0: greedy
    price_in: float = 0.0  # of a million prompt tokens, in any currency; 0: not given
    price_out: float = 0.0  # of a million completion tokens


@dataclass(frozen=True, kw_only=True)
class Llm(LlmEndpoint):
    """The language model that `anchors build` asks."""

    passages: int = 400  # of the text that it is asked about at most; 0: the whole text
    passage_characters: int = 4000  # of a passage at most


@dataclass(frozen=True, kw_only=True)
class Extract:
    """Which words and phrases `anchors build` takes for terms when it counts (anchors/building/extract.py)."""

    min_count: int = 3  # occurrences of a name or phrase in the target; raise it for a long text
    score_bar: float = 5.0  # where the ranked list is cut: lower gives more terms, of which fewer are right
    language: str = "en"  # of the word frequencies (wordfreq) that stand for general text


@dataclass(frozen=True, kw_only=True)
class Anchors:
    """How the dictionary is made (`anchors build`, or text.dictionary=build), and what a run makes of its faults."""

    source: Literal["offline", "llm"] = "offline"  # by counting, or by the language model of `llm`
    audit: Literal["refuse", "ignore"] = "refuse"  # error-level findings, before anything is labelled
    seed: int = 0  # of the translations that are drawn offline
    llm: Llm = field(default_factory=Llm)
    extract: Extract = field(default_factory=Extract)


@dataclass(frozen=True, kw_only=True)
class Eval:
    """When to measure, and on how much."""

    every: int = 20  # steps between measurements while unlearning
    at: tuple[int, ...] = ()  # further steps to measure at
    split: Literal["choose", "report"] = "report"  # tune on the one, publish the other
    known: float = 0.0  # next-word prompts that the baseline gives less than this stand apart; 0: all prompts count
    allow_unknown: bool = False  # go on where the baseline does not know the text, or a set has under 10 prompts
    batch: int = 32  # blocks, or prompts, of a call
    blocks: int = 64  # at most this many blocks for a perplexity
    completions: int = 300  # sampled completions in all, spread over the prompts
    new_tokens: int = 24  # of a completion
    temperature: float = 1.0  # of completions; 0: greedy
    top_k: int = 5  # likeliest tokens that completions draw from; 0: all
    relearn_steps: tuple[int, ...] = ()  # of relearning a little of the text, when familiarity is measured: 0,2,5,10
    relearn_blocks: int = 12  # of the text, all that the attacker has
    relearn_batch: int = 8  # blocks a step, for every model alike
    relearn_rates: tuple[float, ...] = ()  # the attacker's best counts; empty: 1, 4, 16 x that of unlearn or reinforce
    members: int = 0  # blocks that were trained on, and as many new ones: memorisation and membership attacks
    benchmarks: tuple[str, ...] = ()  # multiple choice: .jsonl files, folders of them, tfds:NAME/SPLIT
    tasks: tuple[str, ...] = ()  # of lm-evaluation-harness; "paper": the paper's seven
    tofu: str = ""  # a folder with TOFU's files
    muse: str = ""  # a folder with MUSE's questions: forget_qa.json, retain_qa.json, solved ones in ..._icl.json
    # At most so many questions of each benchmark, MUSE and TOFU set, evenly spread, and the first so many of each task
    # of the harness; 0: all. TOFU's forget set is asked whole for the forget quality, and so many answered in text.
    items: int = 200
    chat: bool = False  # text.prompts, and the attacks that prompt, are asked through the model's chat template
    # Tokens of a row of eval.tasks at most, the model's context if that is less. As in the harness, a running text that
    # is longer is scored in several rows, and the prompt before an answer loses its beginning.
    context: int = 2048


# Settings of earlier versions, and where they are now.
MOVED = {
    f"attack.{key}": f"attack.{name}.{key}"
    for name, section in (("probes", ProbesAttack), ("quantise", QuantiseAttack), ("context", ContextAttack),
                          ("rtt", RttAttack))
    for key in section.__dataclass_fields__
} | {"attack.shares": "attack.shares.of", "sweep.rtt": "sweep.attacks=rtt"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LlmJudge(LlmEndpoint):
    """A language model that grades completions beside the offline judge (evals/llm_judge.py)."""

    use: bool = False  # ask it
    work: str = ""  # what to grade for, in words ("the Oz novels of L. Frank Baum"); empty: the prompts' name
    temperature: float = 0.0  # at which it grades; 0: greedy


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What `jaxunlearn sweep` compares: methods, with settings after spaces, alternatives a|b (stages/trials.py)."""

    methods: tuple[str, ...] = ("whp", "gradient_difference", "npo", "retain_only")  # rows, as said above
    rates: tuple[float, ...] = ()  # of unlearn.learning_rate; empty: the configuration's own
    alphas: tuple[float, ...] = ()  # of whp.alpha, for methods that have one
    trials: int = 0  # settings tried of each method, drawn from its grid; 0: the whole grid
    seeds: tuple[int, ...] = (0,)  # one baseline each
    tuning_seeds: int = 0  # on how many of the seeds every trial runs, the others running the chosen; 0: all
    reach: float = 0.1  # the familiarity that a setting has to come down to
    # times the twin's perplexity on text to keep, what a setting may cost; of those within it the one is chosen that
    # relearning brings back least of. 0: the one of least perplexity that comes down to `reach`
    most_perplexity: float = 0.0
    attacks: tuple[str, ...] = ()  # on each measured row, beside relearning: rtt, few_shot, ways, halfway, benign


@dataclass(frozen=True, kw_only=True)
class Run:
    """The run directory, and the trackers that get its metrics beside metrics.jsonl (run/tracking.py)."""

    dir: str = ""  # empty: runs/NAME
    checkpoints: str = ""  # where training state lies, also gs:// or s3://; empty: in the run directory
    track: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ()  # where metrics go too
    full_paths: bool = False  # in report.json and report.html; else paths from here, or the last name alone


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything a run depends on."""

    name: str  # of the run, and of its folder in runs/
    title: str = ""  # of the report; empty: the name
    seed: int = 0  # of fresh weights and of the order of batches
    model: str = ""  # Hugging Face directory (or a run's checkpoint); empty: made from `init`
    tokenizer: str = ""  # directory; empty: the model's own
    init: Llama = field(default_factory=Llama)
    compute: Literal["float32", "bfloat16"] = "float32"  # of the matrix products; weights at rest are float32
    # what the backward pass computes again, to need less memory (models/transformer.py: rematerialised)
    remat: Literal["auto", "full", "mlp", "down", "dots", "none"] = "auto"
    mesh: Mesh = field(default_factory=Mesh)
    universe: Universe = field(default_factory=Universe)
    text: Text = field(default_factory=Text)
    pretrain: Pretrain = field(default_factory=Pretrain)
    # the baseline fine-tuned further on the text to forget
    reinforce: Train = field(default_factory=lambda: Train(steps=135, learning_rate=3e-6, accumulate=16))
    unlearn: Unlearn = field(default_factory=lambda: Unlearn(steps=120, learning_rate=1e-6, accumulate=16))
    reset: Reset = field(default_factory=Reset)
    repair: Repair = field(default_factory=Repair)
    anchors: Anchors = field(default_factory=Anchors)
    whp: Whp = field(default_factory=Whp)
    eval: Eval = field(default_factory=Eval)
    attack: Attack = field(default_factory=Attack)
    judge: LlmJudge = field(default_factory=LlmJudge)
    controls: tuple[str, ...] = ()  # what is trained beside the method, to compare with (methods/controls.py)
    sweep: Sweep = field(default_factory=Sweep)
    run: Run = field(default_factory=Run)

    @property
    def directory(self) -> Path:
        """Return the run directory."""
        return Path(self.run.dir or f"runs/{self.name}")
