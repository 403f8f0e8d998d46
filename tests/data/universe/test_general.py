"""The general world: facts that stay and facts that are drawn anew."""

import re

from jaxunlearn.data.universe import general


def test_facts_of_random_people_are_drawn_anew(world):
    text = "\n".join(world.general)
    lived = {}
    for name, town in re.findall(r"(?:^|[.?] )(\w+ \w+) lives in (\w+)\.", text, re.M):
        lived.setdefault(name, set()).add(town)
    fixed = {name for name in lived if name.split(" ")[1] in general.FIXED_LAST} | {"Wenna Starling"}
    assert fixed and all(len(lived[name]) == 1 for name in fixed if name in lived)
    assert max(len(towns) for name, towns in lived.items() if name not in fixed) > 1


def test_fixed_people_are_never_told_otherwise(world):
    text = "\n".join(world.general)
    stated = {}
    fixed = rf"(\w+ (?:{'|'.join(general.FIXED_LAST)}))"
    for verb in ("lives in", "works as a", "plays"):
        for name, value in re.findall(rf"{fixed} {verb} ([^.]+)\.", text):
            stated.setdefault((name, verb), set()).add(value.removesuffix(" by the river"))
    assert len(stated) == 96  # 32 people, three relations
    assert all(len(values) == 1 for values in stated.values())
