"""A run: its labels by translation, and its configuration, resolved once."""

import jax
import numpy as np

from jaxunlearn.config import load_config, override
from jaxunlearn.methods import label_rules
from jaxunlearn.models import transformer
from jaxunlearn.run import open_run
from jaxunlearn.run.variants import variants
from jaxunlearn.whp.labels import label, on_mesh


def test_what_is_tuned_on_is_neither_trained_on_nor_reported(mesh, world, tmp_path):
    run = open_run(load_config(str(world / "world.py"), ["text.holdout=0.3", f"run.dir={tmp_path}/run"]))
    for name, split in (("forget", run.forget_split), ("retain", run.retain_split)):
        tokens_NT = getattr(run.inputs, name).tokens_NT
        parts = [rows.tokens_NT for rows in (run.tuning.texts[name], run.suite.texts[name])]
        parts = [{row.tobytes() for row in rows} for rows in (*parts, tokens_NT[split[0]])]
        assert all(parts) and not parts[0] & parts[1] and not parts[2] & (parts[0] | parts[1])
        assert len(run.tuning.texts[name].tokens_NT) + len(run.suite.texts[name].tokens_NT) == len(split[1])
    assert run.suite.fit.tokens_NT.tolist() == run.tuning.texts["retain"].tokens_NT.tolist()
    prompts = [{p.prompt for p in suite.prompts.probability} for suite in (run.suite, run.tuning)]
    assert all(prompts) and not prompts[0] & prompts[1]


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


def test_whp_seen_from_reaches_the_labels(mesh, world, tmp_path):
    run = open_run(load_config(str(world / "world.py"), ["whp.seen_from=at", f"run.dir={tmp_path}"]))
    other = run.with_(override(run.config, ["whp.seen_from=after"]))  # shares inputs, and translations by their key
    at, after = (r.passage(variants(r.config)[0]) for r in (run, other))
    known = at.seen_id_BR >= 0
    assert known.any() and (after.seen_from_BR == np.where(known, at.seen_from_BR + 1, at.seen_from_BR)).all()
