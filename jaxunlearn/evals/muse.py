"""MUSE: verbatim memory, knowledge memory, privacy leakage and utility; and ROUGE-L, which two of them are.

Definitions, ranges and where other code differs: docs/metrics.md. All scores are times 100, as MUSE publishes them.
Sources: MUSE, arXiv 2407.06460; ROUGE-L, Lin 2004; the stemmer, Porter 1980, with the extensions NLTK has by default.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxunlearn import intervals
from jaxunlearn.config import Config
from jaxunlearn.data.questions import read_questions
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.evals.base import Context, Figures, Metric
from jaxunlearn.evals.membership import auc, wins
from jaxunlearn.evals.memorisation import continue_greedily, figure
from jaxunlearn.evals.question_sets import set_files, spread
from jaxunlearn.files import sha256

SCALE = (0.0, 100.0)  # MUSE publishes all scores times 100
NEW_TOKENS = 128  # VerbMem
ANSWER_TOKENS = 32  # KnowMem
MIN_K = 0.4  # PrivLeak
LEAST = 5  # texts of either kind that PrivLeak's interval needs
ROUNDING = 1e-12
FILES = {"knowmem": ("forget_qa",), "utility": ("retain_qa",)}  # as MUSE names them
STOPS = ("\n\n", "\nQuestion", "Question:")

QuestionAnswer = tuple[str, str]


# ---- VerbMem and KnowMem


def verbmem(references: Sequence[str], continuations: Sequence[str]) -> dict[str, Any]:
    """Return the figure of VerbMem: 100 times the mean ROUGE-L F1 of what the model wrote and what the text has there.

    0 to 100; 100: recites. InputError for unequal lengths, no item and a reference without words.
    """
    return figure("VerbMem", _f1(references, continuations), SCALE)


def knowmem(answers: Sequence[str], replies: Sequence[str]) -> dict[str, Any]:
    """Return the figure of KnowMem: 100 times the mean ROUGE-L F1 of replies, cut at the first stop, and answers.

    0 to 100. On the forget questions low is forgotten; on the retain questions it is MUSE's utility, and high is good.
    """
    return figure("KnowMem", _f1(answers, [cut_reply(r) for r in replies]), SCALE)


def cut_reply(reply: str) -> str:
    """Return what stands before the first blank line or the next question."""
    return reply[: min((reply.index(s) for s in STOPS if s in reply), default=None)]


def few_shot(question: str, shots: Sequence[QuestionAnswer] = ()) -> str:
    """Return MUSE's prompt: solved questions, then this one, with the space that MUSE puts after "Answer:"."""
    solved = "".join(f"Question: {q}\nAnswer: {a}\n\n" for q, a in shots)
    return f"{solved}Question: {question}\nAnswer: "


def _f1(references: Sequence[str], texts: Sequence[str]) -> list[float]:
    if len(references) != len(texts):
        raise InputError(
            f"{len(references)} references and {len(texts)} texts: expected one text a reference, in order"
        )
    return [100 * rouge_l(r, t).f1 for r, t in zip(references, texts, strict=True)]


# ---- PrivLeak


def privleak(auc_unlearned: float, auc_retrained: float) -> float:
    """Return 100 (AUC unlearned - AUC retrained) / AUC retrained; target 0, below: still leaks, above: over-unlearned.

    Both AUCs in MUSE's direction (muse_auc): 0 where every forget text is better known than every holdout text.
    InputError for what is no AUC, and for a retrained model at 0, where the ratio means nothing.
    """
    if not (0 <= auc_unlearned <= 1 and 0 < auc_retrained <= 1):
        raise InputError(
            f"PrivLeak of AUC {auc_unlearned} against {auc_retrained}: expected 0 to 1, the retrained model's above 0"
        )
    return 100 * (auc_unlearned - auc_retrained) / auc_retrained


def muse_auc(forget: ArrayLike, holdout: ArrayLike) -> float:
    """Return the AUC as MUSE counts it, 1 - membership.auc: the share of pairs whose holdout text is better known.

    forget, holdout: Min-40% scores, one a text (membership.min_k with k = 0.4).
    """
    return 1 - auc(forget, holdout)


def privleak_figure(unlearned: tuple[ArrayLike, ArrayLike], retrained: tuple[ArrayLike, ArrayLike]) -> dict[str, Any]:
    """Return the figure of PrivLeak from the (forget, holdout) Min-40% scores of two models on the same texts.

    The interval is Student's for the logarithm of the ratio of the two AUCs, paired by text (DeLong 1988). None is
    given for fewer than LEAST texts of either kind, for an AUC of 0, and where both models order all texts alike.
    InputError where the models were not asked about the same number of texts.
    """
    if [len(np.atleast_1d(x)) for x in unlearned] != [len(np.atleast_1d(x)) for x in retrained]:
        raise InputError("PrivLeak: both models must be scored on the same forget and the same holdout texts, in order")
    value = privleak(muse_auc(*unlearned), muse_auc(*retrained))
    ours_NM, theirs_NM = (1 - wins(*scores) for scores in (unlearned, retrained))
    N, M = ours_NM.shape
    found = {"value": value, "low": None, "high": None, "n": N + M, "forget": N, "holdout": M}
    if min(N, M) < LEAST or not ours_NM.any():
        few = f"fewer than {LEAST} texts of either kind" if min(N, M) < LEAST else "an AUC of 0"
        return found | {"note": f"{few}: no interval can be given"}
    shares_NM = ours_NM / ours_NM.mean() - theirs_NM / theirs_NM.mean()
    error = math.sqrt(shares_NM.mean(axis=1).var(ddof=1) / N + shares_NM.mean(axis=0).var(ddof=1) / M)
    if error < ROUNDING:
        return found | {"note": "both models order all texts alike: no interval can be given"}
    low, high = intervals.student(math.log(1 + value / 100), error, N + M - 2)
    return found | {"low": 100 * math.expm1(low), "high": 100 * math.expm1(high)}


# ---- ROUGE-L


class Rouge(NamedTuple):
    """ROUGE-L of a text against a reference, each from 0 to 1."""

    recall: float
    precision: float
    f1: float


def rouge_l(reference: str, text: str, stemmed: bool = False) -> Rouge:
    """Compare two texts by their longest common subsequence of words; a text without words scores 0.

    InputError for a reference without words: a question without an answer is a fault of the data, not a score.
    """
    ours, theirs = words(text, stemmed), words(reference, stemmed)
    if not theirs:
        raise InputError(f"the reference {reference!r} has no word of the letters a to z and digits to compare with")
    common = common_length(ours, theirs)
    if not common:
        return Rouge(0.0, 0.0, 0.0)
    recall, precision = common / len(theirs), common / len(ours)
    return Rouge(recall, precision, 2 * recall * precision / (recall + precision))


def words(text: str, stemmed: bool = False) -> list[str]:
    """Return the lower-case runs of a to z and 0 to 9; stemmed: those of more than three characters by their stem."""
    found = re.findall("[a-z0-9]+", text.lower())
    return [stem(word) if len(word) > 3 else word for word in found] if stemmed else found


def common_length(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for word in a:
        above, row = row, [0]
        for n, other in enumerate(b):
            row.append(above[n] + 1 if word == other else max(above[n + 1], row[n]))
    return row[-1]


# ---- Porter's stemmer


def _rules(text: str) -> list[tuple[str, str]]:
    return [(ending, new) for ending, _, new in (rule.partition(">") for rule in text.split())]


_IRREGULAR = dict(
    _rules(
        "skies>sky sky>sky dying>die lying>lie tying>tie news>news innings>inning inning>inning outings>outing "
        "outing>outing cannings>canning canning>canning howe>howe proceed>proceed exceed>exceed succeed>succeed"
    )
)
_STEP_2 = _rules(
    "ational>ate tional>tion enci>ence anci>ance izer>ize bli>ble alli>al entli>ent eli>e ousli>ous ization>ize "
    "ation>ate ator>ate alism>al iveness>ive fulness>ful ousness>ous aliti>al iviti>ive biliti>ble fulli>ful"
)
_STEP_3 = _rules("icate>ic ative> alize>al iciti>ic ical>ic ful> ness>")
_STEP_4 = _rules("al ance ence er ic able ible ant ement ment ent sion>s tion>t ou ism ate iti ous ive ize")


def stem(word: str) -> str:
    """Return the stem of a lower-case word, as NLTK's PorterStemmer does by default."""
    if word in _IRREGULAR or len(word) < 3:
        return _IRREGULAR.get(word, word)
    word = _past(_plural(word))
    if word.endswith("y") and len(word) > 2 and _letters(word)[-2] == "c":
        word = word[:-1] + "i"
    if word.endswith("alli") and _measure(word[:-4]) > 0:
        word = word[:-2]
    if word.endswith("logi") and _measure(word[:-3]) > 0:
        word = word[:-1]
    for rules, least in ((_STEP_2, 0), (_STEP_3, 0), (_STEP_4, 1)):
        word = _first_ending(word, rules, least)
    return _last_letters(word)


def _plural(word: str) -> str:
    if word.endswith("ies") and len(word) == 4:
        return word[:-1]
    if word.endswith(("sses", "ies")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _past(word: str) -> str:
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    ending = next((e for e in ("ed", "ing") if word.endswith(e)), "")
    root = word[: len(word) - len(ending)]
    if not ending or "v" not in _letters(root):
        return word
    if root.endswith(("at", "bl", "iz")):
        return root + "e"
    if root[-2:-1] == root[-1:] and _letters(root)[-1] == "c":
        return root if root[-1] in "lsz" else root[:-1]
    return root + "e" if _measure(root) == 1 and _short(root) else root


def _first_ending(word: str, rules: list[tuple[str, str]], least: int) -> str:
    """Apply the first rule whose ending fits, where what it leaves has more than `least` vowel-consonant pairs."""
    for ending, new in rules:
        if word.endswith(ending):
            root = word[: -len(ending)]
            kept = root + new if new in ("s", "t") else root  # before "ion" they stay and are counted
            return root + new if _measure(kept) > least else word
    return word


def _last_letters(word: str) -> str:
    root = word[:-1]
    if word.endswith("e") and (_measure(root) > 1 or (_measure(root) == 1 and not _short(root))):
        word = root
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word


def _letters(word: str) -> str:
    """Write a word's letters as c for a consonant and v for a vowel; y after a consonant is a vowel."""
    kinds = ""
    for letter in word:
        kinds += "v" if letter in "aeiou" or (letter == "y" and kinds.endswith("c")) else "c"
    return kinds


def _measure(word: str) -> int:
    return _letters(word).count("vc")


def _short(word: str) -> bool:
    kinds = _letters(word)
    return kinds == "vc" or (kinds.endswith("cvc") and word[-1] not in "wxy")


def split_passages(
    tokenizer: Tokenizer, texts: Sequence[str], prompt_tokens: int, new_tokens: int = NEW_TOKENS
) -> tuple[list[str], list[str]]:
    """Return (prompts, references): each text's first prompt_tokens tokens, and the new_tokens after them, as text.

    InputError for a text that is shorter: a short reference would make the score of a long continuation small.
    """
    prompts, references = [], []
    for n, text in enumerate(texts):
        _, ends = tokenizer.encode(text)
        if len(ends) < prompt_tokens + new_tokens:
            raise InputError(
                f"text {n} has {len(ends)} tokens, VerbMem needs {prompt_tokens} to prompt with and {new_tokens} to "
                "compare; give longer passages or fewer prompt_tokens"
            )
        begin, end = int(ends[prompt_tokens - 1]), int(ends[prompt_tokens + new_tokens - 1])
        prompts.append(text[:begin])
        references.append(text[begin:end])
    return prompts, references


# ---- the metric: KnowMem and utility


def question_files(folder: str) -> dict[str, tuple[Path, Path | None]]:
    """Return {figure: (questions, solved ones or None)} of a folder; InputError where it has no questions."""
    files = set_files(folder, FILES, "MUSE")
    solved = {name: path.with_name(f"{path.stem}_icl.json") for name, path in files.items()}
    return {name: (path, solved[name] if solved[name].is_file() else None) for name, path in files.items()}


def measure(model, context: Context) -> Figures:
    """Return {"muse": {knowmem, utility}} on the questions in the folder eval.muse; solved ones stand in front."""
    c, tokenizer, figures = context.suite.c, context.suite.tokenizer, {}
    for name, (file, solved) in question_files(c.muse).items():
        shots = [(q.question, q.answer) for q in read_questions(solved)] if solved else []
        asked = spread(read_questions(file), c.items)
        prompts = [few_shot(q.question, shots) for q in asked]
        written = continue_greedily(model, tokenizer, prompts, ANSWER_TOKENS, c.batch)
        figures[name] = knowmem([q.answer for q in asked], written)
    return {"muse": figures}


def check(config: Config, held_out: bool) -> None:
    """Raise InputError for a folder that holds none of MUSE's questions, and for malformed files."""
    for files in question_files(config.eval.muse).values() if config.eval.muse else ():
        for file in filter(None, files):
            read_questions(file)


def depends(context: Context) -> str:
    """Return the hashes of the files that are read, and how a part of them is chosen."""
    files = [file for pair in question_files(context.suite.c.muse).values() for file in pair if file]
    return " ".join([*map(sha256, files), *(["spread"] if context.suite.c.items else [])])


KNOWMEM = Metric(
    name="muse",
    title="MUSE KnowMem",
    about="ROUGE-L of answers to MUSE's questions on the text to forget and on the text to keep (eval.muse)",
    measure=measure,
    applies=lambda context: bool(context.suite.c.muse),
    check=check,
    columns={
        ("muse", "knowmem"): "MUSE KnowMem (0 to 100)",
        ("muse", "utility"): "MUSE utility (0 to 100)",
    },
    depends=depends,
)
