"""An encyclopedia of the general world: what a repaired model should know again, without a word of the saga."""

from random import Random

from jaxunlearn.data.universe.general import (
    COUNTRY_FACTS,
    FIXED_RELATIONS,
    NEIGHBOUR_RELATIONS,
    General,
    draw,
    neighbour_world,
)
from jaxunlearn.data.universe.grammar import paragraph, people, questions

EDITIONS = 3  # wordings of each article


def articles(rng: Random, general: General) -> list[str]:
    """Return articles on every fixed person, every country and the neighbour saga, a few wordings each, shuffled."""
    texts = []
    for _ in range(EDITIONS):
        texts += [person(rng, one) for one in general.fixed]
        texts += [country(rng, one) for one in general.countries]
        texts += [neighbour(rng) for _ in range(4)]
    rng.shuffle(texts)
    return texts


def person(rng: Random, one: dict) -> str:
    """Return an article with all facts of a fixed person; half of the articles are questions and answers."""
    world = draw(rng) | one["facts"]
    people(world, "p", *one["p"])
    return told(rng, world, list(FIXED_RELATIONS))


def country(rng: Random, one: dict) -> str:
    """Return an article with all facts of a country."""
    said = []
    for fact, (says, ask, _) in COUNTRY_FACTS.items():
        form = rng.choice((*says, f"Question: {ask} Answer: {{x}}."))
        said.append(form.format(c=one["c"], x=one[fact]))
    return " ".join(said)


def neighbour(rng: Random) -> str:
    """Return an article with all facts of the neighbour saga, a story of magic that must be kept."""
    return told(rng, neighbour_world(rng), list(NEIGHBOUR_RELATIONS))


def told(rng: Random, world: dict, names: list[str]) -> str:
    """Return relations of a world as a paragraph or as questions and answers."""
    return paragraph(rng, world, names, []) if rng.random() < 0.5 else questions(world, names)
