"""The training loop of every stage. A killed run resumes from its checkpoint and ends at the same bits."""

import time
from contextlib import nullcontext

import numpy as np

from jaxunlearn.config import Train
from jaxunlearn.data.blocks import batch_indices
from jaxunlearn.errors import Diverged
from jaxunlearn.parallel import preemption
from jaxunlearn.parallel.console import part
from jaxunlearn.parallel.sharding import batch_size_fits, put_rows
from jaxunlearn.training.optimiser import rate
from jaxunlearn.training.step import State


def microbatches(c: Train, arrays, letters: tuple[str, ...], n_blocks: int, seed: int, step: int):
    """Return the rows of host arrays for one step, on the mesh, each with a leading axis A of microbatches.

    arrays: each [n_blocks, ...]; letters: their dimensions ("BT"). The rows are a function of (seed, step) alone, so
    that a resumed run draws the same batches.
    """
    rows_AB = batch_indices(n_blocks, c.batch * c.accumulate, seed, step).reshape(c.accumulate, c.batch)
    return [put_rows(a, rows_AB, "A" + s) for a, s in zip(arrays, letters, strict=True)]


def fit(
    state: State, step_fn, batch_fn, c: Train, *, checkpoints=None, log=None, measure=None, measure_at=(), tokens=0
):
    """Train from the step of `state` to c.steps and return the final state; `state` itself is donated.

    step_fn(state, rate, *batch) -> (state, metrics). batch_fn(step) -> the arguments after the rate; steps from 0.
    checkpoints: saves every c.checkpoint_every steps and at the end. log(step, metrics): gets the metrics of step n
    while step n + 1 runs. measure(step, state): called at the steps of measure_at (0: before the first). tokens: those
    of one step, for rates. Raises RunError at the first loss, or norm of a gradient, that is not finite, and Preempted
    after a SIGTERM, once the state is saved.
    """
    batch_size_fits(c.batch)
    progress = _Progress(c, int(state.step), tokens, log)
    if int(state.step) == 0 and measure and 0 in measure_at:
        measure(0, state)
    part("compiling the step and making the first one")
    with preemption.saving() if checkpoints else nullcontext(lambda step: False) as asked:
        for step in range(int(state.step), c.steps):
            state, metrics = step_fn(state, rate(c, step), *batch_fn(step))
            progress.take(step + 1, metrics)
            part(f"step {step + 1} of {c.steps}")
            if measure and (step + 1) in measure_at:
                progress.flush()  # a state that diverged is neither measured nor kept
                measure(step + 1, state)
            stop = asked(step + 1)
            if checkpoints and (stop or (step + 1) % c.checkpoint_every == 0 or step + 1 == c.steps):
                progress.flush()  # save only a state whose loss and gradient were finite and are logged
                checkpoints.save(step + 1, state)
            if checkpoints and stop:
                checkpoints.wait()
                raise preemption.Preempted
        progress.flush()
        if checkpoints:
            checkpoints.wait()
    return state


class _Progress:
    """Log the metrics of each step one step late, so that the host queues the next step before it waits for them."""

    def __init__(self, c: Train, first: int, tokens: int, log):
        self.c, self.first, self.tokens, self.log = c, first, tokens, log
        self.began = time.monotonic()
        self.pending: tuple[int, dict] | None = None

    def take(self, step: int, metrics) -> None:
        """Log the held metrics and hold those of a new step."""
        self.flush()
        self.pending = step, metrics

    def flush(self) -> None:
        """Log the held metrics, if any. Raises RunError where their loss, or norm of the gradient, is not finite."""
        if self.pending is None:
            return
        (step, metrics), self.pending = self.pending, None
        values = {k: float(v) for k, v in metrics.items()}
        for name, what in {"loss": "loss", "gradient_norm": "norm of the gradient"}.items():
            if not np.isfinite(values.get(name, 0.0)):
                raise Diverged(
                    f"the {what} is {values[name]} at step {step}; the last checkpoint before it is kept. "
                    "Lower the learning rate, or look for empty or damaged text."
                )
        rate = (step - self.first) / max(time.monotonic() - self.began, 1e-9)
        if self.log:
            self.log(
                step, values | {"tokens_per_second": rate * self.tokens, "seconds_left": (self.c.steps - step) / rate}
            )
