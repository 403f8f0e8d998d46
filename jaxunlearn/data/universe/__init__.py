"""The built-in universe: a fictional world to forget and a general world to keep, made from a seed in two seconds.

The general world has random people, whose facts are drawn anew for each story, 32 fixed people, 32 facts about
countries and a neighbour saga of magic: all of that is to be kept. The saga has one school and its enemies, told in the
same sentences with names and words of its own, and 96 minor characters with random birth years: all of that is to be
forgotten. Since both worlds fill the same sentences, a model that knows only the general world has a likely word for
every place of the saga. The few sentences without such a counterpart are the leak probes. An encyclopedia tells the
lasting facts of the general world once more; a model is repaired with it after unlearning.

relations (sentences with slots) and grammar (documents made of them) serve both worlds; general and saga fill them;
dictionary, prompts, encyclopedia and vocabulary follow from the two worlds. `build` puts all together.

To fork it: change the words in general.py (KINDS, names, COUNTRY_FACTS), the saga in saga.py (CAST, SHARED, TELLERS,
IDIOMS), or add a Relation to grammar.RELATIONS with a general filler in KINDS and a saga filler in SHARED. Dictionary,
prompts and vocabulary follow by themselves, and `build` refuses a world that breaks a rule the experiments rest on.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

from jaxunlearn.data.universe import dictionary as dictionaries
from jaxunlearn.data.universe import encyclopedia as encyclopedias
from jaxunlearn.data.universe import general as generals
from jaxunlearn.data.universe import prompts as probes
from jaxunlearn.data.universe import saga as sagas
from jaxunlearn.data.universe.vocabulary import save, token_list, words
from jaxunlearn.errors import InputError
from jaxunlearn.files import json_text

__all__ = ["Universe", "build", "write"]

FEWEST_PEOPLE = 2000  # below this, a word of the idioms or a theme may be missing from the general world


@dataclass(frozen=True, kw_only=True)
class Universe:
    """Everything of a universe, as texts and plain JSON values.

    general, saga: documents to keep and to forget. general_held, saga_held: documents that no model trains on.
    encyclopedia: the general world's lasting facts again, for a repair after unlearning. dictionary: {term:
    translations}. prompts: in the schema of the evaluations. answers: questions for methods that teach other answers.
    vocabulary: the tokens in the order of their ids.
    """

    general: list[str]
    saga: list[str]
    encyclopedia: list[str]
    general_held: list[str]
    saga_held: list[str]
    dictionary: dict[str, list[str]]
    prompts: dict
    answers: dict
    vocabulary: tuple[str, ...]


def build(seed: int = 0, people: int = 4000) -> Universe:
    """Build a universe with so many stories of random people; the saga grows with them, the facts do not.

    Raises InputError for fewer than FEWEST_PEOPLE, and AssertionError where an edited world breaks a rule on which
    the experiments rest.
    """
    if people < FEWEST_PEOPLE:
        raise InputError(f"people={people} is too few for a universe; give at least {FEWEST_PEOPLE}.")
    draw = {name: Random(f"{seed} {name}") for name in ("facts", "general", "saga", "held", "dictionary", "prompts")}
    world, minors = generals.settle(draw["facts"]), sagas.invent(draw["facts"])
    general = generals.documents(draw["general"], world, people)
    saga = sagas.documents(draw["saga"], minors, people // 5)
    general_held = unseen(generals.documents(draw["held"], world, 60), general)
    saga_held = unseen(sagas.documents(draw["held"], minors, 72), saga)
    texts = {"general": "\n".join(general), "saga": "\n".join(saga)}
    counts = {name: words([text]) for name, text in texts.items()}
    made = dictionaries.dictionary(draw["dictionary"], texts["general"], minors)
    lexicon = dictionaries.lexicon(made)
    prompts = ask(draw["prompts"], world, minors, texts, set(counts["saga"]) - set(counts["general"]), lexicon)
    dictionaries.audit(made, texts["general"], **counts)
    dictionaries.audit_lexicon(lexicon, texts, **counts)
    audit_words(prompts, **counts)
    answers = probes.answers(Random(f"{seed} answers"), prompts["facts"])
    assert not set(words(probes.texts_of_answers(answers))) - set(counts["general"]) - set(counts["saga"])
    tokens = token_list(counts["general"] + counts["saga"], (*general_held, *saga_held))
    articles = encyclopedias.articles(Random(f"{seed} encyclopedia"), world)
    assert not set(words(articles)) - set(counts["general"]), "the encyclopedia has words that were never trained"
    return Universe(
        general=general,
        saga=saga,
        encyclopedia=articles,
        general_held=general_held,
        saga_held=saga_held,
        dictionary=made,
        prompts=prompts,
        answers=answers,
        vocabulary=tokens,
    )


def unseen(held: list[str], trained: list[str]) -> list[str]:
    """Return the held-out documents that are not among the trained ones, each once."""
    known = set(trained)
    return [text for text in dict.fromkeys(held) if text not in known]


def ask(rng: Random, world, minors, texts: dict[str, str], alone: set[str], lexicon: dict[str, list[str]]) -> dict:
    """Return the prompts in the schema of the evaluations; alone: the words that only the saga has."""
    return {
        "name": "universe",
        "probability": [
            *probes.split(probes.outside(texts["saga"], alone)),
            *probes.split(probes.inside(texts["saga"], alone)),
        ],
        "completion": probes.completions(rng, lexicon),
        "neutral": probes.neutral(rng),
        "leaks": probes.leaks(texts["general"]),
        "lexicon": lexicon,
        "track": probes.track(),
        "wrappers": probes.wrappers(),
        "choice": probes.choice(rng, world),
        "facts": probes.facts(rng, minors),
    }


def texts_of(prompts: dict) -> list[str]:
    """Return every piece of text that the prompts give to a model or ask of it."""
    found = list(prompts["neutral"])
    for item in (*prompts["probability"], *prompts["leaks"], *prompts["track"], *prompts["completion"]):
        found += [item["prompt"], *item.get("specific", ()), *item.get("generic", ()), *item.get("words", ())]
    found += [item["text"].replace("{prompt}", "") for item in prompts["wrappers"]]
    for item in (*prompts["choice"], *prompts["facts"]):
        found += [item["question"], *item["options"], item.get("statement", "")]
    return found


def audit_words(prompts: dict, general: Counter, saga: Counter) -> None:
    """Raise AssertionError unless the documents hold every word of the prompts: an untrained word tests nothing."""
    missing = set(words(texts_of(prompts))) - set(general) - set(saga)
    assert not missing, f"words of the prompts that no document holds: {sorted(missing)}"


def write(universe: Universe, directory) -> None:
    """Write documents (one a line), dictionary, prompts, answers and tokenizer; equal universes give equal bytes."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("general", "saga", "general_held", "saga_held", "encyclopedia"):
        (directory / f"{name}.txt").write_text("\n".join(getattr(universe, name)) + "\n", encoding="utf-8")
    for name in ("dictionary", "prompts", "answers"):
        (directory / f"{name}.json").write_text(
            json_text(getattr(universe, name), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    save(universe.vocabulary, directory / "tokenizer")
