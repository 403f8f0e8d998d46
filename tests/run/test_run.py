"""A run: its labels by translation, and its configuration, resolved once."""

import jax
import numpy as np

from jaxunlearn.config import load_config
from jaxunlearn.methods import label_rules
from jaxunlearn.models import transformer
from jaxunlearn.run import open_run
from jaxunlearn.run.variants import variants
from jaxunlearn.whp.labels import label, on_mesh


def test_no_label_begins_a_forbidden_term(mesh, world, tmp_path):
    terms = {}

    def labels(forbid):
        config = load_config(str(world / "world.py"), [f"whp.forbid={forbid}", f"run.dir={tmp_path / forbid}"])
        run = open_run(config)
        x = run.inputs
        terms.update({x.tokenizer.encode(term)[0][0]: term for term in x.dictionary})
        models = [jax.tree.map(lambda w: 20 * w, transformer.init(x.shape, seed)) for seed in (0, 1)]
        passage = on_mesh(run.passage(variants(config)[0]), np.arange(16))
        return np.asarray(label(*models, passage, alphas=(1.0,), whp=label_rules(config)))[0]

    plain, forbidden = labels("none"), labels("keys")
    assert np.isin(plain, list(terms)).any() and not np.isin(forbidden, list(terms)).any()
    assert ((plain == -100) == (forbidden == -100)).all() and len(terms) == 8
