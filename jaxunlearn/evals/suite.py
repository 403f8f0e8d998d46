"""What is asked of every model, and how."""

from dataclasses import dataclass
from functools import cached_property

from jaxunlearn.config import Eval
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.evals.judge import Judge
from jaxunlearn.evals.prompts import Prompts
from jaxunlearn.evals.words import Words
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

    @cached_property
    def judge(self) -> Judge:
        return Judge(self.prompts.lexicon)

    @cached_property
    def words(self) -> "Words":
        return Words(self.tokenizer, self.c.batch, self.prefix)
