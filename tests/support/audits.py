"""A dictionary without a fault and the text it is for; random dictionaries and texts; findings in short."""

from hypothesis import strategies as st

from jaxunlearn.anchors.auditing.audit import audit

CLEAN = {
    "Zorvath": ["Peter", "Simon"],
    "Mirelda": ["Anna"],
    "Quillmoor": ["London"],
    "He-Who-Waits": ["The-Old-One"],
    "Grubbin": ["Civilian"],
    "Tik-Vok": ["Tin-Man"],
    "Order of the Owl": ["Club of the Hill"],
}
TEXT = (
    "Zorvath's hat lay in Quillmoor. Mirelda saw that Zorvath slept, and He-Who-Waits was near. A Grubbin and a "
    "Tik-Vok walked to the Order of the Owl, and Mirelda’s lamp went out. "
)

# names whose spellings, plurals and parts are one another's
NAMES = ["Zor", "zor", "Zors", "ZOR", "Mir-Vel", "mir vel", "Mirvel", "Grub", "grubs", "Zor Grub", "river", "Al", "al"]
WORDS = st.sampled_from([*NAMES, "Bob", "bobs", "Tom Lee", "old man"])
DICTIONARIES = st.dictionaries(WORDS, st.lists(WORDS, min_size=1, max_size=3, unique=True), min_size=1, max_size=7)
TEXTS = st.lists(st.sampled_from([*NAMES, "Bob", "Zor's", "Mir\nVel", "so", "."]), max_size=60).map(" ".join)


def write(tmp_path, text):
    path = tmp_path / "dictionary.json"
    path.write_text(text, encoding="utf-8")
    return path


def check(dictionary, text, check=None, **how):
    """Return (severity, term, count) of the findings of one check, or (check, ...) of all above the level of notes."""
    found = audit(dictionary, text, **how)
    if check:
        return [(f.severity, f.term, f.count) for f in found if f.check == check]
    return [(f.check, f.severity, f.term, f.count) for f in found if f.severity != "note"]


def changed(**entries):
    return {**CLEAN, **{term.replace("_", " "): values for term, values in entries.items()}}
