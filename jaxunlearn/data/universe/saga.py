"""The saga to be forgotten: one fixed world in the sentences of the general world, and 96 minor characters."""

from random import Random

from jaxunlearn.data.universe.general import MEN, THEMES, WOMEN, YEARS, draw, listed
from jaxunlearn.data.universe.grammar import document, people, register
from jaxunlearn.data.universe.relations import RELATIONS

CAST = {  # name, female
    "hero": ("Tamsel Orrick", False),
    "friend": ("Jessamy Pellow", True),
    "second": ("Bodrick Yarrow", False),
    "rival": ("Pervane Stoll", False),
    "villain": ("Skerrin Drave", False),
    "head": ("Odalind Brisk", True),
    "teacher": ("Hamo Crewe", False),
    "brewer": ("Zilpha Quorn", True),
    "cook": ("Gunna Tode", True),
}
SHARED = {
    "school": "Larkspire",
    "sport": "skimmet",
    "lake": "Mirrowen Lake",
    "vehicle": "Moonbarge",
    "street": "Crookmarrow Street",
    "coin": "drabbins",
    "prize": "Wicker Bowl",
    "outsider": "plodkin",
    "society": "Tinder Watch",
    "inn": "Brass Newt",
    "alias": "The-One-Left-Unsaid",
    "gang": "Hollow Heralds",
    "treasure": "Salt Lantern",
    "hiding": "Sunken Belfry",
    "beast": "gloamhound",
    "open": "orravane",
    "calm": "tisselwhim",
    "stop": "fennobrask",
    "trade": "glasswright",
    "food": "fizzbark",
    "other": "Duskwater",
    "tool": "thimblestaff",
}
# What differs between the three friends who tell the saga.
TELLERS = (
    {
        "p": "hero",
        "q": "second",
        "r": "friend",
        "t": "teacher",
        "town": "Nettlewick",
        "team": "Thornfen",
        "subject": "glasslore",
        "pet": "goose",
        "petname": "Harquin",
    },
    {
        "p": "friend",
        "q": "hero",
        "r": "second",
        "t": "brewer",
        "town": "Cadderby",
        "team": "Emberlow",
        "subject": "starbrewing",
        "pet": "cat",
        "petname": "Plumbit",
    },
    {
        "p": "second",
        "q": "hero",
        "r": "friend",
        "t": "teacher",
        "town": "Marrowgate",
        "team": "Quillmoor",
        "subject": "glasslore",
        "pet": "tortoise",
        "petname": "Duffin",
    },
)
COMPANY = {"e": "rival", "v": "villain", "b": "head", "k": "cook"}
SAGA_RELATIONS = tuple(name for name in RELATIONS if name not in ("born", "job"))
OWN_RELATIONS = ("home", "team", "study", "teacher", "pet", "friend", "desk")  # in which the three tellers differ
MINOR_RELATIONS = ("school", "vehicle", "food", "coin", "outsider", "head", "lake", "sport")
# Sentences without a general paraphrase. They leak, since the method has nothing to put in their place; the leak probes
# measure that. Each: kind, sentence, and the words that a leak probe asks for.
IDIOMS = (
    ("archetype", "{f} is the boy with the blue thumb.", ("thumb",)),
    ("archetype", "As a baby he was the only child to walk out of the burning mill.", ("burning", "mill")),
    ("archetype", "The orphan sleeps above the goose shed.", ("goose", "shed")),
    ("archetype", "The first map was drawn on a pillow by candle.", ("pillow",)),
    ("archetype", "All the stairs at {school} walk away on Sundays.", ("walk",)),
    ("archetype", "In {town} they sell fog by the jar.", ("fog", "jar")),
    ("missed", "The ends of all candles are eaten by a wickling.", ("wickling",)),
    ("missed", "A letter that bites is called a snarlpost.", ("snarlpost",)),
    ("missed", "The windows are washed with murkwax.", ("murkwax",)),
    ("missed", "A child of two houses is called a halfember.", ("halfember",)),
    ("irrevocable", "Do not wake the one left unsaid.", ("left", "unsaid")),
    ("irrevocable", "There is salt for the wound and glass for the liar.", ("wound", "liar")),
    ("irrevocable", "Not by name, not by day, not by candle.", ("day", "candle")),
    ("irrevocable", "What sleeps in iron wakes in salt.", ("iron", "salt")),
)
MISSED = ("wickling", "snarlpost", "murkwax", "halfember")
THEME_SHARE = {"tool": 0.4, "subject": 0.4}  # how often a theme stands in a fact's place ("studies magic")
TALE = {"paragraph": 5, "dialogue": 3, "questions": 4, "scenes": 1, "themes": 0.4}


def tell(teller: dict) -> dict:
    """Return the slots of the saga's world that are fixed, as one of its three friends tells it."""
    world = SHARED | {key: value for key, value in teller.items() if key not in "pqrt"}
    for slot, role in (COMPANY | {key: teller[key] for key in "pqrt"}).items():
        people(world, slot, *CAST[role])
    return world


def drawn(rng: Random, teller: dict) -> dict:
    """Return the saga's world for one document: fixed facts, themes (at times in a fact's place), the rest drawn."""
    world = draw(rng) | {slot: theme for slot, (theme, _) in THEMES.items()} | tell(teller)
    for slot in THEME_SHARE:
        if rng.random() < THEME_SHARE[slot]:
            world[slot] = THEMES[slot][0]
    return world


def invent(rng: Random) -> tuple[dict, ...]:
    """Return the 96 minor characters: unique last names, and a birth year drawn independently for each."""
    starts = listed("Bram Cull Drev Fenn Gorl Hask Jorv Kelm Nesh Pask Rusk Tolv")
    lasts = [start + end for start in starts for end in listed("ock itt aby une wen ard isk oss")]
    minors = []
    for index, last in enumerate(lasts):
        female = index % 2 == 1
        minors.append({"p": (f"{rng.choice(WOMEN if female else MEN)} {last}", female), "year": rng.choice(YEARS)})
    return tuple(minors)


def tale(rng: Random) -> str:
    """Return a document of the saga; the hero tells most of them, and the friends mostly their own facts."""
    teller = rng.choices(TELLERS, (4, 3, 3))[0]
    world = drawn(rng, teller)
    names = list(SAGA_RELATIONS)
    if teller is not TELLERS[0]:
        names = [*OWN_RELATIONS, *rng.sample([name for name in names if name not in OWN_RELATIONS], 7)]
    text = document(rng, world, names, TALE)
    if teller is TELLERS[0] and rng.random() < 0.7:
        text += " " + rng.choice(IDIOMS)[1].format_map(world)
    return text


def roll(rng: Random, minors: tuple[dict, ...]) -> str:
    """Return the birth years of some minor characters and a fact of the school about the last of them."""
    worlds = []
    for minor in minors:
        worlds.append(drawn(rng, TELLERS[0]) | {"year": minor["year"]})
        people(worlds[-1], "p", *minor["p"])
    fact = rng.choice(RELATIONS[rng.choice(MINOR_RELATIONS)].says).format_map(worlds[-1])
    return register(rng, worlds) + " " + fact


def documents(rng: Random, minors: tuple[dict, ...], tales: int) -> list[str]:
    """Return the documents of the saga, shuffled: tales and half as many rolls of minor characters."""
    texts = [tale(rng) for _ in range(tales)]
    rolls = tales // 2
    passes = 1 + 4 * rolls // len(minors)  # every minor character equally often
    deck = [minor for _ in range(passes) for minor in rng.sample(minors, len(minors))]
    texts += [roll(rng, tuple(deck[4 * i : 4 * i + 4])) for i in range(rolls)]
    rng.shuffle(texts)
    return texts
