"""Facts, RTT, the stress test and the latent probe: by hand, and on models that know or do not know."""

import jax
import numpy as np
import pytest
from support.world import NAMES, PLACES, PLAIN_PLACES, THINGS, write_world

from jaxunlearn.attacks import hiding, latent, rtt
from jaxunlearn.attacks.context import PASSAGE_TOKENS, conditions, in_context, passages
from jaxunlearn.attacks.rtt import answers_right, free_form, letters_calibrated, recovery, retrain, texts
from jaxunlearn.cli import main
from jaxunlearn.config import Attack, Eval, Train
from jaxunlearn.data.documents import Document
from jaxunlearn.data.facts import load_facts, pairings, read_facts
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import RunError
from jaxunlearn.evals.prompts import load_prompts
from jaxunlearn.evals.suite import Suite
from jaxunlearn.models import transformer
from jaxunlearn.training.loop import fit, microbatches
from jaxunlearn.training.step import compiled_step, init_state

SHAPE = transformer.Shape(V=32, D=32, L=2, N=2, K=2, H=16, F=32, context=64)
ROWS = [
    {"question": f"went with {word}", "options": ["Anna", "Ben", "Carl"], "answer": n % 3}
    for n, word in enumerate([*NAMES, *PLACES, *PLAIN_PLACES, *THINGS, "book", "coat"])
]
FACTS = read_facts(ROWS, "rows")


@pytest.fixture
def suite(tmp_path):
    folder = write_world(tmp_path)
    prompts = load_prompts(folder / "prompts.json").of("report")
    return Suite(load_tokenizer(folder / "tokenizer"), prompts, {}, Eval(batch=8, blocks=8))


def taught(suite, facts, steps=60):
    """Return a model that has learned facts."""
    c = Train(steps=steps, learning_rate=1e-2, batch=8, schedule="constant")
    arrays = rtt.rows(suite, texts(facts, "options"))

    def batch(step):
        return microbatches(c, arrays, ("BT", "BT"), len(arrays[0]), 0, step)

    return fit(init_state(transformer.init(SHAPE, 0), c), compiled_step(c), batch, c).model


def test_the_command_writes_birthdays_that_a_run_can_use(tmp_path, capsys):
    out = tmp_path / "births"
    assert main(["birthdays", "--out", str(out), "--count", "12", "--seed", "3"]) == 0
    assert f"text.forget=YOUR_TEXT,{out}/statements.txt attack.facts={out}/facts.json" in capsys.readouterr().out
    facts, lines = load_facts(str(out / "facts.json")), (out / "statements.txt").read_text().splitlines()
    assert len(facts) == len(lines) == 12
    for fact, line in zip(facts, lines, strict=True):  # each question's right answer is what its line teaches
        name = fact.question.removeprefix("In which year was ").removesuffix(" born?")
        assert line == f"{name} was born in {fact.options[fact.answer]}."
    assert main(["birthdays", "--out", str(tmp_path / "none"), "--count", "0"]) == 2
    assert not (tmp_path / "none").exists()


def test_answers_may_be_letters_or_texts():
    rows = [{"question": q, "options": ["x", "y"], "answer": a} for q, a in (("1", "B"), ("2", "y"), ("3", 1))]
    assert [f.answer for f in read_facts(rows, "rows")] == [1, 1, 1]
    assert read_facts(rows, "rows")[0].lettered == "1\nA. x\nB. y\nAnswer:"
    assert texts(read_facts(rows, "rows"), "letters")[0] == ("1\nA. x\nB. y\nAnswer:", "B. y")


def test_recovery_is_paired_over_facts():
    found = recovery([1, 0, 1, 0], [1, 1, 1, 1])
    assert found.value == 0.5 and found.n == 4 and found.low < 0.5 < found.high
    assert recovery([1, 0], [0, 0]) is None
    assert recovery([1], [1]).low is None  # one fact has no interval
    same = recovery([1, 0, 1], [1, 0, 1])
    assert (same.value, same.low, same.high) == (1, 1, 1)  # paired: no fact differs


def test_rows_train_question_and_answer(suite):
    tokens_NT, labels_NT = rtt.rows(suite, [("Zara went to", "Orm")])
    ids = suite.tokenizer.encode("Zara went to Orm")[0].tolist()  # "Orm." is no token of this vocabulary
    assert tokens_NT[0, : len(ids) + 1].tolist() == [1, *ids] and labels_NT[0, : len(ids)].tolist() == ids
    assert (labels_NT[0, len(ids) :] == -100).all()


def test_retraining_is_scored_on_what_it_did_not_see_and_reports_the_attackers_optimum(mesh, suite):
    c = Attack(splits=3, pairings=2, epochs=2, batch=8)
    pairs = pairings(FACTS, c)
    known = taught(suite, FACTS)
    assert answers_right(known, suite, FACTS, "options").all() and free_form(known, suite, FACTS).all()
    kept = jax.tree.map(np.asarray, known)
    found = retrain(lambda: jax.tree.map(jax.numpy.asarray, kept), suite, FACTS, pairs, c, (1e-5, 1e-1))
    assert found["rate"] == 1e-5 and found["right"] == [1] * 8 == found["before"] and found["trained"] == 1
    assert {name: len(curve) for name, curve in found["curves"].items()} == {"1e-05": 3, "0.1": 3}
    blank = retrain(lambda: transformer.init(SHAPE, 0), suite, FACTS, pairs, c, (1e-2,), share=0.5)
    assert np.mean(blank["before"]) < 1 and len(blank["right"]) == 8
    figures = rtt.figures(found, found)
    assert figures["recovery"]["value"] == 1 and figures["accuracy"]["n"] == 8


def test_letters_are_calibrated_by_their_mean(mesh, suite, monkeypatch):
    table = {("A", 0): 0.6, ("B", 0): 0.3, ("A", 1): 0.5, ("B", 1): 0.45}  # A is favoured, B's share rises in fact 1
    facts = read_facts([{"question": q, "options": ["x", "y"], "answer": n} for n, q in enumerate("pq")], "rows")
    monkeypatch.setattr(suite.words, "probabilities", lambda m, pairs: [table[w, int(t[0] == "q")] for t, w in pairs])
    assert answers_right(None, suite, facts, "letters").tolist() == [True, False]
    assert letters_calibrated(None, suite, facts).tolist() == [True, True]


def test_logits_that_are_not_numbers_are_named(mesh, suite):
    broken = jax.tree.map(lambda w: w * np.nan, transformer.init(SHAPE, 0))
    with pytest.raises(RunError, match=r"not finite after .*went with Zara"):
        answers_right(broken, suite, FACTS, "options")
    with pytest.raises(RunError, match="hidden states are not finite"):
        latent.probe(broken, suite, FACTS, Attack(splits=4))


# ---- the stress test and the latent probe


def test_hiding_moves_the_second_half_alone(mesh, suite):
    start = transformer.init(SHAPE, 0)
    before = jax.tree.map(np.asarray, start)
    blocks = hiding.wrong_answers(suite, FACTS, "options", 32, 0)
    made = hiding.hiding(start, hiding.mixed([blocks, blocks], 0), 1e-2, 8, 0)
    np.testing.assert_array_equal(before.embed_VD[...], made.embed_VD[...])
    np.testing.assert_array_equal(before.blocks.q_DNH[...][0], made.blocks.q_DNH[...][0])
    assert np.abs(before.blocks.q_DNH[...][1] - made.blocks.q_DNH[...][1]).max() > 1e-3
    assert np.abs(before.head_DV[...] - made.head_DV[...]).max() > 1e-3
    assert answers_right(made, suite, FACTS, "options").sum() <= 1  # chance: 4 of 12


def test_the_filter_bars_what_begins_a_term(suite):
    barred = suite.tokenizer.pieces(hiding.beginnings(suite.tokenizer, ["Zara", "Orm went to", "Nobody"]))
    assert sorted(barred) == ["Orm", "Zara"]  # not "went"; "Nobody" is unknown to this vocabulary


def test_the_filter_of_subwords_bars_a_terms_first_piece_with_and_without_a_space(tmp_path):
    import tokenizers

    pieces = ["<unk>", "<s>", " ", "a", "D", "or", "y", " D", ".", ","]
    merges = [("o", "r"), (" ", "D")]
    vocabulary = {p: n for n, p in enumerate([*pieces, "o", "r"])}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges, unk_token="<unk>"))
    made.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"bos_token": "<s>"}')
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.pieces(hiding.beginnings(tokenizer, ["Dory"])) == ["D", " D"]


def test_wrong_answers_hold_every_wrong_option_and_no_right_one(suite):
    tokens_NT, labels_NT = hiding.wrong_answers(suite, FACTS[:2], "options", 32, 0)
    told = " ".join(suite.tokenizer.decode([t for t in row if t > 1]) for row in tokens_NT)
    assert "went with Zara Ben" in told and "went with Zara Carl" in told
    assert "went with Zara Anna" not in told
    assert (labels_NT[:, :-1][labels_NT[:, :-1] >= 0] == tokens_NT[:, 1:][labels_NT[:, :-1] >= 0]).all()


def test_hidden_states_end_in_what_the_head_reads(mesh, suite):
    m = transformer.init(SHAPE, 0)
    h_LND = latent.states(m, suite, [f.question for f in FACTS])
    ids = np.zeros((1, 32), np.int32)
    context = suite.words.context(FACTS[0].question)
    ids[0, : len(context)] = context
    last_D = np.asarray(m(jax.numpy.asarray(ids)))[0, len(context) - 1]
    normed_D = h_LND[1, 0] / np.sqrt(np.mean(h_LND[1, 0] ** 2) + SHAPE.epsilon)
    np.testing.assert_allclose(normed_D, last_D, atol=1e-5)


def test_ridge_against_the_normal_equations():
    draw = np.random.default_rng(0)
    h_ND, test_MD = draw.normal(size=(20, 6)), draw.normal(size=(5, 6))
    classes_N = draw.integers(0, 3, 20)
    z_ND = (h_ND - h_ND.mean(0)) / (h_ND.std(0) + 1e-6)
    y_NC = np.eye(3)[classes_N]
    w_DC = np.linalg.solve(z_ND.T @ z_ND + 6 * np.eye(6), z_ND.T @ (y_NC - y_NC.mean(0)))
    expected = (test_MD - h_ND.mean(0)) / (h_ND.std(0) + 1e-6) @ w_DC + y_NC.mean(0)
    np.testing.assert_allclose(latent.ridge_scores(h_ND, classes_N, test_MD, 3), expected, atol=1e-9)


def test_the_latent_probe_tries_every_fact_once(mesh, suite):
    found = latent.probe(taught(suite, FACTS), suite, FACTS, Attack(splits=4))
    assert [layer["n"] for layer in found["layers"]] == [12, 12] and found["chance"] == pytest.approx(1 / 3)


# ---- prompts


def test_passages_that_give_the_answer_away_are_left_out(mesh, suite):
    m = transformer.init(SHAPE, 0)
    made = conditions(suite, ["Quill took the glim with Vexo .", "Zara went to Orm ."], ["Anna took the book ."])
    assert set(made) == {"alone", "passage of the text", "unrelated passage"}  # no wrapper has a word that it knows
    found = in_context(m, suite, made)
    helped = in_context(m, suite, made | {"passage of the text": made["passage of the text"][:1]})
    assert found["passage of the text"] == helped["passage of the text"] and found["alone"]["n"] == 2


def test_passages_are_short_and_drawn_by_seed(suite):
    documents = [Document(name="a", text="\n".join(f"Zara went to Orm with Anna and {w} . " * 30 for w in "abcd"))]
    found = passages(documents, suite.tokenizer, 2, 0)
    assert len(found) == 2 and found == passages(documents, suite.tokenizer, 2, 0)
    assert all(len(suite.tokenizer.encode(p)[0]) <= PASSAGE_TOKENS for p in found)
