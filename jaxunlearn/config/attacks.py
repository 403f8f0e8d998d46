"""The configuration fields of the attacks."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class ProbesAttack:
    """Leak probes (attacks/probes.py)."""

    samples: int = 8  # of a probe, at each temperature
    temperatures: tuple[float, ...] = (0.0, 1.0, 1.5)  # each probe is sampled at all of them
    top_k: int = 0  # likeliest tokens to draw from; 0: all
    new_tokens: int = 16  # of a sample
    blind: int = 36  # probes drawn from the text itself


@dataclass(frozen=True, kw_only=True)
class SharesAttack:
    """Relearning from parts of the text (attacks/shares.py)."""

    of: tuple[float, ...] = (0.01, 0.1, 1.0)  # of the text, one relearning for each
    epochs: int = 3  # over each share
    most_steps: int = 300  # of eval.relearn_batch blocks, however long the share; the report says what that covers


@dataclass(frozen=True, kw_only=True)
class QuantiseAttack:
    """Rounding the weights (attacks/quantise.py)."""

    schemes: tuple[Literal["int8", "int4", "nf4"], ...] = ("int8", "int4", "nf4")  # each is tried


@dataclass(frozen=True, kw_only=True)
class ContextAttack:
    """The text in the prompt (attacks/context.py)."""

    passages: int = 3  # of the text, put before the prompts


@dataclass(frozen=True, kw_only=True)
class RttAttack:
    """Retraining on some of the facts (attacks/rtt.py); `facts` and `splits` serve the latent probe, too."""

    facts: str = ""  # JSON (lines), or a folder of split_*.jsonl; empty: those of text.prompts
    scoring: Literal["options", "letters"] = "options"  # probability of the options' text, or of the letters A to D
    splits: int = 5  # parts that the facts are cut into
    pairings: int = 2  # of the splits, each held out once
    epochs: int = 6  # over the splits that are retrained on
    rates: tuple[float, ...] = ()  # learning rates; empty: 0.5, 1, 2, 4 x unlearn.learning_rate
    batch: int = 4  # facts of a step
    stress: bool = True  # also attack two models that only hide: half frozen, and behind an output filter


@dataclass(frozen=True, kw_only=True)
class FewShotAttack:
    """Facts asked after solved ones (attacks/few_shot.py); which are asked is that of attack.rtt."""

    shots: tuple[int, ...] = (2, 8)  # solved facts before a question; 0 is asked, too


@dataclass(frozen=True, kw_only=True)
class HalfwayAttack:
    """Steps until half of the text is back (attacks/halfway.py)."""

    share: float = 1.0  # of the text, relearned
    most_steps: int = 200  # of eval.relearn_batch blocks; what takes longer is "not within" them
    rates: tuple[float, ...] = ()  # learning rates; empty: five over two decades (attacks/relearn.py: wide)


@dataclass(frozen=True, kw_only=True)
class WaysAttack:
    """Relearning by other optimisers, by adapters and from text to keep (attacks/ways.py)."""

    # each is tried: AdamW, SGD and Lion on all weights, LoRA, and text to keep in the place of the text
    of: tuple[Literal["adam", "lora", "sgd", "lion", "retain"], ...] = ("adam", "lora", "sgd", "lion", "retain")
    steps: tuple[int, ...] = (5, 10, 20)  # the best of them counts; with many more the twin learns the blocks, too
    rates: tuple[float, ...] = ()  # learning rates of AdamW; empty: five over two decades (attacks/relearn.py: wide)
    rank: int = 8  # of the adapter


@dataclass(frozen=True, kw_only=True)
class BenignAttack:
    """How fast new facts are learnt that have nothing to do with the text (attacks/benign.py)."""

    facts: int = 40  # that are taught
    most_steps: int = 200  # of attack.rtt.batch facts
    rates: tuple[float, ...] = ()  # learning rates; empty: five over two decades (attacks/relearn.py: wide)


@dataclass(frozen=True, kw_only=True)
class DistanceAttack:
    """Distance in weights, and the loss on the straight way to the baseline (attacks/distance.py)."""

    points: int = 5  # on the way, both ends among them
    blocks: int = 16  # of each text at most


@dataclass(frozen=True, kw_only=True)
class DepthAttack:
    """The unlearning depth score (attacks/depth.py)."""

    threshold: float = 0.05  # nats that the twin's states must cost for a layer to count


@dataclass(frozen=True, kw_only=True)
class QuestionsAttack:
    """Learning from rewarded answers to questions, without the text (attacks/questions.py)."""

    steps: int = 50  # draws of answers, each with an update where their rewards differ
    samples: int = 8  # answers drawn of each question, which are compared with each other
    batch: int = 4  # questions a step
    new_tokens: int = 8  # of an answer
    temperature: float = 1.0  # of the draws
    rank: int = 8  # of the adapter
    rates: tuple[float, ...] = ()  # learning rates; empty: 1, 4, 16 x the larger of unlearn's and reinforce's


@dataclass(frozen=True, kw_only=True)
class Attack:
    """Attempts to bring back what was forgotten; each has its settings under its name (attacks/NAME.py)."""

    kinds: tuple[str, ...] = ()  # names in attacks.ATTACKS; empty: the cheap ones in a run, all in `jaxunlearn attack`
    seed: int = 0  # of what attacks draw
    probes: ProbesAttack = field(default_factory=ProbesAttack)
    quantise: QuantiseAttack = field(default_factory=QuantiseAttack)
    context: ContextAttack = field(default_factory=ContextAttack)
    shares: SharesAttack = field(default_factory=SharesAttack)
    few_shot: FewShotAttack = field(default_factory=FewShotAttack)
    rtt: RttAttack = field(default_factory=RttAttack)
    halfway: HalfwayAttack = field(default_factory=HalfwayAttack)
    ways: WaysAttack = field(default_factory=WaysAttack)
    benign: BenignAttack = field(default_factory=BenignAttack)
    distance: DistanceAttack = field(default_factory=DistanceAttack)
    depth: DepthAttack = field(default_factory=DepthAttack)
    questions: QuestionsAttack = field(default_factory=QuestionsAttack)
