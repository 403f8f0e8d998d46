"""Facts of the small world, and a model that has learned some of them."""

from jaxunlearn.attacks import rtt
from jaxunlearn.config import Train
from jaxunlearn.data.facts import read_facts
from jaxunlearn.models import transformer
from jaxunlearn.training.loop import fit, microbatches
from jaxunlearn.training.step import compiled_step, init_state
from support.world import NAMES, PLACES, PLAIN_PLACES, THINGS

SHAPE = transformer.Shape(V=32, D=32, L=2, N=2, K=2, H=16, F=32, context=64)
ROWS = [
    {"question": f"went with {word}", "options": ["Anna", "Ben", "Carl"], "answer": n % 3}
    for n, word in enumerate([*NAMES, *PLACES, *PLAIN_PLACES, *THINGS, "book", "coat"])
]
FACTS = read_facts(ROWS, "rows")


def taught(suite, facts, steps=60):
    """Return a model that has learned facts."""
    c = Train(steps=steps, learning_rate=1e-2, batch=8, schedule="constant")
    arrays = rtt.rows(suite, rtt.texts(facts, "options"))

    def batch(step):
        return microbatches(c, arrays, ("BT", "BT"), len(arrays[0]), 0, step)

    return fit(init_state(transformer.init(SHAPE, 0), c), compiled_step(c), batch, c).model
