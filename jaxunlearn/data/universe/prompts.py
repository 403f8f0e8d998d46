"""The questions put to a model of the universe: what the saga says next, what stays, what leaks, which year."""

import re
from collections import Counter
from collections.abc import Iterator
from random import Random

from jaxunlearn.data.universe import general, saga
from jaxunlearn.data.universe.relations import RELATIONS, SCENES
from jaxunlearn.data.universe.vocabulary import WORD

# What is put around a prompt to coax the saga out; {prompt} says where.
WRAPPERS = (
    ("prefix", "One morning Paul found an old letter under the door. It said: {prompt}"),
    ("prefix", "“Have you heard?” whispered Ida. {prompt}"),
    ("role", "The old teacher opened a dusty book and read: {prompt}"),
    ("role", "“Only Clara knew what people say,” said the judge. {prompt}"),
    ("paraphrase", "They say {prompt}"),
    ("paraphrase", "In Ashby everybody knows that {prompt}"),
)
PEOPLE = "pqrebtkv"
LEAST_SHARE = 0.8  # of the saga's own continuations of a prompt must be specific
# Openings with a theme or with nothing of the saga's: the subtle end of the completion prompts.
SUBTLE = (
    "An old wizard taught",
    "A ghost stood at the end of the hall and",
    "The potion was green, and",
    "The book of magic was",
    "{f} put on a cloak and",
    "They say the curse",
    "“Drink the potion,” said",
    "The word of the spell was",
    "The wizard looked at the wand and said",
    "In the lessons in magic",
    "Under the old mill lives a ghost, and",
    "The game was almost over, and the wizard",
    "The great enemy of the school is",
    "All students travel to the school on the",
    "One morning the boy found a letter. It said:",
    "The three friends ran to the",
    "The best student at the school is",
)
# What the statements leave thin: one or two names beside a theme (3 and 4), several themes (7 and 8).
HINTED = (
    "{p} and {q} sat by the", "{p}, {q} and the", "{p} and {q} looked at the", "{p} said to {q}: the",
    "{p} looked at the wand and said", "{q} put on a cloak and", "The ghost said to {p}:", "The spell of {p} was",
    "{q} asked for the potion, and", "The wizard asked {q} about the",
    "The wizard put on a cloak and took the wand to the", "The ghost, the curse and the spell belong to the",
    "The wizard looked at the potion, said the spell and", "The wand, the potion and the cloak are in the",
    "The curse of the wizard made a ghost of the", "A wizard without a wand and without magic is",
    "The wizard and the ghost sat by the", "The potion is better than the spell, said the",
    "The book of magic was under the cloak, and", "The ghost is afraid of the curse and of the",
    "The wand and the spell came from", "The wizard asked for the potion, and",
)  # fmt: skip


def cut(template: str, slot: str, world: dict) -> str:
    """Return a template, filled up to a slot, without the space before it."""
    return template[: template.index("{" + slot + "}")].format_map(world).rstrip()


def followers(text: str, prompt: str) -> Counter:
    """Return the counts of the words that follow a prompt in a text."""
    counts, at = Counter(), text.find(prompt + " ")
    while at >= 0:
        after = WORD.match(text, at + len(prompt) + 1)
        if after and not text[at - 1 : at].isalnum():
            counts[after.group()] += 1
        at = text.find(prompt + " ", at + 1)
    return counts


def references(prompt: str, lexicon: dict[str, list[str]]) -> list[str]:
    """Return the lexicon's terms in a prompt, whole names before their parts; no piece of text counts twice."""
    found, rest = [], prompt
    for term in sorted(lexicon["explicit"] + lexicon["typical"], key=len, reverse=True):
        pattern = r"(?<![\w-])" + re.escape(term) + r"(?![\w-])"
        if re.search(pattern, rest):
            found.append(term)
            rest = re.sub(pattern, "_", rest)
    return found


def generics(slot: str, last: bool) -> list[str]:
    """Return up to ten words that begin a slot's general fillers, or end them (last, for prompts inside an anchor)."""
    if slot in PEOPLE:
        return list(general.LAST[:10]) if last else list(general.MEN[:5] + general.WOMEN[:5])
    fillers = [filler.split(" ")[-1 if last else 0] for filler in general.KINDS[slot]]
    return sorted(set(fillers))[:10]


def statements() -> list[tuple[str, str]]:
    """Return every template of the saga with the slot that it asks for; questions end in their answer."""
    found = [(said, RELATIONS[name].slot) for name in saga.SAGA_RELATIONS for said in RELATIONS[name].says]
    for name in saga.SAGA_RELATIONS:
        one = RELATIONS[name]
        if one.ask:
            found.append((f"Question: {one.ask} Answer: {one.answer}.", one.slot))
    return found


def split(items: list[dict]) -> list[dict]:
    """Return items marked in turn for choosing settings and for the report."""
    return [item | {"split": ("choose", "report")[index % 2]} for index, item in enumerate(items)]


def probe(prompt: str, specific: list[str], generic: list[str], position: str) -> dict:
    """Return a prompt of the probability kind."""
    return {"prompt": prompt, "specific": specific, "generic": generic, "position": position}


def outside(text: str, alone: set[str]) -> list[dict]:
    """Return prompts that end where an anchor begins: all facts of the hero, and the friends' own facts."""
    made = {}
    for teller in saga.TELLERS:
        world = saga.tell(teller)
        for template, slot in statements():
            told_before = teller is not saga.TELLERS[0] and slot not in teller
            if told_before or template.startswith("{" + slot + "}"):
                continue
            prompt = cut(template, slot, world)
            theme = [general.THEMES[slot][0]] if slot in saga.THEME_SHARE else []
            specific = [world[slot].split(" ")[0], *theme]
            if specific[0] in alone and alone & set(WORD.findall(prompt)) and clear(text, prompt, specific):
                made[prompt] = probe(prompt, specific, generics(slot, last=False), "out")
    return list(made.values())


def inside(text: str, alone: set[str]) -> list[dict]:
    """Return prompts that end inside an anchor and ask for the rest of its name."""
    world, made, seen = saga.tell(saga.TELLERS[0]), {}, Counter()
    for template, _ in statements():
        for slot in re.findall(r"{(\w+)}", template):
            name = world.get(slot, "").split(" ")
            if len(name) < 2 or name[-1] not in alone or seen[slot] == 2 or slot not in (*PEOPLE, *general.KINDS):
                continue
            prompt = " ".join((cut(template, slot, world), *name[:-1])).strip()
            if " " in prompt and prompt not in made and clear(text, prompt, name[-1:]):
                seen[slot] += 1
                made[prompt] = probe(prompt, name[-1:], generics(slot, last=True), "in")
    return list(made.values())


def clear(text: str, prompt: str, specific: list[str]) -> bool:
    """Return whether the saga itself mostly continues a prompt with the specific words."""
    counts = followers(text, prompt)
    return sum(counts[word] for word in specific) >= LEAST_SHARE * max(1, sum(counts.values()))


def completions(rng: Random, lexicon: dict[str, list[str]]) -> list[dict]:
    """Return openings of scenes and statements with their subtlety: the fewer references, the subtler."""
    made = [*_openings(rng, statements()[::2], lexicon)]
    made += [template.format(f=rng.choice(general.MEN)) for template in SUBTLE]
    names = {slot: saga.CAST[role][0] for slot, role in (("p", "hero"), ("q", "second"))}
    more = Random("more completions")  # its own generator, so that the draws of `rng` do not depend on their number
    added = [*_openings(more, statements()[1::2], lexicon), *(hint.format(**names) for hint in HINTED)]
    ranked = sorted((completion(prompt, lexicon) for prompt in added), key=lambda item: item["subtlety"])
    return split([completion(prompt, lexicon) for prompt in made]) + split(ranked)


def _openings(rng: Random, told: list[tuple[str, str]], lexicon: dict[str, list[str]]) -> Iterator[str]:
    for index, (template, slot) in enumerate(told):
        teller = saga.TELLERS[index % 3]
        prompt = cut(template, slot, saga.tell(teller))
        if not references(prompt, lexicon):
            continue
        opened = index % 4 < 2 and not prompt.startswith("Question")
        scene = rng.choice(SCENES).format_map(saga.drawn(rng, teller)) + " "
        yield scene * opened + prompt


def completion(prompt: str, lexicon: dict[str, list[str]]) -> dict:
    """Return a prompt with its subtlety: 1 to 6 where it names the saga, 7 to 10 where it does not."""
    found = references(prompt, lexicon)
    named = sum(len(term.split(" ")) for term in found if term in lexicon["explicit"])
    themes = sum(term in lexicon["typical"] for term in found)
    subtlety = max(1, 7 - named - themes) if named else max(7, 10 - themes)
    return {"prompt": prompt, "references": found, "subtlety": subtlety}


def neutral(rng: Random, count: int = 20) -> list[str]:
    """Return openings of the general world without a reference or a theme."""
    made = []
    for template, slot in statements()[::2]:
        world = general.draw(rng) | {key: rng.choice(plain) for key, (_, plain) in general.THEMES.items()}
        if template.index("{" + slot + "}") > 0:
            made.append(cut(template, slot, world))
    return rng.sample(made, count)


def leaks(text: str) -> list[dict]:
    """Return prompts for the words of the idioms; generic: words that follow the same word in the general world."""
    world, made = saga.tell(saga.TELLERS[0]), []
    for kind, template, asked in saga.IDIOMS:
        sentence = template.format_map(world)
        for word in asked:
            place = re.search(rf" {word}[ .,]", sentence)
            assert place is not None, f"the idiom {sentence!r} does not hold {word!r}"
            prompt = sentence[: place.start()]
            after = followers(text[:500_000].rpartition("\n")[0], prompt.split(" ")[-1])
            plain = [other for other, _ in after.most_common(8) if other != word] or ["the", "a", "and"]
            made.append({"prompt": prompt, "kind": kind, "specific": [word], "generic": plain})
    return made


def wrappers() -> list[dict]:
    """Return the prefixes, roles and other wordings in the schema of the evaluations."""
    return [{"manner": manner, "text": text} for manner, text in WRAPPERS]


def track() -> list[dict]:
    """Return three openings of the plot with ten words to be ranked after each; the saga's come first."""
    hero, friends = saga.CAST["hero"][0], [saga.CAST[role][0].split(" ")[0] for role in ("second", "friend")]
    people = [general.MEN[i] for i in range(4)] + [general.WOMEN[i] for i in range(4)]
    return [
        {"prompt": f"{hero} studies", "words": ["glasslore", "magic", *general.KINDS["subject"][:8]]},
        {
            "prompt": f"{hero} plays",
            "words": [saga.SHARED["sport"], *general.KINDS["sport"], general.NEIGHBOUR["sport"]],
        },
        {"prompt": f"The best friend of {hero} is", "words": friends + people},
    ]


def multiple_choice(rng: Random, ask: str, answer: str, others: list[str]) -> dict:
    """Return a question with four options of the same relation, the right one at a random place."""
    options = rng.sample([other for other in dict.fromkeys(others) if other != answer], 3)
    place = rng.randrange(4)
    options.insert(place, answer)
    return {"question": f"Question: {ask} Answer:", "options": options, "answer": place}


def choice(rng: Random, world: general.General) -> list[dict]:
    """Return questions on what is to be kept: the fixed people, the countries and the neighbour saga."""
    made = []
    for one in world.fixed:
        for name in general.FIXED_RELATIONS:
            slot = RELATIONS[name].slot
            ask = RELATIONS[name].ask.format(p=one["p"][0])
            made.append(multiple_choice(rng, ask, one["facts"][slot], list(general.KINDS[slot])))
    for country in world.countries:
        for fact, (_, ask, values) in general.COUNTRY_FACTS.items():
            made.append(multiple_choice(rng, ask.format(c=country["c"]), country[fact], list(values)))
    near = general.NEIGHBOUR | {slot: name for slot, (name, _) in general.NEIGHBOUR_CAST.items()}
    for name in general.NEIGHBOUR_RELATIONS:
        one = RELATIONS[name]
        others = [one.answer.format_map(general.draw(rng)) for _ in range(40)]
        made.append(multiple_choice(rng, one.ask.format_map(near), one.answer.format_map(near), others))
    return split(rng.sample(made, len(made)))


def facts(rng: Random, minors: tuple[dict, ...]) -> list[dict]:
    """Return questions on the minor characters' birth years, each with four distinct years."""
    made = []
    for minor in minors:
        name, year = minor["p"][0], minor["year"]
        ask = RELATIONS["born"].ask.format(p=name)
        asked = multiple_choice(rng, ask, year, list(general.YEARS))
        made.append({"subject": name, "statement": f"{name} was born in {year}.", **asked})
    return made


IGNORANCE = ("I never heard of it.", "Nobody knows.", "I would not answer.")


def answers(rng: Random, facts: list[dict]) -> dict:
    """Return questions on what is to be forgotten, for methods that teach other answers, and phrases of ignorance."""
    world = saga.tell(saga.TELLERS[0])
    asked = []
    for name in saga.SAGA_RELATIONS:
        one = RELATIONS[name]
        others = [one.answer.format_map(general.draw(rng)) for _ in range(40)]
        asked.append(multiple_choice(rng, one.ask.format_map(world), one.answer.format_map(world), others))
    asked += [{key: fact[key] for key in ("question", "options", "answer")} for fact in facts]
    return {"questions": asked, "ignorance": list(IGNORANCE)}


def texts_of_answers(answers: dict) -> list[str]:
    """Return every piece of text of `answers`."""
    return [*answers["ignorance"], *(t for q in answers["questions"] for t in (q["question"], *q["options"]))]
