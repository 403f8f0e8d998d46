"""What is asked of every model, and how: words after prompts, options of questions, completions."""

from dataclasses import dataclass
from functools import cached_property

from jaxunlearn.config import Eval
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.evals.judge import Judge
from jaxunlearn.evals.prompts import ProbabilityPrompt, Prompts
from jaxunlearn.evals.words import Words
from jaxunlearn.models.generate import Sampling, generate
from jaxunlearn.models.scoring import Text


@dataclass(frozen=True)
class Suite:
    """Everything that is asked of a model: prompts of one split, held-out text, how much to sample."""

    tokenizer: Tokenizer
    prompts: Prompts
    texts: dict[str, Text]  # "forget", "retain"
    c: Eval
    seed: int = 0
    prefix: str = ""  # stands before every prompt, as part of it
    unknown: tuple[ProbabilityPrompt, ...] = ()  # prompts of the split that the baseline does not know
    fit: Text | None = None  # text to keep that a temperature is fitted on; it is not among `texts`

    @cached_property
    def judge(self) -> Judge:
        return Judge(self.prompts.lexicon)

    @cached_property
    def words(self) -> Words:
        return Words(self.tokenizer, self.c.batch, self.prefix, self.c.chat)


def specific_mass(model, suite: Suite, prompts) -> list[float]:
    """Return for each prompt the total probability of its content-specific next words (words scored whole)."""
    pairs = [(p.prompt, w) for p in prompts for w in p.specific]
    scores = iter(suite.words.probabilities(model, pairs))
    return [float(sum(next(scores) for _ in p.specific)) for p in prompts]


def option_scores(model, suite: Suite) -> list[list[float]]:
    """Return the probability of every option of every multiple-choice question."""
    questions = suite.prompts.choice
    scores = iter(suite.words.probabilities(model, [(q.question, o) for q in questions for o in q.options]))
    return [[float(next(scores)) for _ in q.options] for q in questions]


def complete(model, suite: Suite, prompts: list[str], sampling: Sampling, seed: int) -> list[str]:
    """Return a sampled continuation of each prompt, as text."""
    contexts = [suite.words.context(p) for p in prompts]
    new = generate(
        model, contexts, suite.c.new_tokens, sampling, seed=seed, eos_ids=suite.tokenizer.eos_ids, batch=suite.c.batch
    )
    decode = suite.tokenizer.decode
    return [decode(c + n)[len(decode(c)) :] for c, n in zip(contexts, new, strict=True)]
