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
from jaxunlearn.stages.known import enough, few, knowing, refuse_unknown, set_apart, settled

FEW = "too few to decide anything (under 10 in the split 'report'): {}, 3 completion prompts"
ASKED = "eval.allow_unknown=false"


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

    def at(least, *more):
        given = [f"text.prompts={tmp_path}/prompts.json", f"run.dir={tmp_path}/run", f"eval.known={least}", *more]
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
    told, named, sizes = set_apart(run)
    assert sizes == few(run) and "2 completion prompts" in sizes and "5 next-word" not in sizes  # those that are left
    assert f"(under {least:g}), in no average: {[p.prompt for p in run.suite.unknown]}" in told
    assert named.endswith("name what the text does not, in no average: ['Zara and Nobody Rome with']")
    assert set_apart(knowing(at(0))) == [FEW.format("5 next-word prompts, 1 next-word prompts inside names")]
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


def figured(monkeypatch, at, words, completed=0.0, neutral=0.0):
    """Return a run with enough prompts whose baseline gives `words` to each prompt's own words, and so completes."""
    graded = {"familiarity": {"completion": {"value": completed, "low": completed * 0.9, "high": 5.0, "n": 60}}}
    rate = {"value": completed / 5, "low": completed / 6, "high": 1.0, "n": 60}
    graded["leaks"] = {"explicit": rate, "neutral": rate | {"value": neutral}}
    monkeypatch.setattr(known, "specific_mass", lambda model, suite, prompts: [words] * len(prompts))
    monkeypatch.setattr(known, "completion_familiarity", lambda model, suite: graded)
    return at


def test_a_baseline_that_never_knew_the_text_is_said_before_time_is_spent(opened, monkeypatch, capsys):
    at = figured(monkeypatch, opened[0], 0.0006)
    with pytest.raises(InputError) as refused:
        refuse_unknown(at(0, ASKED))
    said = str(refused.value)
    assert "does not know the text to forget: familiarity, next word 0.0006 (" in said
    assert "completion (0 to 5) 0 (" in said and "eval.allow_unknown=true" in said and "what is done is kept" in said
    run = at(0, "eval.allow_unknown=true")  # the same command with the override goes on, and says it again
    refuse_unknown(run)
    assert "does not know the text to forget" in capsys.readouterr().err
    assert {"known.json", "known_completion.json"} <= {p.name for p in (run / "evals").iterdir()}
    (run / "unlearned").mkdir()  # the time is spent: nothing is asked any more
    refuse_unknown(at(0, ASKED))


def test_a_model_that_writes_at_random_does_not_know_what_it_names(opened, monkeypatch):
    at = figured(monkeypatch, opened[0], 0.0006, completed=4.7, neutral=0.86)
    with pytest.raises(InputError, match=r"completion \(0 to 5\) 4\.70 .*, no more than after neutral prompts\. What"):
        refuse_unknown(at(0, ASKED))


@pytest.mark.parametrize(("words", "completed"), [(0.9, 0.0), (0.0006, 1.0)])
def test_one_figure_that_shows_knowledge_is_enough(opened, monkeypatch, capsys, words, completed):
    refuse_unknown(figured(monkeypatch, opened[0], words, completed)(0, ASKED))
    assert "does not know" not in capsys.readouterr().err


def test_a_set_of_a_few_prompts_is_asked_about_before_anything(opened, monkeypatch, capsys):
    at = figured(monkeypatch, opened[0], 0.9)
    with pytest.raises(InputError, match=r"5 next-word prompts.*Give text.prompts with at least 10 in each set"):
        enough(at(0, ASKED))
    enough(at(0))  # the world says allow_unknown
    assert "too few to decide anything (under 10" in capsys.readouterr().err
    run = at(1e-9, ASKED)
    assert settled(run, asks=False).inputs.untold
    with pytest.raises(InputError, match="2 completion prompts"):  # of those that the text holds
        settled(run)
