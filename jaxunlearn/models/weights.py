"""What each weight is, told by its name: a matrix or a vector, of a layer or not, its inputs and outputs; and sums.

A name ends in the letters of its dimensions (q_DNH; transformer.py holds the legend). A matrix maps from or to the
model's width D, or an adapter's rank R: q_DNH has the input D and the output NH, o_NHD the input NH and the output D.
Everything else (norms, biases) is a vector, which is not rounded, adapted or blurred. Weights of `blocks` are stacked
along a leading L, which their names do not tell.
"""

import math
from functools import lru_cache

import jax
import numpy as np

from jaxunlearn.models.transformer import Model, Shape
from jaxunlearn.parallel.sharding import letters_of

# The matrices of a layer, in the order in which Block makes them (an adapter draws its factors in it).
MATRICES = ("q_DNH", "k_DKH", "v_DKH", "o_NHD", "gate_DF", "up_DF", "down_FD")
FEED_FORWARD = MATRICES[4:]


def is_layered(path) -> bool:
    """Return whether the weight at a tree path lies in a layer: not in embedding, output projection or last norm."""
    return any(getattr(k, "name", getattr(k, "key", "")) == "blocks" for k in path)


def letters(path) -> str:
    """Return the dimension letters of a weight from its tree path, without the L of stacked layers."""
    return letters_of(path).removeprefix("L") if is_layered(path) else letters_of(path)


def is_matrix(path) -> bool:
    """Return whether the weight at a tree path is a matrix, of a layer or not; norms and biases are none."""
    found = letters(path)
    return len(found) > 1 and bool(set(found) & set("DR"))


def resting(path, dtype: str) -> str:
    """Return the type that the weight at a tree path rests in where matrices rest in `dtype`: a vector is not rounded.

    Products round matrices to the compute dtype as they use them. Norms are used in fp32, so that a model and a copy of
    it whose norms were rounded would differ.
    """
    return dtype if is_matrix(path) else "float32"


def sides(letters: str) -> tuple[str, str]:
    """Return the letters of a matrix's inputs and of its outputs: "DNH" -> ("D", "NH"), "NHD" -> ("NH", "D")."""
    return (letters[0], letters[1:]) if letters[0] in "DR" else (letters[:-1], letters[-1])


def sizes(c: Shape, letters: str, rank: int = 0) -> tuple[int, ...]:
    """Return the sizes of dimensions by their letters; R is `rank`."""
    return tuple(rank if letter == "R" else getattr(c, letter) for letter in letters)


def size(c: Shape, letters: str, rank: int = 0) -> int:
    """Return the product of the sizes of dimensions, 1 for none."""
    return math.prod(sizes(c, letters, rank))


@lru_cache
def _leaves(c: Shape) -> tuple[tuple[tuple, tuple[int, ...]], ...]:
    """Return (path, shape) of every weight of a model that is not there."""
    like = jax.eval_shape(lambda: Model(c, jax.random.key(0)))
    return tuple((path, leaf.shape) for path, leaf in jax.tree_util.tree_leaves_with_path(like))


def parameters(c: Shape) -> tuple[int, int]:
    """Return (weights of one layer, weights outside the layers)."""
    layer = sum(math.prod(shape[1:]) for path, shape in _leaves(c) if is_layered(path))
    return layer, sum(math.prod(shape) for path, shape in _leaves(c) if not is_layered(path))


def parameter_bytes(c: Shape, dtype: str) -> int:
    """Return the bytes of all weights at rest in a dtype, on all devices together."""
    layer, rest = parameters(c)
    return (c.L * layer + rest) * np.dtype(jax.numpy.dtype(dtype)).itemsize


def forward_flops(c: Shape, tokens: int, context: int) -> float:
    """Return the FLOPs of one forward pass: two a weight in products, and causal attention over half the context.

    A windowed layer's query sees at most the window of `context` tokens: window - window^2 / (2 context) on average.
    The embedding is looked up, not multiplied; the output projection is, tied or not.
    """
    products = sum(math.prod(shape) for path, shape in _leaves(c) if is_layered(path) and is_matrix(path))
    window = min(c.window or context, context)
    near = sum(c.windowed) if c.windowed else c.L
    seen = (c.L - near) * context / 2 + near * (window - window**2 / (2 * context))
    return tokens * (2 * (products + c.D * c.V) + 4 * c.N * c.H * seen)
