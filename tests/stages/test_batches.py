"""Batches of a step: the questions of the universe, and stored references of an earlier form, which are made again."""

import json
import types

import jax
import numpy as np
import pytest

from jaxunlearn.config import load_config, override
from jaxunlearn.errors import InputError
from jaxunlearn.files import find_data
from jaxunlearn.methods import METHODS, reads, recipe_of
from jaxunlearn.methods.answers import load_questions
from jaxunlearn.methods.step import step
from jaxunlearn.models import transformer
from jaxunlearn.run import open_run
from jaxunlearn.run.variants import variants
from jaxunlearn.stages import batches
from jaxunlearn.training.step import compiled_step

SHAPE = transformer.Shape(V=64, D=16, L=2, N=2, K=2, H=8, F=24, context=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The run directory that the four methods share: the universe is written once."""
    return tmp_path_factory.mktemp("universe")


@pytest.mark.parametrize("method", ["ria", "idk", "fwf", "dpo"])
def test_a_method_that_teaches_answers_gets_the_questions_of_the_universe(mesh, folder, monkeypatch, method):
    small = ("universe.people=2000", "init.D=32", "init.L=2", "init.H=8", "init.F=64", "text.context=128")
    given = load_config("universe", [f"unlearn.method={method}", f"run.dir={folder}", *small])
    run = open_run(given)
    assert not given.text.answers and run.config.text.answers == str(folder / "data" / "answers.json")
    monkeypatch.setattr(batches, "reference", lambda run, name, part, frozen: np.zeros(len(part.arrays[0]), "f4"))
    (variant, *_), c = variants(run.config), run.config.unlearn
    frozen, parts = batches.method_feed(run, variant, {}).batch(0)
    stored = {"reference"} if METHODS[method].stores else set()
    assert frozen == {} and set(parts) == {*reads(METHODS[method], run.config), *stored} and "answers" in parts
    taught = METHODS[method].answers(load_questions(find_data(run.config.text.answers)), run.config.seed)
    answers = {"answers": {a for _, a, _ in taught}, "true": {a for *_, a in taught}}
    for name in {"answers", "true"} & set(parts):
        _, labels_ABT = parts[name]
        said = [run.inputs.tokenizer.decode(row[row >= 0].tolist()).strip() for row in np.asarray(labels_ABT)[0]]
        assert len(said) == c.batch and set(said) <= answers[name]


def test_an_adversary_learns_from_its_own_blocks_of_the_text_to_forget(mesh, folder):
    small = ("universe.people=2000", "init.D=32", "init.L=2", "init.H=8", "init.F=64", "text.context=128")
    given = ["unlearn.method=gradient_difference", "unlearn.retain_batch=6", f"run.dir={folder}", *small]
    given += ["unlearn.adversary.every=3", "unlearn.adversary.blocks=2"]
    run = open_run(load_config("universe", given))
    (variant, *_), c = variants(run.config), run.config.unlearn
    feed, again = (batches.method_feed(run, variant, {}) for _ in range(2))
    lessons = [feed.batch(n)[2] for n in range(4)]
    _, parts, resumed = again.batch(3)
    assert parts["forget"][0].shape == (c.accumulate, c.batch, 128) and parts["retain"][0].shape[1] == 6
    assert [bool(lesson.fresh) for lesson in lessons] == [True, False, False, True]
    assert lessons[0].rate == lessons[2].rate != lessons[3].rate
    for a, b in zip(lessons[3], resumed, strict=True):  # a function of the seed and the step alone
        np.testing.assert_array_equal(a, b)
    forget_NT = run.training("forget")[0]
    for row in np.concatenate([np.asarray(lesson.tokens_ABT)[0] for lesson in lessons]):
        assert (forget_NT == row).all(1).any()
    assert feed.batch(0)[2].tokens_ABT.shape == (1, 2, 128)
    config = override(run.config, ["unlearn.adversary.weight=0"])
    plain = batches.method_feed(run.with_(config), variants(config)[0], {})
    assert len(plain.batch(0)) == 2  # at weight 0 the plain step runs, bit for bit
    assert plain.step is compiled_step(c, step, recipe=recipe_of(variant.method, config))


def test_what_a_variant_cannot_be_trained_with_is_said_before_any_work():
    config = override(load_config("universe", []), ["unlearn.method=npo", "unlearn.mudman.every=4"])
    with pytest.raises(InputError, match=r"unlearned cannot be trained:\n  unlearn.mudman masks"):
        batches.check(types.SimpleNamespace(config=config))


def test_a_reference_is_computed_once_and_one_of_an_earlier_form_again(mesh, tmp_path, monkeypatch):
    """It was {key: value, ...} beside the numbers in NAME.npy; now it is {"key": ..., "found": numbers}."""
    model = transformer.init(SHAPE, 0)
    tokens, labels = np.random.default_rng(0).integers(0, 64, (2, 4, 12)).astype(np.int32)
    part = batches.Part((tokens, labels), ("BT", "BT"), 0)
    config = types.SimpleNamespace(seed=0, whp=types.SimpleNamespace(label_batch=4))

    class Stub:
        inputs = types.SimpleNamespace(hashes={"text.forget": "a"})

        def __truediv__(self, name):
            return tmp_path / name

    run = Stub()
    run.config = config
    monkeypatch.setattr(batches, "hash_of", lambda folder: "b")
    old = {"baseline": "b", "inputs": {"text.forget": "a"}, "shape": [4, 12], "seed": 0}
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / "npo_forget.json").write_text(json.dumps(old))
    np.save(tmp_path / "reference" / "npo_forget.npy", np.zeros(4, np.float32))
    found = batches.reference(run, "npo_forget", part, {"baseline": model})
    np.testing.assert_array_equal(found, batches.all_logp(model, tokens, labels, 4))
    assert (found < -1).all()
    other = {"baseline": jax.tree.map(lambda w: 2 * w, model)}
    np.testing.assert_array_equal(batches.reference(run, "npo_forget", part, other), found)  # not computed again


@pytest.mark.nightly
def test_folds_are_unlearned_one_upon_another_and_those_to_come_are_kept(mesh, folder):
    small = ("universe.people=2000", "init.D=32", "init.L=2", "init.H=8", "init.F=64", "text.context=128")
    given = ["unlearn.method=npo", "unlearn.retain_weight=1", "unlearn.folds=3", "unlearn.steps=6", "unlearn.batch=16"]
    run = open_run(load_config("universe", [*given, f"run.dir={folder}", *small]))
    (variant, *_), (tokens, _) = variants(run.config), run.training("forget")
    logp = -np.arange(len(tokens), dtype=np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "reference", lambda run, name, part, frozen: logp)
        feed = batches.method_feed(run, variant, {})
    place, folds = {row.tobytes(): n for n, row in enumerate(tokens)}, np.array_split(np.arange(len(tokens)), 3)
    fold_of = {int(n): k for k, fold in enumerate(folds) for n in fold}
    for n, unlearned in enumerate((1, 1, 2, 2, 3, 3)):
        _, parts = feed.batch(n)
        rows = [place[row.tobytes()] for row in np.asarray(parts["forget"][0])[0]]
        assert {fold_of[row] for row in rows} <= set(range(unlearned))
        np.testing.assert_array_equal(np.asarray(parts["reference"]["forget"])[0], logp[rows])  # of the same blocks
        kept = [place.get(row.tobytes()) for row in np.asarray(parts["retain"][0])[0]]
        if n in (1, 3):
            assert {fold_of[row] for row in kept} <= set(range(unlearned, 3))
        else:
            assert not any(row is not None for row in kept)
    many = override(run.config, ["unlearn.folds=16000", "unlearn.steps=16000"])
    with pytest.raises(InputError, match=r"unlearn.folds = 16000, but the text to forget has \d+ blocks to train on"):
        batches.check(run.with_(many))


def test_a_stop_rule_without_prompts_to_go_by_is_refused_before_any_work(mesh, world, tmp_path):
    told = json.loads((world / "prompts.json").read_text())
    kept = [p for p in told["probability"] if p["split"] == "report"]
    given = load_config(str(world / "world.py"), ["unlearn.reach=0.1", f"run.dir={tmp_path / 'run'}"])
    for rows in (kept, [*kept, told["probability"][-1] | {"position": "in"}]):
        (tmp_path / "prompts.json").write_text(json.dumps(told | {"probability": rows}))
        config = override(given, [f"text.prompts={tmp_path / 'prompts.json'}"])
        with pytest.raises(InputError, match=r"unlearn.reach goes by next-word prompts outside names of the split"):
            open_run(config, batches.check)
        open_run(override(config, ["unlearn.reach=0"]), batches.check)
    open_run(given, batches.check)
