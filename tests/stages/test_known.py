"""Prompts that the baseline does not know stand apart: by its own figures, on both splits, once."""

import json

import jax
import pytest

from jaxunlearn.config import check, load_config
from jaxunlearn.errors import InputError
from jaxunlearn.evals.base import Context
from jaxunlearn.evals.familiarity import next_word
from jaxunlearn.evals.prompts import SPLITS
from jaxunlearn.evals.words import Words
from jaxunlearn.models import huggingface, transformer
from jaxunlearn.run import open_run
from jaxunlearn.stages import known
from jaxunlearn.stages.known import knowing, set_apart


@pytest.fixture
def opened(mesh, world, tmp_path):
    """A run of the small world with prompts of its own and a sharp random baseline; and each prompt's probability."""
    names, then = ("Zara", "Quill", "Vexo", "Anna", "Ben"), {"choose": "", "report": " Rome with"}
    rows = [
        {"prompt": f"{name} went to{more}", "specific": ["Orm"], "position": "out", "split": split}
        for split, more in then.items() for name in names
    ]  # fmt: skip
    rows.append({"prompt": "Carl took the", "specific": ["rune"], "position": "in", "split": "report"})
    named = {"Zara met": ["Zara"], "He": [], "Zara and Nobody": ["Zara", "Nobody"]}
    asked = [
        {"prompt": p + then[s], "references": r, "subtlety": 1, "split": s} for p, r in named.items() for s in SPLITS
    ]
    (tmp_path / "prompts.json").write_text(json.dumps({"name": "w", "probability": rows, "completion": asked}))

    def at(least):
        given = [f"text.prompts={tmp_path}/prompts.json", f"run.dir={tmp_path}/run", f"eval.known={least}"]
        run = open_run(load_config(str(world / "world.py"), given))
        if not run.folder.has("baseline"):
            model = jax.tree.map(lambda w: 12 * w, transformer.init(run.inputs.shape, 0))
            huggingface.save(model, run / "baseline", source=run.inputs.tokenizer_dir)
        return run

    run = at(0)
    model = huggingface.load(run / "baseline")
    masses = Words(run.inputs.tokenizer, 8).probabilities(model, [(r["prompt"], r["specific"][0]) for r in rows])
    return at, model, dict(zip([(r["prompt"], r["split"]) for r in rows], masses, strict=True))


def test_a_prompt_counts_where_the_baseline_knows_its_words(opened, monkeypatch):
    at, model, masses = opened
    out = {split: sorted(m for (prompt, s), m in masses.items() if s == split and "went" in prompt) for split in SPLITS}
    least = min(max(of) for of in out.values()) * 0.99  # known on each split: at least one prompt
    assert all(of[0] < least for of in out.values())  # and unknown, too
    assert knowing(at(0)).inputs.unknown == () and len(knowing(at(0)).inputs.prompts.completion) == 6
    run = knowing(at(least))
    for suite, split in ((run.suite, "report"), (run.tuning, "choose")):
        known_here = {p.prompt for p in suite.prompts.probability}
        assert known_here == {p for (p, s), mass in masses.items() if s == split and mass >= least}
        assert {p.prompt for p in suite.unknown} == {p for (p, s), m in masses.items() if s == split and m < least}
        assert [p.references for p in suite.prompts.completion] == [("Zara",), ()]
    assert [p.references for p in run.inputs.untold] == [("Zara", "Nobody")] * 2  # the text does not name the second
    told, named = set_apart(run)
    assert f"(under {least:g}), in no average: {[p.prompt for p in run.suite.unknown]}" in told
    assert named.endswith("name what the text does not, in no average: ['Zara and Nobody Rome with']")
    assert set_apart(knowing(at(0))) == []
    found = next_word(model, Context(suite=run.suite))["familiarity"]
    of = [(prompt, mass) for (prompt, split), mass in masses.items() if split == "report" and "went" in prompt]
    parts = {"probability": [m for _, m in of if m >= least], "unknown": [m for _, m in of if m < least]}
    for name, there in parts.items():
        assert found[name]["value"] == pytest.approx(sum(there) / len(there)) and found[name]["n"] == len(there)
    monkeypatch.setattr(known, "specific_mass", None)  # what was found is kept
    assert knowing(at(least)).inputs.unknown == run.inputs.unknown


def test_a_baseline_that_knows_nothing_is_refused(opened):
    at, _, masses = opened
    with pytest.raises(InputError, match=r"does not know the text: pretrain longer, or lower eval.known"):
        knowing(at((max(masses.values()) + 1) / 2))
    with pytest.raises(InputError, match=r"eval.known must be at least 0 and below 1"):
        check(load_config("universe", ["eval.known=1"]))
