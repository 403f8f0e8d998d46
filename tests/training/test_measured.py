"""When the loop measures: after the steps that are named, on the state as that step left it."""

from jaxunlearn.config import Train
from jaxunlearn.training.loop import fit
from jaxunlearn.training.step import State


def test_a_measurement_sees_the_state_after_the_step_that_it_is_named_by(mesh):
    seen, rows = [], []

    def step(state, rate, row):
        rows.append(row)
        return State(state.step + 1, [*state.model, row], ()), {"loss": 0.0}

    def measure(n, state):
        seen.append((n, state.step, list(state.model)))

    fit(State(0, [], ()), step, lambda n: [n], Train(steps=3), measure=measure, measure_at=(0, 2, 3))
    assert rows == [0, 1, 2]
    assert seen == [(0, 0, []), (2, 2, [0, 1]), (3, 3, [0, 1, 2])]
