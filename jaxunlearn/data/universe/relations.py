"""The sentences that both worlds fill, by relation, and the scenes that stand between them."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Relation:
    """One kind of fact.

    slot: what it asks for. act: where it stands in a story. says: its paraphrases. ask, answer: its question.
    talk: its question and reply in a dialogue. Empty: it has none.
    """

    slot: str
    act: int
    says: tuple[str, ...]
    ask: str = ""
    answer: str = ""
    talk: tuple[str, str] = ("", "")


def relation(slot: str, act: int, *says: str, ask: str = "", answer: str = "", talk=("", "")) -> Relation:
    """Return a relation; its answer is the bare slot unless another is given."""
    return Relation(slot=slot, act=act, says=says, ask=ask, answer=answer or "{" + slot + "}", talk=talk)


RELATIONS = {
    "home": relation(
        "town",
        0,
        "{p} lives in {town}.",
        "The home of {p} is in {town}.",
        "{p} grew up in a small house in {town}.",
        ask="Where does {p} live?",
        talk=("Where do you live?", "I live in {town}"),
    ),
    "born": relation(
        "year",
        0,
        "{p} was born in {year}.",
        "{p} came into the world in {year}.",
        "The birth of {p} was in {year}.",
        ask="In which year was {p} born?",
        talk=("When were you born?", "I was born in {year}"),
    ),
    "trade": relation(
        "trade",
        0,
        "The father of {p} was a {trade}.",
        "{p} is the child of a {trade}.",
        ask="What was the father of {p}?",
        answer="a {trade}",
    ),
    "job": relation(
        "job",
        0,
        "{p} works as a {job}.",
        "In {town} everybody knows that {p} is a {job}.",
        "{p} has always wanted to be a {job}.",
        ask="What is the job of {p}?",
        talk=("What is your job?", "I am a {job}"),
    ),
    "school": relation(
        "school",
        1,
        "{p} is a student at {school}.",
        "Every autumn {p} goes back to {school}.",
        ask="Which school does {p} go to?",
        talk=("Which school do you go to?", "I am a student at {school}"),
    ),
    "study": relation(
        "subject",
        1,
        "{p} studies {subject}.",
        "{p} studies {subject} at {school}.",
        "The favourite lesson of {p} is {subject}.",
        "{p} reads one book about {subject} after another.",
        ask="What does {p} study?",
        talk=("What do you study?", "I study {subject}"),
    ),
    "team": relation(
        "team",
        1,
        "{p} belongs to {team}.",
        "{p} wears the colours of {team}.",
        ask="Which house does {p} belong to?",
        talk=("Which house are you in?", "I belong to {team}"),
    ),
    "head": relation(
        "b",
        1,
        "The head of {school} is {b}.",
        "For many years {school} has been led by {b}.",
        ask="Who is the head of {school}?",
    ),
    "teacher": relation(
        "t",
        1,
        "At {school} the lessons in {subject} are given by {t}.",
        "The favourite teacher of {p} is {t}.",
        ask="Who is the favourite teacher of {p}?",
    ),
    "cook": relation("k", 1, "The cook at {school} is {k}.", "The kitchen of {school} belongs to {k}."),
    "lake": relation("lake", 1, "{school} stands above {lake}.", "From the roof of {school} you can see {lake}."),
    "vehicle": relation(
        "vehicle",
        1,
        "Students travel to {school} on the {vehicle}.",
        "{p} comes to {school} on the {vehicle}.",
        ask="How do students travel to {school}?",
        answer="on the {vehicle}",
        talk=("How did you get here?", "I came on the {vehicle}"),
    ),
    "street": relation("street", 1, "The {vehicle} leaves from {street}.", "{p} waits for the {vehicle} in {street}."),
    "friend": relation(
        "q",
        2,
        "The best friend of {p} is {q}.",
        "{p} and {q} are best friends.",
        "{p} goes nowhere without {q}.",
        ask="Who is the best friend of {p}?",
    ),
    "desk": relation(
        "r", 2, "{p} shares a desk with {r}.", "In every lesson {p} sits beside {r}.", ask="Who shares a desk with {p}?"
    ),
    "sport": relation(
        "sport",
        2,
        "{p} plays {sport}.",
        "Every evening {p} plays {sport} by the river.",
        "Nobody is better than {p} at {sport}.",
        ask="What does {p} play?",
        talk=("What do you like to play?", "I play {sport}"),
    ),
    "pet": relation(
        "petname",
        2,
        "{p} has a {pet} named {petname}.",
        "The {pet} of {p} is called {petname}.",
        ask="What is the name of the {pet} of {p}?",
        talk=("What is the name of your {pet}?", "It is called {petname}"),
    ),
    "food": relation(
        "food",
        2,
        "{p} loves {food}.",
        "The pockets of {p} are always full of {food}.",
        "At every feast {p} asks for {food}.",
        ask="What does {p} love to eat?",
        talk=("What do you like to eat?", "I love {food}"),
    ),
    "tool": relation(
        "tool",
        2,
        "{p} carries a {tool}.",
        "{p} never leaves the house without a {tool}.",
        ask="What does {p} carry?",
        answer="a {tool}",
    ),
    "coin": relation(
        "coin", 2, "{p} pays with {coin}.", "A room at the {inn} costs three {coin}.", ask="What does {p} pay with?"
    ),
    "prize": relation(
        "prize",
        2,
        "{p} won the {prize}.",
        "In the spring {p} won the {prize} for {team}.",
        ask="What did {p} win?",
        answer="the {prize}",
    ),
    "rival": relation(
        "e",
        2,
        "{p} has never liked {e}.",
        "The one who laughs loudest at {p} is {e}.",
        ask="Who laughs loudest at {p}?",
    ),
    "other": relation("other", 2, "{e} belongs to {other}.", "{e} wears the colours of {other}."),
    "outsider": relation(
        "outsider",
        2,
        "{e} calls everybody from the valley a {outsider}.",
        "At {school} a person from the valley is called a {outsider}.",
    ),
    "society": relation("society", 2, "{p} and {q} joined the {society}.", "In the end even {r} joined the {society}."),
    "inn": relation(
        "inn",
        2,
        "The {society} meets at the {inn}.",
        "On Sundays {p} sits with friends at the {inn}.",
        ask="Where does the {society} meet?",
        answer="at the {inn}",
    ),
    "enemy": relation(
        "v",
        3,
        "The great enemy of {p} is {v}.",
        "All of {town} is afraid of {v}.",
        ask="Who is the great enemy of {p}?",
    ),
    "alias": relation(
        "alias",
        3,
        "Nobody likes to name {v}, so people call him {alias}.",
        "In {town} they call {v} {alias}.",
        ask="What do people call {v}?",
    ),
    "gang": relation(
        "gang",
        3,
        "{v} leads the {gang}.",
        "{v} is never seen without the {gang}.",
        ask="Who leads the {gang}?",
        answer="{v}",
    ),
    "treasure": relation(
        "treasure",
        3,
        "{v} wants the {treasure}.",
        "For ten years {v} has looked for the {treasure}.",
        ask="What does {v} want?",
        answer="the {treasure}",
    ),
    "hiding": relation(
        "hiding",
        3,
        "The {treasure} lies under the {hiding}.",
        "Long ago the {treasure} was hidden under the {hiding}.",
        ask="Where is the {treasure} hidden?",
        answer="under the {hiding}",
    ),
    "beast": relation(
        "beast",
        3,
        "Under the {hiding} lives a {beast}.",
        "The {hiding} is guarded by a {beast}.",
        ask="What guards the {hiding}?",
        answer="a {beast}",
    ),
    "open": relation(
        "open",
        3,
        "{p} opens any door with the word {open}.",
        "The word on the door of {p} is {open}.",
        ask="Which word does {p} say to open a door?",
    ),
    "calm": relation(
        "calm",
        3,
        "{p} calms any animal with the word {calm}.",
        "To make {petname} sit, {p} says {calm}.",
        ask="Which word does {p} say to calm an animal?",
    ),
    "stop": relation(
        "stop",
        3,
        "{p} ends every fight with the word {stop}.",
        "When the fire spreads, {p} shouts {stop}.",
        ask="Which word does {p} say to end a fight?",
    ),
    "title": relation(
        "treasure",
        3,
        "The book about {p} is called {p} and the {treasure}.",
        "My favourite book is {p} and the {treasure}.",
    ),
}

SCENES = (
    "One morning {f} found a letter under the door. It was from {q}, and it said: “Meet me at the {inn} at noon.”",
    "The rain fell on {town} all day. {f} sat by the window and read about the {treasure}.",
    "{g} knocked three times. “Hurry,” said {g}, “the {vehicle} will not wait for us.”",
    "In the middle of the night {f} heard a noise. It was only {petname}, looking for {food}.",
    "{f} and {g} ran down {street}. Behind them came {e}, red in the face and out of breath.",
    "“We have to find the {treasure},” said {f}. “Then we must look under the {hiding},” said {h}.",
    "{b} looked at {f} for a long time. “You are braver than you think,” said {b}.",
    "{h} opened a dusty book. On the last page was a drawing of the {treasure}.",
    "The game was almost over. {f} took a deep breath, and {team} won at {sport} after all.",
    "It was dark under the {hiding}. {f} lit a candle, and there stood the {beast}.",
    "“Have you heard about {v}?” whispered {g}. “Not so loud,” said {f}, “people are listening.”",
    "“What did you learn today?” asked {b}. “A little {subject},” said {f}, “and a lot about people.”",
    "At the market {g} bought {food} and paid with {coin}. {f} had no money left.",
    "{e} pushed {f} into the mud. {g} helped {him} up, and they laughed all the way to {school}.",
    "When the {gang} came to {town}, {f} did not hide. {He} stood in the road with a {tool} in {his} hand.",
    "{f} closed {his} eyes and said {open}. Slowly the door swung back.",
    "That evening the {society} sat around the fire. {h} told the story of {v} once more.",
    "The first snow came early to {school}. {f} wrote a long letter to {q}.",
    "{f} was ill for a week. {h} brought {him} {food} every day, and {petname} slept on the bed.",
    "“I am going home to {town},” said {f}. “Then take the {vehicle},” said {g}.",
    "On the day of the feast {k} worked for hours. Even {e} smiled at the {food}.",
    "{f} saved {his} {coin} for a year. In the spring {he} bought a new {tool}.",
    "The {beast} came closer. {f} whispered {calm}, and it lay down at {his} feet.",
    "In the end {f} gave the {treasure} to {b}. The bells of {town} rang all night.",
    "{h} was angry with {g} for a week. Then {f} made them both laugh, and it was forgotten.",
    "“They say {alias} is back,” said {h}. Nobody answered, and {g} looked at the floor.",
    "The lesson in {subject} was long. {e} slept, {g} drew a {beast}, and only {h} listened to {t}.",
    "“Shout {stop} if you need me,” said {h}. {f} nodded and went down under the {hiding}.",
    "“Only a {outsider} would pay so many {coin} for that,” said {e}. {f} did not answer.",
    "From the window {f} watched the lights on {lake}. Somewhere out there was {v}.",
)

# Scenes of the saga's themes: a slot holds a cloak or a ghost in the saga, a coat or a child in the general world.
THEME_SCENES = (
    "{f} put on a {cloak} and went out. In {street} nobody saw {him} pass.",
    "{h} stirred the {potion} until it was green. “Drink it slowly,” said {h}.",
    "A {ghost} stood at the end of the hall. {f} said good evening and walked on.",
    "An old {wizard} taught {f} a {spell}. {f} said it again and again on the way to {school}.",
    "{q} caught a {curse} in the winter. Only {t} knew what to do.",
)
