"""A method of your own, in one file, without touching the package: its loss, its record, and a run by it.

    jaxunlearn run examples/own_method.py                                       the built-in world, minutes on a CPU
    jaxunlearn run examples/own_method.py unlearn.settings=tau=0.5 run.dir=runs/half

The method is a weighted gradient ascent on whole sequences, which is too crude to recommend: it is here to be replaced.
CONTRIBUTING.md lists the fields of a record; with it come refusals, cost, the line in the table of methods (of programs
that import this file) and the sentence of the model card.
"""

import dataclasses

import jaxunlearn as j


def weighted(b: j.Batch) -> j.Terms:
    """Return tau (log p - log p_baseline) of each sequence to forget; the step divides the sum by their count."""
    return {"forget": j.over_sequences(b["tau"] * (b.logp("forget") - b.reference("forget")))}


OWN = j.Method(
    name="weighted_ascent",
    paper="no paper",
    summary="ascent on sequences, weighted by tau",
    card="ascent weighted by tau",
    loss=weighted,
    settings={"tau": j.Setting(default=2.0, above=0, why="below 0 the text would be learnt")},
    stores=("forget",),  # the baseline's log-probabilities, computed once: b.reference("forget")
    divide={"forget": "sequences"},
)
j.METHODS[OWN.name] = OWN


def config() -> j.Config:
    """Return the demo's configuration with this method: 20 steps of it on the built-in world."""
    world = j.load_config("universe", [f"unlearn.method={OWN.name}", "unlearn.steps=20", "unlearn.learning_rate=1e-4"])
    return dataclasses.replace(world, name="own_method", title="A method of one's own")
