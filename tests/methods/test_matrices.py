"""Feed-forward matrices taken out of a model, put back and moved, the rest left alone."""

import jax
import jax.numpy as jnp
import numpy as np
from support.batches import SHAPE

from jaxunlearn.methods import matrices
from jaxunlearn.models import transformer


def test_matrices_are_taken_by_name_and_only_they_move(mesh):
    model = transformer.init(SHAPE, 0)
    own = matrices.taken(model)
    assert {name: w.shape for name, w in own.items()} == {
        "gate_DF": (2, 16, 24), "up_DF": (2, 16, 24), "down_FD": (2, 24, 16),
    }  # fmt: skip
    made = matrices.moved(model, {"up_DF": jnp.full((2, 16, 24), 0.5)})
    np.testing.assert_allclose(made.blocks.up_DF[...], own["up_DF"] - 0.5, rtol=1e-6)
    back = matrices.replaced(made, {"up_DF": own["up_DF"]})
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(model), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (np.asarray(made.blocks.gate_DF[...]) == np.asarray(own["gate_DF"])).all()
