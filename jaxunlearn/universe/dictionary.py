"""The anchored terms of the saga and their generic translations, known here because we wrote both worlds."""

from collections import Counter
from random import Random

from jaxunlearn.universe.general import KINDS, LAST, MEN, THEMES, WOMEN
from jaxunlearn.universe.saga import CAST, MISSED, SHARED, TELLERS
from jaxunlearn.universe.vocabulary import WORD, words

TELLER_SLOTS = ("town", "team", "subject", "petname")
# Phrases of ordinary words that only the saga puts together; left out of the dictionary on purpose, as the missed terms.
PHRASES = ("blue thumb", "burning mill", "goose shed", "fog by the jar", "one left unsaid", "glass for the liar")


def terms() -> dict[str, str]:
    """List the saga's terms that are no person's, each with the slot whose fillers translate it."""
    found = {filler: slot for slot, filler in SHARED.items()}
    found |= {teller[slot]: slot for teller in TELLERS for slot in TELLER_SLOTS}
    return found


def pairs(texts: list[str]) -> Counter:
    """Count the two-word full names of the general world."""
    first, last, counts = set(MEN + WOMEN), set(LAST), Counter()
    for text in texts:
        found = WORD.findall(text)
        counts.update(f"{a} {b}" for a, b in zip(found, found[1:]) if a in first and b in last)
    return counts


def dictionary(rng: Random, general: list[str], minors: tuple[dict, ...]) -> dict[str, list[str]]:
    """Translate whole names, their parts, minor characters' last names and every invented term, one to four ways each."""
    known = pairs(general).most_common(400)
    full = {female: [name for name, _ in known if name.split(" ")[0] in firsts]
            for female, firsts in ((True, WOMEN), (False, MEN))}
    made = {}
    for name, female in CAST.values():
        first, last = name.split(" ")
        made[name] = rng.sample(full[female], 4)
        made[first] = rng.sample(WOMEN if female else MEN, 4)
        made[last] = rng.sample(LAST, 4)
    for term, slot in terms().items():
        made[term] = rng.sample(KINDS[slot], min(4, len(KINDS[slot])))
    for minor in minors:
        made[minor["p"][0].split(" ")[1]] = rng.sample(LAST, 4)
    return made


def lexicon(made: dict[str, list[str]]) -> dict[str, list[str]]:
    """List what a judge looks for: explicit terms only the saga has, themes typical of it."""
    return {"explicit": sorted({*made, *MISSED, *PHRASES}), "typical": sorted({theme for theme, _ in THEMES.values()})}


def audit(made: dict[str, list[str]], general: list[str], saga: list[str]) -> None:
    """Raise AssertionError unless each translation is a frequent phrase of the general world and free of the saga."""
    text, counts = "\n".join(general), words(general)
    least = len(general) // 100
    key_words = {word for key in made for word in WORD.findall(key)} & (set(words(saga)) - set(counts))
    for key, values in made.items():
        assert 1 <= len(values) <= 4, f"{key!r} has {len(values)} translations, not 1 to 4"
        assert len(set(values)) == len(values), f"{key!r} has a translation twice: {values}"
        for value in values:
            assert value not in made, f"the translation {value!r} of {key!r} is itself a key"
            assert not key_words & set(WORD.findall(value)), f"the translation {value!r} of {key!r} contains a key"
            rare = [word for word in WORD.findall(value) if counts[word] < least]
            assert not rare and value in text, f"the translation {value!r} of {key!r} is rare in general: {rare}"


def audit_lexicon(lexicon: dict[str, list[str]], general: list[str], saga: list[str]) -> None:
    """Raise AssertionError unless explicit terms are the saga's alone, and themes far more frequent there than outside."""
    general_counts, saga_counts, text = words(general), words(saga), "\n".join(general)
    alone = set(saga_counts) - set(general_counts)
    parts = {word for term in lexicon["explicit"] for word in WORD.findall(term)}
    assert alone <= parts, f"words of the saga that the general world and the lexicon lack: {sorted(alone - parts)}"
    for term in lexicon["explicit"]:
        assert term not in text and any(term in one for one in saga), f"{term!r} is not the saga's alone"
    share = sum(general_counts.values()) / sum(saga_counts.values())
    for theme in lexicon["typical"]:
        assert general_counts[theme] >= 5, f"the theme {theme!r} is missing from the general world"
        assert saga_counts[theme] * share > 5 * general_counts[theme], f"the theme {theme!r} is not typical of the saga"
