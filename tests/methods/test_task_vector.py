"""Task vectors by hand."""

import jax.numpy as jnp

from jaxunlearn.methods.task_vector import task_vector


def test_task_vector_by_hand():
    theta, reinforced = {"w": jnp.array([1.0, 2.0], jnp.bfloat16)}, {"w": jnp.array([1.5, 1.0], jnp.float32)}
    found = task_vector(theta, reinforced, 2.0)["w"]
    assert found.tolist() == [0.0, 4.0] and found.dtype == jnp.bfloat16
    assert task_vector(theta, reinforced, 0.0)["w"].tolist() == [1.0, 2.0]
