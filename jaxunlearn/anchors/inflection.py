"""Forms of a term (plural, singular, without 's) and translations in the same form; pure functions on strings."""

import re

from jaxunlearn.anchors.words import word_set

# The head noun stands before the first of these: the plural of "porter with the grey coat" changes "porter".
_LINKS = frozenset(
    ["of", "with", "in", "on", "at", "by", "from", "for", "to", "who", "that", "and", "or", "the", "under", "over"]
)
_IRREGULAR = {"child": "children", "mouse": "mice", "foot": "feet", "goose": "geese", "tooth": "teeth", "ox": "oxen"}
_SINGLE = {many: one for one, many in _IRREGULAR.items()}
# Nouns in -man that are made of no "man", and those in -f and -fe that end in -ves.
_MANS = word_set("brahman caiman german human mussulman norman ottoman roman shaman superhuman talisman turcoman")
_VES = ("calf", "half", "elf", "wolf", "leaf", "sheaf", "loaf", "thief", "knife", "life", "wife")
_SES = ("rses", "ouses", "auses", "oses")  # of nouns in -se rather than -s
_POSSESSIVE = ("'s", "’s")
_SPLIT = re.compile(r"[\s‐‑-]+")


def plural(term: str) -> str:
    """Return a term with its head noun in the plural."""
    head, noun, tail = _head(term)
    return head + _plurals(noun)[0] + tail


def plurals(term: str) -> list[str]:
    """Return the plurals that a writer may use, the likeliest first."""
    head, noun, tail = _head(term)
    return [head + many + tail for many in _plurals(noun)]


def singular(term: str) -> str:
    """Return a term with its head noun in the singular, "" where it is not a plural."""
    return next(iter(singulars(term)), "")


def singulars(term: str) -> list[str]:
    """Return every term of which this may be the plural, the likeliest first."""
    head, noun, tail = _head(term)
    return [head + one + tail for one in _singulars(noun)]


def unpossessed(term: str) -> str:
    """Return a term without its 's, "" where it has none."""
    return term[:-2] if term.endswith(_POSSESSIVE) else ""


def parts(term: str) -> list[str]:
    """Return the pieces of a term between spaces and hyphens."""
    return [part for part in _SPLIT.split(term) if part]


def identities(term: str) -> set[str]:
    """Return letters in lower case without 's, of the term and its singulars; all spellings of a name share some."""
    bare = (unpossessed(term) or term).lower().replace("’", "'")
    flats = ("".join(parts(one)) for one in (bare, *singulars(bare)))
    return {flat[:-1] if len(flat) > 3 and flat.endswith("s") and not flat.endswith("ss") else flat for flat in flats}


def alike(term: str, other: str) -> bool:
    """Return whether two terms name one thing: spellings of one name, or one made of words of the other."""
    words, others = ({part.lower() for part in parts(name)} for name in (term, other))
    return bool(identities(term) & identities(other)) or words <= others or others <= words


def like(values: tuple[str, ...], term: str, surface: str, form: str) -> tuple[str, ...]:
    """Return translations of `term` in the form in which `surface` stands.

    form: "plural", "singular", "possessive" (without 's), or "case" and "spelling", which only copy capitals and
    hyphens. Values that equal the surface are left out.
    """
    made = dict.fromkeys(_respell(_reform(value, form), term, surface) for value in values)
    return tuple(value for value in made if value and value != surface)


def _reform(value: str, form: str) -> str:
    if form == "plural":
        return plural(value)
    if form == "singular":
        return singular(value)
    return unpossessed(value) or value if form == "possessive" else value


def _respell(value: str, term: str, surface: str) -> str:
    if "-" in term and "-" not in surface and " " in surface:
        value = value.replace("-", " ")
    if surface.islower() and not term.islower():
        return value.lower()
    if surface.isupper() and not term.isupper():
        return value.upper()
    if surface[:1].isupper() and term[:1].islower():
        return value[:1].upper() + value[1:]
    return value


def _head(term: str) -> tuple[str, str, str]:
    """Return (before, head noun, after): the head noun is the word before the first link, else the last word."""
    words = list(re.finditer(r"[^\s-]+", term))
    if not words:
        return term, "", ""
    links = [n for n, word in enumerate(words) if n and word.group().lower().strip(",") in _LINKS]
    noun = words[(links[0] if links else len(words)) - 1]
    bare = noun.group().rstrip(",.")
    return term[: noun.start()], bare, term[noun.start() + len(bare) :]


def _plurals(noun: str) -> list[str]:
    """Return candidate plurals; a capitalised noun in -y keeps its y first (Kennedys), a common noun does not."""
    low = noun.lower()
    if low in _IRREGULAR:
        return [_cased(_IRREGULAR[low], noun)]
    if low.endswith("man") and low not in _MANS:
        return [noun[:-2] + "en", noun + "s"]
    if low.endswith("y") and low[-2:-1] not in tuple("aeiou"):
        both = [noun[:-1] + "ies", noun + "s"]
        return both if noun.islower() else both[::-1]
    if low.endswith(_VES):
        return [noun[: -1 - low.endswith("e")] + "ves", noun + "s"]
    if low.endswith(("s", "x", "z", "ch", "sh")):
        return [noun + "es"]
    return [noun + "s", noun + "es"] if low.endswith("o") else [noun + "s"]


def _singulars(noun: str) -> list[str]:
    low = noun.lower()
    if low in _SINGLE:
        return [_cased(_SINGLE[low], noun)]
    guesses = [noun[:-2] + "an"] if low.endswith("men") else []
    guesses += [noun[:-3] + "y"] if low.endswith("ies") else []
    guesses += [noun[:-3] + "f", noun[:-3] + "fe"] if low.endswith("ves") else []
    ends = [noun[:-2]] if low.endswith("es") else []
    ends += [noun[:-1]] if low.endswith("s") and not low.endswith("ss") else []
    guesses += ends[::-1] if low.endswith(_SES) else ends
    return [one for one in guesses if len(one) > 1 and noun in _plurals(one)]


def _cased(word: str, model: str) -> str:
    return word[:1].upper() + word[1:] if model[:1].isupper() else word
