"""The anchored terms of the saga and their generic translations, which are known because both worlds are ours."""

from collections import Counter
from random import Random

from jaxunlearn.data.universe.general import KINDS, LAST, MEN, THEMES, WOMEN, person
from jaxunlearn.data.universe.saga import CAST, MISSED, SHARED, TELLERS
from jaxunlearn.data.universe.vocabulary import WORD

TELLER_SLOTS = ("town", "team", "subject", "petname")
# Phrases of ordinary words that only the saga holds; like the missed terms they are not in the dictionary.
PHRASES = ("blue thumb", "burning mill", "goose shed", "fog by the jar", "one left unsaid", "glass for the liar")


def terms() -> dict[str, str]:
    """Return {term: slot} of the saga's terms that name no person; the slot's general fillers translate the term."""
    found = {filler: slot for slot, filler in SHARED.items()}
    found |= {teller[slot]: slot for teller in TELLERS for slot in TELLER_SLOTS}
    return found


def full_name(rng: Random, female: bool, text: str) -> str:
    """Return a random full name that the general world uses at least three times."""
    name = person(rng, female)
    while text.count(name) < 3:
        name = person(rng, female)
    return name


def dictionary(rng: Random, text: str, minors: tuple[dict, ...]) -> dict[str, list[str]]:
    """Return {term: translations} of whole names and their parts, the minors' last names and every invented term."""
    made = {}
    for name, female in CAST.values():
        first, last = name.split(" ")
        made[name] = list(dict.fromkeys(full_name(rng, female, text) for _ in range(4)))
        made[first] = rng.sample(WOMEN if female else MEN, 4)
        made[last] = rng.sample(LAST, 4)
    for term, slot in terms().items():
        made[term] = rng.sample(KINDS[slot], min(4, len(KINDS[slot])))
    for minor in minors:
        made[minor["p"][0].split(" ")[1]] = rng.sample(LAST, 4)
    return made


def lexicon(made: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return what a judge looks for: explicit terms, which only the saga has, and themes typical of it."""
    return {"explicit": sorted({*made, *MISSED, *PHRASES}), "typical": sorted({theme for theme, _ in THEMES.values()})}


def audit(made: dict[str, list[str]], text: str, general: Counter, saga: Counter) -> None:
    """Raise AssertionError unless each translation is a frequent phrase of the general world and free of the saga.

    text: the general world's documents. general, saga: counts of the words of either world.
    """
    least = sum(general.values()) // 12_000
    key_words = {word for key in made for word in WORD.findall(key)} & (set(saga) - set(general))
    for key, values in made.items():
        assert 1 <= len(values) <= 4, f"{key!r} has {len(values)} translations, not 1 to 4"
        assert len(set(values)) == len(values), f"{key!r} has a translation twice: {values}"
        for value in values:
            assert value not in made, f"the translation {value!r} of {key!r} is itself a key"
            assert not key_words & set(WORD.findall(value)), f"the translation {value!r} of {key!r} contains a key"
            rare = [word for word in WORD.findall(value) if general[word] < least]
            assert not rare and value in text, f"the translation {value!r} of {key!r} is rare in general: {rare}"


def audit_lexicon(lexicon: dict[str, list[str]], texts: dict[str, str], general: Counter, saga: Counter) -> None:
    """Raise AssertionError unless explicit terms are the saga's alone, and themes frequent there."""
    alone = set(saga) - set(general)
    parts = {word for term in lexicon["explicit"] for word in WORD.findall(term)}
    assert alone <= parts, f"words of the saga that the general world and the lexicon lack: {sorted(alone - parts)}"
    for term in lexicon["explicit"]:
        assert term not in texts["general"] and term in texts["saga"], f"{term!r} is not the saga's alone"
    share = sum(general.values()) / sum(saga.values())
    for theme in lexicon["typical"]:
        assert general[theme] > 0, f"the theme {theme!r} is missing from the general world"
        assert saga[theme] * share > 3 * general[theme], f"the theme {theme!r} is not typical of the saga"
