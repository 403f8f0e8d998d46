"""Words of the general world, which give no text away: well-known places, and what only says the kind of a place.

The places are a list (data/anchors/places.json); which names of it a text uses for its own places or people is told by
the text itself.
"""

from functools import cache
from pathlib import Path

from jaxunlearn.anchors.building.kinds import INSTITUTIONS, PLACES, TITLES, Surroundings
from jaxunlearn.files import read_json

DATA = Path(__file__).parent.parent.parent / "data" / "anchors" / "places.json"
OWN_SCORE = 25.0  # a well-known place whose term scores so much belongs to the text: Kansas in the Oz books
PERSON_SHARE = 0.08  # a name with more of its occurrences beside a verb of speech or a title, and two, is a person's


@cache
def known_places() -> frozenset[str]:
    """Return the names of well-known places of the real world, as English writes them."""
    lists = read_json(DATA)
    return frozenset(name for names in lists.values() if isinstance(names, list) for name in names)


def says_a_kind(word: str) -> bool:
    """Return whether a word alone names nothing: "Street", "Park", "Church", "Miss"."""
    return word in TITLES or word.lower() in PLACES | INSTITUTIONS


def is_well_known(text: str, score: float, seen: Surroundings) -> bool:
    """Return whether a term is a place of the real world that the text does not make its own."""
    borne = seen.speech + seen.male + seen.female
    person = borne > max(1, PERSON_SHARE * seen.looked)
    return text in known_places() and score < OWN_SCORE and not person
