"""The label pass of two models against the definition, position by position."""

import jax
import numpy as np
from support.training import SHAPE, passage

from jaxunlearn.config import Whp
from jaxunlearn.models import transformer
from jaxunlearn.parallel.sharding import put
from jaxunlearn.whp.labels import label, on_mesh


def test_labels_follow_the_definition_through_the_map(mesh):
    p, w = passage(8), Whp(seen_translation="-inf")
    models = (
        jax.tree.map(lambda x: 5 * x, transformer.init(SHAPE, 0)),
        jax.tree.map(lambda x: 5 * x, transformer.init(SHAPE, 1)),
    )
    forward = jax.jit(lambda m, t: m.logits(m(t)))
    v_base = np.asarray(forward(models[0], put(p.translation_BS, "BT")), np.float64)
    v_reinf = np.asarray(forward(models[1], put(p.tokens_BT, "BT")), np.float64)
    found = np.asarray(label(*models, on_mesh(p), alphas=(2.0,), whp=w))[0]
    for b, t in np.argwhere(p.trained_BT & (p.map_BT >= 0)):
        base = v_base[b, p.map_BT[b, t]]
        generic = base - 2.0 * np.maximum(v_reinf[b, t] - base, 0)
        for token, first in zip(p.seen_id_BR[b], p.seen_from_BR[b], strict=True):
            if token >= 0 and t >= first:
                generic[token] = -np.inf
        assert found[b, t] == np.argmax(generic)
