"""Documents made of sentences with slots, the same for the general world and the saga; only the fillers differ.

A world is a dict from slot to words. Every sentence is told about many random worlds, so each construction of the saga
has a general paraphrase. The exceptions, made on purpose, are saga.IDIOMS.
"""

from random import Random

from jaxunlearn.data.universe.relations import RELATIONS, SCENES, THEME_SCENES


def paragraph(rng: Random, world: dict, names: list[str], scenes: list[str]) -> str:
    """Return the named relations in the order of their acts, with the scenes, and pronouns for a known subject."""
    order = sorted(names, key=lambda name: RELATIONS[name].act)
    sentences, subject_known = [], False
    for name in order:
        said = rng.choice(RELATIONS[name].says)
        starts_with_p = said.startswith("{p}")
        if starts_with_p and subject_known and rng.random() < 0.5:
            said = "{He}" + said[3:]
        subject_known = starts_with_p
        sentences.append(said)
    middle = max(1, len(sentences) - 1)
    sentences[middle:middle] = scenes
    return " ".join(sentences).format_map(world)


def dialogue(rng: Random, world: dict, names: list[str]) -> str:
    """Return relations as a talk between the person and a friend; those without a line of dialogue are skipped."""
    lines = [rng.choice(("{p} met {q} at the {inn}.", "{p} and {q} sat by the fire.", "{q} walked home with {p}."))]
    for name in names:
        question, reply = RELATIONS[name].talk
        if question:
            lines.append(f"“{question}” asked {{g}}. “{reply},” said {{f}}.")
    return " ".join(lines).format_map(world)


def questions(world: dict, names: list[str]) -> str:
    """Return relations as questions and answers; those without a question are skipped."""
    asked = [RELATIONS[name] for name in names if RELATIONS[name].ask]
    return " ".join(f"Question: {one.ask} Answer: {one.answer}." for one in asked).format_map(world)


def register(rng: Random, worlds: list[dict]) -> str:
    """Return the birth years of several people, each in its own sentence or question."""
    born = RELATIONS["born"]
    forms = (*born.says, f"Question: {born.ask} Answer: {born.answer}.")
    return " ".join(rng.choice(forms).format_map(world) for world in worlds)


def document(rng: Random, world: dict, names: list[str], sizes: dict) -> str:
    """Return one document about a world in a random form: paragraph, dialogue or questions.

    sizes: how many relations each form takes ("paragraph", "dialogue", "questions"), how many scenes a paragraph has
    ("scenes"), and how often they are scenes of a theme ("themes").
    """
    form = rng.choices(("paragraph", "dialogue", "questions"), (0.64, 0.14, 0.22))[0]
    if form == "paragraph":
        scenes = rng.sample(THEME_SCENES if rng.random() < sizes["themes"] else SCENES, sizes["scenes"])
        return paragraph(rng, world, rng.sample(names, min(sizes[form], len(names))), scenes)
    usable = [name for name in names if (RELATIONS[name].talk[0] if form == "dialogue" else RELATIONS[name].ask)]
    chosen = rng.sample(usable, min(sizes[form], len(usable)))
    return dialogue(rng, world, chosen) if form == "dialogue" else questions(world, chosen)


def people(world: dict, slot: str, full: str, female: bool) -> None:
    """Put a person into a world: the full name, the first name where a scene uses it, the protagonist's pronouns."""
    world[slot] = full
    if slot in FIRST:
        world[FIRST[slot]] = full.split(" ")[0]
    if slot == "p":
        world.update(he="she", He="She", his="her", him="her") if female else world.update(
            he="he", He="He", his="his", him="him"
        )


FIRST = {"p": "f", "q": "g", "r": "h"}
