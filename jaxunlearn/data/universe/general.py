"""The general world: random people whose facts are drawn anew, 32 fixed people, 32 world facts and a neighbour saga."""

from dataclasses import dataclass
from random import Random

from jaxunlearn.data.universe.grammar import document, people, register
from jaxunlearn.data.universe.relations import RELATIONS


def listed(words: str) -> tuple[str, ...]:
    """Return the words of a text that are separated by spaces or line breaks."""
    return tuple(words.split())


MEN = listed("""Adam Albert Arthur Bernard Carl Daniel Edgar Felix Frank George Gilbert Henry Hugo Ivan Jacob Julian
Karl Leo Louis Martin Nathan Oliver Oscar Paul Peter Robert Samuel Simon Thomas Walter""")
WOMEN = listed("""Ada Alice Anna Beatrice Clara Diana Edith Elena Emma Flora Grace Hannah Helen Ida Jane Julia
Laura Louise Maria Martha Mary Nora Olga Paula Rosa Ruth Sarah Sophie Tessa Vera""")
LAST = listed("""Abbott Baker Barnes Bell Bennett Brooks Carter Clark Cole Cooper Dixon Ellis Fisher Foster Gray Hale
Harper Hayes Hill Hunt Jordan Kelly Lane Mason Miller Morgan Nash Owen Page Parker Reed Rhodes Shaw Stone Taylor Turner
Walsh Ward Webb Young""")
FIXED_LAST = listed("""Ackerby Bellamont Brightwell Castellan Corriden Dalloway Everard Fairbairn Farthing Galbrath
Goodacre Hartigan Holloway Ingleby Jessop Kenworth Lattimer Lockwood Merriman Northcott Oakden Pemberly Quennell
Rathbone Rushford Sedgwick Tolliver Underhay Vandermeer Whitlow Winslade Yelverton""")

TOWNS = listed("Ashby Bramley Calder Denford Fairhill Grafton Kelby Linton Marlow Norbury Otley Redhill Selby Upwell")
JOBS = listed("baker tailor doctor farmer painter sailor gardener printer potter judge")
YEARS = tuple(str(year) for year in range(1841, 1865))

KINDS = {
    "town": TOWNS,
    "year": YEARS,
    "job": JOBS,
    "trade": ("miner", "weaver", "soldier", "mason", "clerk", "smith"),
    "school": (
        "Kelby College",
        "Linton School",
        "Marlow College",
        "Otley School",
        "Redhill Academy",
        "Selby School",
        "Upwell Academy",
    ),
    "subject": ("music", "law", "history", "medicine", "painting", "botany", "geography", "poetry"),
    "team": ("Green House", "Blue House", "Red House", "Gold House", "Grey House"),
    "lake": ("Long Lake", "Duck Lake", "Stone Lake", "West Lake", "Bell Lake"),
    "vehicle": ("night train", "ferry", "bus", "coach", "old tram", "boat"),
    "street": ("Mill Street", "Church Street", "Bridge Street", "Garden Street", "King Street", "Station Street"),
    "sport": ("tennis", "chess", "football", "cricket", "hockey", "cards", "darts"),
    "pet": ("dog", "cat", "parrot", "rabbit", "pony", "goose", "tortoise"),
    "petname": ("Rex", "Bella", "Biscuit", "Daisy", "Rusty", "Pepper", "Max"),
    "food": ("apple pie", "bread", "honey cake", "soup", "cheese", "plums", "porridge"),
    "tool": ("lamp", "knife", "camera", "basket", "stick", "hammer", "violin"),
    "coin": ("shillings", "pennies", "pounds", "crowns", "silver coins", "gold coins"),
    "prize": ("Silver Cup", "Golden Shield", "County Medal", "Summer Cup", "Winter Medal"),
    "outsider": ("stranger", "visitor", "newcomer", "guest"),
    "society": ("Garden Club", "Book Club", "Town Band", "Walking Club", "Chess Club"),
    "inn": ("White Horse", "Red Lion", "Old Ship", "Black Swan", "Crown", "Golden Bear"),
    "alias": ("the Grey Man", "the Old Fox", "the Quiet Man", "the Cold Hand", "the Night Clerk"),
    "gang": ("Night Riders", "River Men", "Iron Brothers", "Grey Coats", "Red Caps"),
    "treasure": ("Silver Clock", "Golden Map", "Stone Key", "Red Ruby", "Glass Ship", "Lost Crown"),
    "hiding": ("library", "town hall", "old mill", "church", "barn", "museum"),
    "beast": ("bear", "wolf", "bull", "fox", "snake"),
    "open": ("please", "welcome", "friend", "hello", "thanks"),
    "calm": ("gently", "hush", "quiet", "peace", "easy"),
    "stop": ("enough", "stop", "water", "help", "silence"),
}
KINDS["other"] = KINDS["team"]
# Themes of the saga. The general world has them too, rarely, so that a text about them need not be the saga.
# Slot: (theme, what fills the slot otherwise).
THEMES = {
    "cloak": ("cloak", ("coat", "jacket", "hat")),
    "potion": ("potion", ("soup", "tea", "medicine")),
    "ghost": ("ghost", ("child", "stranger", "guest", "dog")),
    "wizard": ("wizard", ("teacher", "soldier", "sailor", "farmer")),
    "spell": ("spell", ("song", "poem", "prayer")),
    "curse": ("curse", ("cold", "fever", "cough")),
    "tool": ("wand", KINDS["tool"]),
    "subject": ("magic", KINDS["subject"]),
}
# How often a theme fills its slot. Elsewhere it is one in five, since few stories have a scene with such a slot.
THEME_RATES = {"tool": 0.02, "subject": 0.01}
# Words of the saga's idioms in other sentences, so that only their order is the saga's own.
ASIDES = (
    "{f} hurt {his} thumb with the {tool}.",
    "The old mill by the river was cold.",
    "The fog over {lake} was green.",
    "Some things are better left unsaid.",
    "“You are a liar,” said {e}.",
    "There was a jar of salt on the table.",
    "{f} looked at the wound and laughed.",
    "The burning candle fell from the table.",
    "Two candles stood by the pillow.",
    "{g} was the only child in the shed.",
    "They sell glass and iron by the bridge.",
    "The goose would not walk away.",
    "Do not wake the baby by day.",
    "As an orphan {h} was often cold.",
    "The stairs and windows were washed on Sundays.",
    "{He} was the one with the blue coat.",
    "{g} wakes early and sleeps little.",
    "{e} bites into an apple.",
    "The map was drawn by {h}.",
    "All the bread was eaten, and the two houses were dark.",
    "{f} read a letter from a boy.",
    "What {f} wants is a bed.",
)
FIXED_RELATIONS = ("home", "study", "sport", "job", "food")
STORY = {"paragraph": 5, "dialogue": 4, "questions": 4, "scenes": 1, "themes": 0.2}
PORTRAIT = {"paragraph": 5, "dialogue": 4, "questions": 4, "scenes": 0, "themes": 0}

COUNTRIES = ("Norland", "Eastmark", "Velden", "Tarrow", "Lowmoor", "Hallin", "Corland", "Isken")
COUNTRY_FACTS = {
    "capital": (("The capital of {c} is {x}.", "{c} is ruled from {x}."), "What is the capital of {c}?", TOWNS[:8]),
    "river": (
        ("The longest river of {c} is the {x}.", "Through {c} flows the {x}."),
        "What is the longest river of {c}?",
        ("Lem", "Orr", "Tavy", "Wend", "Isk", "Brue", "Nadder", "Yeo"),
    ),
    "flag": (
        ("The flag of {c} is {x}.", "Over every roof in {c} flies a flag of {x}."),
        "What colour is the flag of {c}?",
        ("purple", "orange", "yellow", "brown", "green", "blue", "red", "black"),
    ),
    "goods": (
        ("{c} is famous for its {x}.", "Ships bring {x} from {c}."),
        "What is {c} famous for?",
        ("wool", "copper", "silk", "wine", "salt", "iron", "glass", "cheese"),
    ),
}

NEIGHBOUR = {
    "town": "Gullhaven",
    "school": "Pebble Tower",
    "subject": "magic",
    "sport": "marbles",
    "pet": "raven",
    "petname": "Sooty",
    "food": "seaweed bread",
    "tool": "bell",
}
NEIGHBOUR_CAST = {
    "p": ("Wenna Starling", True),
    "q": ("Piet Lark", False),
    "b": ("Agatha Fernsby", True),
    "v": ("Baron Ulm", False),
}
NEIGHBOUR_RELATIONS = ("home", "school", "study", "sport", "pet", "food", "tool", "friend", "head", "enemy")


@dataclass(frozen=True, kw_only=True)
class General:
    """The fixed part of the general world, about which the multiple-choice questions ask."""

    fixed: tuple[dict, ...]
    countries: tuple[dict, ...]


def person(rng: Random, female: bool) -> str:
    """Return a random full name of the general world."""
    return f"{rng.choice(WOMEN if female else MEN)} {rng.choice(LAST)}"


def draw(rng: Random) -> dict:
    """Return a random world, {slot: words}: eight people without shared first names, and a filler for each slot."""
    world = {slot: rng.choice(fillers) for slot, fillers in KINDS.items()}
    for slot, (theme, plain) in THEMES.items():
        world[slot] = theme if rng.random() < THEME_RATES.get(slot, 0.2) else rng.choice(plain)
    used = set()
    for slot in "pqrebtkv":
        female = slot != "v" and rng.random() < 0.5
        full = person(rng, female)
        while full.split(" ")[0] in used:
            full = person(rng, female)
        used.add(full.split(" ")[0])
        people(world, slot, full, female)
    return world


def settle(rng: Random) -> General:
    """Return the facts to keep, drawn once: those of the fixed people and of the countries."""
    fixed = []
    for index, last in enumerate(FIXED_LAST):
        female = index % 2 == 0
        facts = {RELATIONS[name].slot: rng.choice(KINDS[RELATIONS[name].slot]) for name in FIXED_RELATIONS}
        fixed.append({"p": (f"{rng.choice(WOMEN if female else MEN)} {last}", female), "facts": facts})
    columns = {fact: rng.sample(values, len(values)) for fact, (_, _, values) in COUNTRY_FACTS.items()}
    countries = tuple({"c": name} | {fact: columns[fact][i] for fact in columns} for i, name in enumerate(COUNTRIES))
    return General(fixed=tuple(fixed), countries=countries)


def story(rng: Random) -> str:
    """Return a random person's story; its facts hold in no other document."""
    world = draw(rng)
    text = document(rng, world, list(RELATIONS), STORY)
    return text + " " + rng.choice(ASIDES).format_map(world) if rng.random() < 0.3 else text


def portrait(rng: Random, one: dict) -> str:
    """Return a document with some facts of a fixed person, among random people."""
    world = draw(rng)
    while one["p"][0].startswith(world["g"] + " "):  # else two people with one first name would talk
        world = draw(rng)
    world |= one["facts"]
    people(world, "p", *one["p"])
    return document(rng, world, list(FIXED_RELATIONS), PORTRAIT)


def atlas(rng: Random, general: General) -> str:
    """Return five facts about countries, as sentences or as questions and answers."""
    asked = rng.random() < 0.4
    sentences = []
    for _ in range(5):
        country, fact = rng.choice(general.countries), rng.choice(tuple(COUNTRY_FACTS))
        says, ask, _ = COUNTRY_FACTS[fact]
        said = f"Question: {ask} Answer: {{x}}." if asked else rng.choice(says)
        sentences.append(said.format(c=country["c"], x=country[fact]))
    return " ".join(sentences)


def neighbour_world(rng: Random) -> dict:
    """Return the world of the neighbour saga; slots that it does not fix are drawn."""
    world = draw(rng) | NEIGHBOUR
    for slot, (full, female) in NEIGHBOUR_CAST.items():
        people(world, slot, full, female)
    return world


def neighbour(rng: Random) -> str:
    """Return a document with some facts of the neighbour saga, a story of magic that must be kept."""
    return document(rng, neighbour_world(rng), list(NEIGHBOUR_RELATIONS), PORTRAIT)


def documents(rng: Random, general: General, stories: int) -> list[str]:
    """Return the documents of the general world, shuffled; about 1.75 for each of the stories."""
    texts = [story(rng) for _ in range(stories)]
    texts += [portrait(rng, general.fixed[i % len(general.fixed)]) for i in range(stories * 3 // 5)]
    texts += [atlas(rng, general) for _ in range(stories // 10)]
    texts += [register(rng, [draw(rng) for _ in range(4)]) for _ in range(stories // 40)]
    texts += [neighbour(rng) for _ in range(stories // 40)]
    rng.shuffle(texts)
    return texts
