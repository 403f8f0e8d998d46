"""Continue one prompt a few tokens at a time, for those who watch: the same tokens as models.generate gives."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxunlearn.errors import Diverged
from jaxunlearn.models.generate import GREEDY, NAN, Sampling, steps, width_of
from jaxunlearn.parallel.sharding import put

ROUND = 32  # new tokens: a longer answer has the program of the next multiple, so that few are compiled


def stream(
    model, prompt: list[int], max_new_tokens: int, sampling: Sampling = GREEDY, *, seed=0, eos_ids=(), every: int = 1
) -> Iterator[list[int]]:
    """Yield the tokens that follow a prompt as they come, `every` of them at a time, up to the first EOS.

    Joined they are what generate([prompt], ...) returns. One program serves the prompt, one the tokens, whatever
    `every` is. Works in a mesh of one device. Raises InputError and Diverged as `generate` does.
    """
    width = width_of(model, [prompt], max_new_tokens)
    room = min(-(-max_new_tokens // ROUND) * ROUND, model.c.context - width)
    tokens_BP = np.zeros((1, width), np.int32)
    tokens_BP[0, width - len(prompt) :] = prompt
    pad_B = put(np.array([width - len(prompt)], np.int32), "B")
    eos = jnp.asarray(list(eos_ids) or [-1], jnp.int32)
    given = pad_B, jax.random.fold_in(jax.random.key(seed), 0), eos, np.float32(sampling.temperature)
    worn = {"P": width, "max_new": room, "top_k": sampling.top_k, "top_p": sampling.top_p}
    carry, given_out = _begin(model, put(tokens_BP, "BT"), given, **worn), 0
    while True:
        count, done_B, new_BT = jax.device_get((carry[0], carry[2], carry[3]))  # one wait for all three
        new = list(map(int, new_BT[0, given_out:count]))
        if NAN in new:
            raise Diverged("the model's logits are not numbers after this prompt and what it then wrote")
        given_out, ended = count, [n for n, token in enumerate(new) if token in eos_ids]
        new = new[: ended[0]] if ended else new
        if new:
            yield new
        if done_B[0] or count >= max_new_tokens:
            return
        carry = _on(model, carry, np.int32(min(count + every, max_new_tokens)), given, **worn)


@partial(jax.jit, static_argnames=("P", "max_new", "top_k", "top_p"))
def _begin(model, tokens_BP, given, *, P, max_new, top_k, top_p):
    pad_B, key, eos, temperature = given
    first, _ = steps(model, pad_B, key, eos, Sampling(temperature, top_k, top_p), P=P, max_new=max_new)
    n, *rest = first(tokens_BP)
    return jnp.int32(n), *rest


@partial(jax.jit, static_argnames=("P", "max_new", "top_k", "top_p"), donate_argnames="carry")
def _on(model, carry, until, given, *, P, max_new, top_k, top_p):
    pad_B, key, eos, temperature = given
    _, on = steps(model, pad_B, key, eos, Sampling(temperature, top_k, top_p), P=P, max_new=max_new)
    return on(carry, until)
