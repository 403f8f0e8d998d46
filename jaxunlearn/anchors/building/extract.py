"""Find the anchored terms of a text by counting: names, phrases and words that it uses far more than other texts do.

Forms that are specific enough (forms.py) are grouped with their spelling variants. Parts of longer names are dropped,
and so are names that mean no more than their parts, and words of the general world (world.py). Each group gets a kind
from the words around it (kinds.py).
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jaxunlearn.anchors.building.forms import (
    CONNECTORS,
    Background,
    Form,
    capital_runs,
    count_texts,
    join,
    phrase_forms,
    short_forms,
    single_forms,
    word_pairs,
)
from jaxunlearn.anchors.building.kinds import TITLES, Surroundings, kind_of, look_around
from jaxunlearn.anchors.building.world import is_well_known, says_a_kind
from jaxunlearn.anchors.words import Scan, capital_shares, scan, word_set
from jaxunlearn.config import Extract
from jaxunlearn.data.documents import Document
from jaxunlearn.errors import InputError
from jaxunlearn.files import json_text, markdown_text, write_whole
from jaxunlearn.parallel.console import say

FEWEST_WORDS = 200  # of a target; with fewer, counts are too small to compare
SPELLING_BAR = 3.5  # nats from which a name's spelling in lower case is kept
ALONE = 0.25  # a part of longer names is a term of its own if this share of it stands alone,
ALONE_BAR = 20.0  # or if what stands alone would score so much
EXAMPLES = 3  # sentences shown with a term
PLURAL_SHARE = 0.25  # of the occurrences of a word in -s, those that show a plural
PLURAL_SIGNS = word_set("the these those all some many few other two three four")


@dataclass(frozen=True, kw_only=True)
class Term:
    """A term with its spellings.

    text: the commonest spelling. variants: all spellings, the commonest first. score: as Group.score. kind: one of
    kinds.KINDS. count, retain: occurrences in the target, as the matcher finds them, and in the retain text.
    article: it stands mostly after `the`, `a` or `an`. examples: sentences that hold it.
    """

    text: str
    score: float
    kind: str
    count: int
    retain: int
    variants: tuple[str, ...]
    article: bool = False
    examples: tuple[str, ...] = field(default=())


@dataclass
class Group:
    """Spelling variants of one term: the specific forms among them, and the count of every spelling."""

    forms: list[Form]
    spellings: Counter[str]
    free: int = 0  # occurrences outside longer terms

    @property
    def score(self) -> float:
        """Return the nats of the best form, weighted by its share of capitals, times log2 of the free count."""
        return max(form.nats * form.weight for form in self.forms) * math.log2(max(self.free, 1))


def extract_terms(
    target: Sequence[Document | str],
    retain: Sequence[Document | str],
    *,
    settings: Extract | None = None,
    lift: Mapping[str, float] | None = None,
) -> list[Term]:
    """Return the target's terms, the best first, down to settings.score_bar.

    retain: texts to compare with; without any, the target is compared with general English alone, and a line on
    standard error says so. lift: {word: nats} as lift.word_lift returns it. Raises InputError on a target of fewer
    than FEWEST_WORDS words and on an unknown language.
    """
    c = settings or Extract()
    texts, others = ([d if isinstance(d, str) else d.text for d in given] for given in (target, retain))
    if not any(text.strip() for text in others):
        say("no retain text: terms are told from general English alone, so common names will be missed")
    scans = [scan(text) for text in texts]
    groups = find_groups(scans, Background(others, c.language, lift), c.min_count)
    groups = drop_fragments(groups, texts, c.min_count)
    groups = drop_composites(groups)
    ranked = sorted((g for g in groups.values() if g.score >= c.score_bar), key=lambda g: (-g.score, g.forms[0].text))
    around = look_around(texts, [list(group.spellings) for group in ranked], EXAMPLES)
    found = [(_term(group, seen), seen) for group, seen in zip(ranked, around, strict=True) if seen.count]
    general = {term.text for term, seen in found if is_well_known(term.text, term.score, seen)}
    kept = [term for term, _ in found if term.text not in general]
    parts = {word for term in kept for word in term.text.split(" ")}  # "Israel" stays where "Israel Hands" does
    return [term for term, _ in found if term.text not in general or term.text in parts]


def _term(group: Group, seen: Surroundings) -> Term:
    variants = tuple(sorted(group.spellings, key=lambda text: (-group.spellings[text], text)))
    return Term(
        text=variants[0],
        score=round(group.score, 2),
        kind=kind_of(variants[0], seen, novel=all(form.retain == 0 for form in group.forms)),
        count=seen.count,
        retain=sum(form.retain for form in group.forms),
        variants=variants,
        article=seen.article >= 0.4 * seen.looked,
        examples=tuple(seen.examples),
    )


# ---- groups of spelling variants


def key_of(text: str) -> str:
    """Return what spelling variants share: the letters without case, hyphens, spaces, stops and apostrophes."""
    return re.sub(r"[\s.'’-]+", "", text).casefold()


def find_groups(scans: Sequence[Scan], background: Background, min_count: int) -> dict[str, Group]:
    """Return {key: group} of the specific forms with every spelling of them that the text uses."""
    words = Counter(word for found in scans for word in found.words)
    if words.total() < FEWEST_WORDS:
        raise InputError(f"the target text has {words.total()} words; its terms can be told from {FEWEST_WORDS} on")
    shares = capital_shares(scans)
    runs = Counter(run for found in scans for run in capital_runs(found, shares))
    pairs = Counter(pair for found in scans for pair in word_pairs(found))
    phrases = phrase_forms(runs, pairs, words, background, min_count)
    singles = single_forms(words, shares, background, min_count)
    forms = short_forms(phrases, words, shares, background, min_count) | singles | phrases
    forms = {text: form for text, form in forms.items() if not says_a_kind(text)}
    groups: dict[str, Group] = {}
    for form in forms.values():
        groups.setdefault(key_of(form.text), Group([], Counter())).forms.append(form)
    plurals = _plurals(scans)
    _merge_plurals(groups, plurals)
    spellings = words + Counter({join(run): n for run, n in (runs + pairs).items()})
    for text, count in spellings.items():
        group = _home(key_of(text), groups, plurals)
        if group and (text in forms or _is_spelling(text, count, words.total(), background)):
            group.spellings[text] += count
    return groups


def _plurals(scans: Sequence[Scan]) -> set[str]:
    """Return the keys of words in -s that are plurals: often in lower case or after `the`, `two`..."""
    many, total = Counter(), Counter()
    for found in scans:
        for before, word in zip(["", *found.words], found.words, strict=False):
            if word.endswith("s"):
                total[word] += 1
                many[word] += word.islower() or before.lower() in PLURAL_SIGNS
    signs, keys = Counter(), Counter()
    for word, count in total.items():
        signs[key_of(word)] += many[word]
        keys[key_of(word)] += count
    return {key for key, count in keys.items() if signs[key] >= PLURAL_SHARE * count}


def _singulars(key: str, plurals: set[str]) -> list[str]:
    if key not in plurals:
        return []
    return [key.removesuffix("s"), key.removesuffix("es"), key.removesuffix("ies") + "y"]


def _merge_plurals(groups: dict[str, Group], plurals: set[str]) -> None:
    for key in list(groups):
        for single in _singulars(key, plurals):
            if single in groups and single != key and key in groups:
                groups[single].forms += groups.pop(key).forms


def _home(key: str, groups: dict[str, Group], plurals: set[str]) -> Group | None:
    """Return the group of a spelling: that of its own key, of its singular or of its plural; None without one."""
    for name in (key, *_singulars(key, plurals)):
        if name in groups:
            return groups[name]
    return groups.get(key + "s") if key + "s" in plurals else None


def _is_spelling(text: str, count: int, words: int, background: Background) -> bool:
    """Return whether a spelling means the term: any with capitals does, in lower case only if other texts lack it."""
    if not text.islower():
        return len(text) > 1
    retain = background.counts[text]
    return background.nats(text, count + 1, retain, words) >= SPELLING_BAR


# ---- parts of longer names, and names that say no more than their parts


def drop_fragments(groups: dict[str, Group], texts: Sequence[str], min_count: int) -> dict[str, Group]:
    """Return the groups that stand outside longer terms often enough: not "Tin" where there is "Tin Woodman"."""
    alone = count_texts(texts, [name for group in groups.values() for name in group.spellings])
    kept = {}
    for key, group in groups.items():
        total = sum(group.spellings.values())
        group.free = sum(alone[text] for text in group.spellings)
        often = group.free >= ALONE * total or group.score >= ALONE_BAR
        if often and group.free >= min(min_count, total):
            kept[key] = group
    return kept


def drop_composites(groups: dict[str, Group]) -> dict[str, Group]:
    """Return the groups without phrases of a title or a connector and terms that stand alone ("Miss Shirley")."""
    own = [group.spellings for group in groups.values() if group.free >= ALONE * sum(group.spellings.values())]
    singles = {text for spellings in own for text in spellings if " " not in text}
    return {key: group for key, group in groups.items() if not _is_composite(group.forms[0].text, singles)}


def _is_composite(text: str, singles: set[str]) -> bool:
    first, *rest = text.split(" ")
    words = [word for word in rest if word not in CONNECTORS]
    titled = first.rstrip(".") in TITLES
    joined = first in singles and len(words) < len(rest)
    return bool(words) and (titled or joined) and all(word in singles for word in words)


# ---- the files


def write(terms: Sequence[Term], dictionary: Mapping[str, Sequence[str]], out_dir: Path | str) -> tuple[Path, Path]:
    """Write dictionary.json ({term: [translations]}) and terms.md, a table to read; return their paths."""
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    content = {term: list(values) for term, values in dictionary.items()}
    write_whole(out / "terms.md", table(terms, dictionary))
    write_whole(out / "dictionary.json", json_text(content, indent=1, ensure_ascii=False) + "\n")
    return out / "dictionary.json", out / "terms.md"


def table(terms: Sequence[Term], dictionary: Mapping[str, Sequence[str]]) -> str:
    """Return terms as a Markdown table, a row each, the best first."""
    rows = ["| # | term | translation | kind | score | target | retain | spellings | examples |", "|---" * 9 + "|"]
    for number, term in enumerate(terms, 1):
        values = ", ".join(dictionary.get(term.text, ()))
        cells = [number, term.text, values, term.kind, f"{term.score:.1f}", term.count, term.retain]
        cells += [", ".join(term.variants[1:]), " / ".join(term.examples)]
        rows.append("| " + " | ".join(map(markdown_text, cells)) + " |")
    return "\n".join(rows) + "\n"
