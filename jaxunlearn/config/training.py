"""The configuration fields of the stages that train."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Train adapters in the place of the weights (models/lora.py)."""

    rank: int = 0  # of the adapters; 0: none, the weights themselves are trained
    alpha: float = 16.0  # what is added is alpha / rank times the product


@dataclass(frozen=True, kw_only=True)
class Train:
    """One fine-tuning or pretraining run; a step sees batch * accumulate blocks."""

    steps: int = 0  # updates of the weights
    learning_rate: float = 1e-6  # at its highest
    batch: int = 8  # blocks of a microbatch, over all devices
    accumulate: int = 1  # microbatches of a step
    warmup: int = 0  # steps over which the learning rate rises from 0
    schedule: Literal["linear", "cosine", "constant"] = "linear"  # of the learning rate, after that
    b1: float = 0.9  # share of AdamW's first moment that a step keeps
    b2: float = 0.98  # share of the second moment that a step keeps; over 0.99 not with bfloat16
    weight_decay: float = 0.0  # times the learning rate, share of each weight that a step takes away
    clip: float = 0.0  # global norm that gradients are cut to; 0: none
    # adafactor: sums of rows and columns for moments; sgd: with momentum b1; lion: signs of the momentum
    optimiser: Literal["adamw", "adafactor", "sgd", "lion"] = "adamw"
    moment_dtype: Literal["float32", "bfloat16"] = "float32"  # of moments at rest; adafactor's stay fp32
    # layers: a layer at a time, in less memory (training/layerwise.py); auto: where a whole gradient does not fit
    update: Literal["auto", "whole", "layers"] = "auto"
    lora: Lora = field(default_factory=Lora)
    checkpoint_every: int = 50  # steps between checkpoints, from which a killed run goes on
    log_every: int = 10  # steps between lines on the screen; metrics.jsonl has every step

    @property
    def elementwise(self) -> bool:
        """Whether any part of the weights can be updated before the gradient of the others is known."""
        return self.optimiser == "adamw" and not self.clip and not self.lora.rank


@dataclass(frozen=True, kw_only=True)
class Pretrain(Train):
    """The pretraining of the baseline (retain and forget text) and of the twin (retain text alone)."""

    twin: bool = True  # also train the model that never sees the text to forget
    forget_epochs: int = 1  # how often the forget text stands in one epoch of the baseline's text


@dataclass(frozen=True, kw_only=True)
class Repair(Train):
    """The stage that teaches the unlearned model again what it should keep (stages/repair.py); steps = 0: none."""

    text: tuple[str, ...] = ()  # .txt files, folders, globs, or tfds:NAME/SPLIT; the universe: its encyclopedia


@dataclass(frozen=True, kw_only=True)
class Adversary:
    """A copy of the model that learns the text again while the model is unlearned (methods/adversary.py)."""

    every: int = 0  # steps from one fork of the model to the next; 0: no adversary
    # least and most: each fork's learning rate is drawn log-uniformly between; empty: 0.5 and 5 times the larger of
    # unlearn.learning_rate and reinforce.learning_rate
    rates: tuple[float, ...] = ()
    weight: float = 1.0  # of the forget loss at the copy, beside that at the model
    blocks: int = 8  # of the text to forget that the copy learns from at each step


@dataclass(frozen=True, kw_only=True)
class Select:
    """Move along the minor components of the forget gradient, to a budget (methods/select.py: RepSelect)."""

    budget: float = 0.0  # mean KL (nats a token) from the baseline to the model on text to keep, at most; 0: not used
    rate: float = 0.05  # of the plain steps along the one direction
    pcs: int = -1  # principal components of each matrix that are damped; 0: none; -1: an eighth of its smaller side
    damp: Literal["soft", "hard", "quadratic"] = "soft"  # by 1 - S_min / S, wholly, or by 1 - (S_min / S)^2
    of: Literal["forget", "retain", "random"] = "forget"  # whose: its own, of text to keep, random
    side: Literal["both", "inputs", "outputs"] = "both"  # of the matrices
    elicit: float = 0.01  # rate of the temporary adapter that draws the target out beforehand; 0: none
    rank: int = 8  # of that adapter
    blocks: int = 32  # of text to keep that the KL is measured on


@dataclass(frozen=True, kw_only=True)
class Mudman:
    """Unlearn by masked gradients taken at a fork that learns the text (methods/mudman.py: MUDMAN)."""

    every: int = 0  # steps from one fork of the model to the next; 0: not used
    rate: float = 1e-3  # length of a step against the text, over all gate projections
    retain_rate: float = 1e-3  # of the step on text to keep
    adversary_rate: float = 1e-2  # of the fork's step on the text to forget
    momentum: float = 0.9  # of the gradient on text to keep, whose signs make the mask


@dataclass(frozen=True, kw_only=True)
class Collapse:
    """Take what is common out of the factors of the forget gradient (methods/collapse.py: CIR)."""

    norm: float = 0.0  # length of a step against the text, over all MLP matrices; 0: not used
    inputs: int = 23  # leading principal components, beside the mean, that activations lose; 0: all is left in
    outputs: int = 35  # the same of the gradients at the outputs
    every: int = 0  # steps from one refresh of the components to the next; 0: an epoch of the text to forget
    retain_rate: float = 3e-4  # of the plain step on text to keep


@dataclass(frozen=True, kw_only=True)
class Erase:
    """Edit rows of the embedding and the output projection before the method trains (methods/erase.py: EMBER)."""

    strength: float = 0.0  # how many times a row's part in the target's features is subtracted; 0: not used
    rank: int = 16  # features that the rows of the text to forget are factored into
    share: float = 0.5  # of a feature's squared coefficients that rows of the target alone must hold
    seen: int = 0  # occurrences in the text to keep up to which a token still belongs to the target alone


@dataclass(frozen=True, kw_only=True)
class Unlearn(Train):
    """The unlearning stage. A setting that is None has the method's own default (`jaxunlearn methods`)."""

    method: str = "whp"  # one of those that `jaxunlearn methods` lists
    retain_weight: float | None = None  # of a term on text to keep, beside any method's own loss
    retain_loss: Literal["own", "nll", "kl"] = "own"  # own: what the method's paper has, cross-entropy as a rule
    retain_batch: int = 0  # blocks of text to keep in a microbatch; 0: as many as `batch`
    adversary: Adversary = field(default_factory=Adversary)
    sam: float = 0.0  # how far from the weights the forget loss's gradient is taken (methods/sam.py); 0: at them
    invariance: float = 0.0  # weight of the ILU penalty on text to keep (methods/invariance.py); 0: none
    folds: int = 1  # of the text to forget, unlearned layer upon layer (methods/layered.py); 1: all at once
    select: Select = field(default_factory=Select)
    mudman: Mudman = field(default_factory=Mudman)
    collapse: Collapse = field(default_factory=Collapse)
    erase: Erase = field(default_factory=Erase)
    beta: float | None = None  # of npo, simnpo, dpo: how fast the loss fades as a text is forgotten
    gamma: float | None = None  # of simnpo: the margin
    strength: float | None = None  # of undial: by how much the next token's logit is lowered
    scale: float | None = None  # of task_vector: how often the vector is subtracted
    steering: float | None = None  # of rmu: length of the vector that activations are pulled to
    layer: int | None = None  # of rmu: whose activations are misdirected, from 0
    subject: str = ""  # of prompting: what the model is told not to know
    prefix: str = ""  # of prompting: put before every prompt, {subject} filled in; empty: methods.inference.IGNORANCE
    settings: tuple[str, ...] = ()  # NAME=VALUE: settings of a method that have no field here
    # above 0, the stop rule: of the measured steps with at most this familiarity on the tuning prompts the one of least
    # retain perplexity is kept; 0: with hard labels the one of least held-out loss; whp.keep=last: neither
    reach: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Reset:
    """Re-draw the weights that matter to the target and not to other text, then heal (methods/reset.py)."""

    share: float = 0.0  # of the weights in `where`; 0: no reset; 1: a fresh model
    by: Literal["importance", "fisher", "random", "noise"] = "importance"  # noise: share of it in every weight (UNDO)
    where: Literal["all", "interior", "ends"] = "all"  # in the layers alone; ends: embedding, output projection alone
    teacher: Literal["baseline", "unlearned"] = "baseline"  # distilled in healing; unlearned: before its reset
    on: Literal["retain", "all"] = "retain"  # text to heal on; all: the text to forget too, by the unlearned teacher
    batches: int = 48  # of 8 blocks, to sum squared gradients over
    # the training that heals
    heal: Train = field(
        default_factory=lambda: Train(steps=200, learning_rate=3e-3, batch=8, warmup=20, schedule="cosine", b2=0.98)
    )
