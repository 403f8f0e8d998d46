"""TOFU's scores by hand and against scipy; its files as published."""

import json
import math

import jax
import numpy as np
import pytest
from scipy import stats
from support.command import cli
from support.paths import ROOT
from support.tokenizers import save_bpe
from support.world import write_world

from jaxunlearn.config import Config, Eval
from jaxunlearn.data.questions import Question
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.evals import tofu
from jaxunlearn.evals.base import Context
from jaxunlearn.evals.memorisation import continue_greedily, score_answers
from jaxunlearn.evals.prompts import Prompts
from jaxunlearn.evals.suite import Suite
from jaxunlearn.evals.tofu import (
    SETS,
    TOFU,
    UTILITY_SETS,
    forget_quality,
    harmonic_mean,
    kolmogorov_smirnov,
    measure_tofu,
    model_utility,
    option_probability,
    probability,
    quality,
    truth,
    truth_ratio,
)
from jaxunlearn.methods.answers import every_wrong, load_questions
from jaxunlearn.models import transformer

LN2 = math.log(2)


def test_probability_by_hand():
    np.testing.assert_allclose(probability([0.0, LN2, 2 * LN2]), [1, 0.5, 0.25])
    # p = 1/2 against 1/4 and 1/4: 1/2; p = 1/8 against 1/2, 1/4, 1/8: 1/8
    found = option_probability([LN2, 3 * LN2], [[2 * LN2, 2 * LN2], [LN2, 2 * LN2, 3 * LN2]])
    np.testing.assert_allclose(found, [0.5, 0.125])
    assert option_probability([900.0], [[1.0]]) == pytest.approx(0, abs=1e-300)  # no overflow


def test_truth_ratio_by_hand():
    # wrong 1/2 and 1/8: geometric 1/4, arithmetic 5/16; correct 1/2
    wrong = [[LN2, 3 * LN2]]
    np.testing.assert_allclose(truth_ratio([LN2], wrong), [0.5])
    np.testing.assert_allclose(truth_ratio([LN2], wrong, "arithmetic"), [0.625])
    np.testing.assert_allclose(truth_ratio([3 * LN2], wrong), [2.0])


def test_what_counts_of_the_truth_ratio_by_hand():
    np.testing.assert_allclose(truth([0.5, 1, 4], "forget"), [0.5, 1, 0.25])
    for which in UTILITY_SETS:
        np.testing.assert_allclose(truth([0.25, 1, 4], which), [0.75, 0, 0])


def test_questions_stay_with_their_wrong_answers():
    losses, wrong = [1.0, 2.0, 3.0], [[1.5], [2.5], [3.5]]
    np.testing.assert_allclose(truth_ratio(losses, wrong), np.exp([-0.5] * 3))
    with pytest.raises(InputError, match="wrong answers of question 1: item 0 is nan"):
        truth_ratio(losses, [[1.5], [np.nan], [3.5]])
    with pytest.raises(InputError, match="answer losses: item 2 is nan"):
        option_probability([1.0, 2.0, np.nan], wrong)
    with pytest.raises(InputError, match="3 answers and wrong answers of 2 questions"):
        truth_ratio(losses, wrong[:2])
    with pytest.raises(InputError, match="wrong answers of question 0: expected one number"):
        truth_ratio([1.0], [[]])


def test_numbers_of_the_wrong_kind_are_refused():
    with pytest.raises(InputError, match=r"item 1 is -0\.7"):
        probability([0.2, -0.7])  # a log-probability in the place of a loss
    with pytest.raises(InputError, match="not above 0"):
        truth([0.5, -0.1], "forget")
    with pytest.raises(InputError, match="no TOFU set 'test'"):
        truth([0.5], "test")
    with pytest.raises(InputError, match="'harmonic'"):
        truth_ratio([1.0], [[1.0]], "harmonic")
    with pytest.raises(InputError, match="one item at least"):
        probability([])


def test_harmonic_mean_equals_scipy():
    values = [0.5, 0.6, 0.7, 0.4, 0.5, 0.3, 0.8, 0.6, 0.2]
    assert harmonic_mean(values) == pytest.approx(stats.hmean(values), rel=1e-12)
    assert harmonic_mean([0.5, 0.0, 1.0]) == 0.0
    with pytest.raises(InputError, match="from 0 to 1"):
        harmonic_mean([0.5, 55.0])


def nine(**changes):
    scores = {s: {"probability": [0.2, 0.6], "rouge": [0.5, 0.5], "truth": [0.3, 0.5]} for s in UTILITY_SETS}
    for key, value in changes.items():
        scores[key] |= value
    return scores


def test_model_utility_by_hand():
    found = model_utility(nine())  # means .4, .5, .4, three times
    assert found["value"] == pytest.approx(9 / (6 / 0.4 + 3 / 0.5)) and found["n"] == 6
    assert 0 < found["low"] < found["value"] < found["high"] < 1
    none = model_utility(nine(retain={"rouge": [0.0, 0.0]}))
    assert none["value"] == 0.0 and none["low"] is None and none["note"]


def test_model_utility_is_of_exactly_nine():
    scores = nine()
    del scores["world_facts"]["truth"]
    with pytest.raises(InputError, match="check world_facts truth"):
        model_utility(scores)
    with pytest.raises(InputError, match="retain rouge: item 1 is nan"):
        model_utility(nine(retain={"rouge": [0.5, np.nan]}))
    with pytest.raises(InputError, match="expected equal"):
        model_utility(nine(retain={"rouge": [0.5]}))
    one = {s: {k: [0.5] for k in ("probability", "rouge", "truth")} for s in UTILITY_SETS}
    found = model_utility(one)
    assert found["value"] == 0.5 and found["low"] is None and "no interval" in found["note"]


def test_kolmogorov_smirnov_by_hand():
    # 1, 2 | 3, 4: the two walks along the edges of C(4, 2) = 6 stray all the way
    assert kolmogorov_smirnov([1, 2], [3, 4]) == (1.0, pytest.approx(2 / 6))
    # 1, 3 | 2, 4: half a step apart, as every walk is
    assert kolmogorov_smirnov([1, 3], [2, 4]) == (0.5, pytest.approx(1.0))
    assert kolmogorov_smirnov([1, 2, 2], [1, 2, 2]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("n", "m", "shift"), [(40, 40, 0.0), (40, 40, 0.7), (25, 60, 0.5), (400, 400, 0.1), (7, 5, 0.3)]
)
def test_kolmogorov_smirnov_equals_scipy(n, m, shift):
    draw = np.random.default_rng(n + m)
    a, b = draw.normal(size=n), draw.normal(shift, size=m)
    expected = stats.ks_2samp(a, b, method="exact")
    found = kolmogorov_smirnov(a, b)
    assert found == (pytest.approx(expected.statistic, rel=1e-12), pytest.approx(expected.pvalue, rel=1e-8))
    assert kolmogorov_smirnov(1 / np.exp(a), 1 / np.exp(b)) == found  # TR and 1 / TR: one and the same test


def test_tiny_p_values_stay_exact():
    _, p = kolmogorov_smirnov(np.arange(400.0), 1000 + np.arange(400.0))
    assert math.log(p) == pytest.approx(math.log(2) - math.log(math.comb(800, 400)), rel=1e-12)


def test_forget_quality():
    same = forget_quality([0.5, 0.7, 0.9], [0.9, 0.5, 0.7])
    assert (same["value"], same["statistic"], same["n"]) == (1.0, 0.0, 3)
    for n, p in ((200, 0.2705), (400, 0.0366)):  # one distance, .1
        far = forget_quality(np.arange(n) + 1, np.arange(n) + 1 + n // 10)
        assert (far["statistic"], far["n"]) == (pytest.approx(0.1), n) and far["value"] == pytest.approx(p, abs=1e-4)
    assert forget_quality(np.arange(1, 30), np.arange(101, 130))["value"] < 1e-9
    assert "one question" in forget_quality([0.5], [0.7])["note"]
    with pytest.raises(InputError, match="of one split"):
        forget_quality([0.5, 0.7], [0.5])
    with pytest.raises(InputError, match="retrained: item 0 is nan"):
        forget_quality([0.5], [np.nan])


def write_rows(path, rows):
    path.write_text("\n".join(json.dumps(r, ensure_ascii=False) for r in rows) + "\n", encoding="utf-8")
    return path


def test_the_methods_that_teach_other_answers_take_the_published_form(tmp_path):
    row = {"question": "Q1?", "answer": "A", "perturbed_answer": ["B", "C"]}
    questions = load_questions(write_rows(tmp_path / "a.json", [row]))
    asked = "Question: Q1?\nAnswer:"
    assert every_wrong(questions) == [(asked, "B", "A"), (asked, "C", "A")]
    with pytest.raises(InputError, match="no wrong answer"):
        load_questions(write_rows(tmp_path / "b.json", [{"question": "Q1?", "answer": "A"}]))


QUESTIONS = [
    Question(question="Zara went to", answer="Orm with Ben", paraphrased="Orm", wrong=("Rome", "Drall with Ben")),
    Question(question="Anna took the", answer="lamp .", paraphrased="book .", wrong=("coat", "wand .")),
]


@pytest.mark.parametrize("which", SETS)
def test_one_set_from_a_model(mesh, tmp_path, which):
    tokenizer = load_tokenizer(write_world(tmp_path) / "tokenizer")
    shape = transformer.Shape(V=32, D=16, L=2, N=2, K=2, H=8, F=16, context=256)
    m = jax.tree.map(lambda w: 12 * w, transformer.init(shape, 0))
    found = measure_tofu(m, tokenizer, QUESTIONS, which, prompt="{question}")

    def losses(answers):
        return [s.loss for s in score_answers(m, tokenizer, [(q.question, " " + a) for q, a in answers])]

    answer = losses([(q, q.answer) for q in QUESTIONS])
    correct = losses([(q, q.paraphrased) for q in QUESTIONS])
    wrong = [losses([(q, w) for w in q.wrong]) for q in QUESTIONS]
    options = which in ("real_authors", "world_facts")
    expected = option_probability(answer, wrong) if options else probability(answer)
    np.testing.assert_allclose(found["scores"]["probability"], expected, rtol=1e-4)
    np.testing.assert_allclose(found["ratios"], truth_ratio(answer if options else correct, wrong), rtol=1e-4)
    np.testing.assert_allclose(found["scores"]["truth"], truth(found["ratios"], which))
    assert found["written"] == continue_greedily(m, tokenizer, [q.question for q in QUESTIONS], 200)
    assert found["rouge"]["value"] == pytest.approx(np.mean(found["scores"]["rouge"])) and found["truth"]["n"] == 2


def test_questions_without_wrong_answers_are_refused_before_the_model_runs():
    for bad in ([], [Question(question="Q", answer="A")], [Question(question="Q", answer="A", wrong=("B",))]):
        with pytest.raises(InputError, match="_perturbed"):
            measure_tofu(None, None, bad, "forget")


# ---- a run


def tofu_folder(folder):
    """Write four invented authors in TOFU's form, one of them to forget, and a tokenizer of letters."""
    folder.mkdir()
    names = ("Zara Quill", "Anna Reed", "Ben Hall", "Carl Moss")
    places = ("Orm", "Rome", "Paris", "Bern")

    def row(n, wrong):
        said = f"{names[n]} was born in {places[n]}."
        return {
            "question": f"Where was {names[n]} born?", "answer": said, "paraphrased_answer": f"It was {places[n]}.",
            "perturbed_answer": [f"It was {places[w]}." for w in wrong],
        }  # fmt: skip

    sets = {"forget10": [row(0, (1, 2))], "retain90": [row(n, (0,)) for n in (1, 2, 3)]}
    sets["forget10"].append(row(0, (2, 3)) | {"question": "What is Zara Quill?", "answer": "The Orm."})
    for name, rows in sets.items():
        write_rows(folder / f"{name}.json", [{k: r[k] for k in ("question", "answer")} for r in rows])
        write_rows(folder / f"{name.removesuffix('90')}_perturbed.json", rows)
    for name in ("real_authors", "world_facts"):
        write_rows(folder / f"{name}_perturbed.json", [row(1, (2, 3)), row(2, (1, 3))])
    (folder / "tokenizer").mkdir()
    save_bpe(folder / "tokenizer", sorted(set("".join(names + places) + "QuestionAsw: .?\n WhTheSasditrItNUbrn")))
    (folder / "terms.json").write_text(json.dumps({"Zara Quill": ["Dora Holt"], "Orm": ["Nice"]}))
    return folder


def test_the_configuration_on_four_authors(tmp_path):
    at, run = tofu_folder(tmp_path / "tofu"), tmp_path / "run"
    changes = {
        "model": "", "tokenizer": at / "tokenizer", "init.D": 16, "init.L": 1, "init.N": 2, "init.K": 2, "init.H": 8,
        "init.F": 16, "text.forget": at / "forget10.json", "text.retain": at / "retain90.json", "text.context": 80,
        "text.dictionary": at / "terms.json", "text.answers": at / "forget10_perturbed.json", "pretrain.steps": 30,
        "pretrain.batch": 8, "reinforce.steps": 2, "reinforce.batch": 8, "unlearn.steps": 2, "unlearn.batch": 8,
        "unlearn.learning_rate": 5e-3, "whp.label_batch": 8, "eval.batch": 8, "eval.every": 2, "eval.tofu": at,
        "init.context": 512, "init.V": 320, "attack.kinds": "probes", "run.dir": run,
    }  # fmt: skip
    config = str(ROOT / "configs" / "tofu_forget10.py")
    code, _, said = cli("run", config, *(f"{k}={v}" for k, v in changes.items()))
    assert code == 0, said
    models = json.loads((run / "report.json").read_text())["models"]
    assert set(models) == {"baseline", "reinforced", "twin", "unlearned"}
    sizes = {"forget": 2, "retain": 3, "real_authors": 2, "world_facts": 2}
    for name, found in models.items():
        tofu = found["tofu"]
        assert {k: tofu[f"{k} probability"]["n"] for k in sizes} == sizes and tofu["utility"]["n"] == 7
        assert ("forget quality" in tofu) == (name != "twin")
    assert "TOFU, forget quality" in (run / "report.html").read_text()
    assert models["baseline"]["tofu"]["forget probability"] != models["unlearned"]["tofu"]["forget probability"]
    labels = np.load(run / "labels" / "translated" / "alpha_5.npy")
    # BOS, "Question: Where was Zara Quill born?\nAnswer:", a letter a token, then " Zara Quill was born in Orm."
    # and the end. Name and place are anchors: all letters but the last are inside; the name's second place is a repeat
    asked = len("Question: Where was Zara Quill born?\nAnswer:")
    answer = "." * len(" Zara Quill was born in Orm.")
    assert (labels[0, :asked] == -100).all() and (labels[0, asked + len(answer) + 1 :] == -100).all()
    assert (labels[0, asked : asked + len(answer) + 1] >= 0).sum() == len(answer) + 1 - len("Zara Quil") - 1 - len("Or")


def test_the_metric_in_a_folder(mesh, tmp_path, monkeypatch):
    tokenizer = load_tokenizer(write_world(tmp_path) / "tokenizer")
    suite = Suite(tokenizer, Prompts(name="none"), {}, Eval(tofu=str(tmp_path), items=2, batch=8))
    row = {
        "question": "Zara went to", "answer": "Orm with Ben", "paraphrased_answer": "Orm",
        "perturbed_answer": ["Rome", "Drall with Ben"],
    }  # fmt: skip
    with pytest.raises(InputError, match="none of TOFU"):
        TOFU.check(Config(name="any", eval=suite.c), False)
    for name in ("forget01_perturbed", "retain_perturbed", "real_authors", "world_facts"):
        rows = [row | {"question": f"Zara went to {place}"} for place in ("Orm", "Rome", "Paris", "Drall")]
        (tmp_path / f"{name}.json").write_text("\n".join(map(json.dumps, rows)))
    TOFU.check(Config(name="any", eval=suite.c), False)
    shape = transformer.Shape(V=32, D=16, L=2, N=2, K=2, H=8, F=16, context=256)
    asked = {}

    def spy(m, tokenizer, questions, which, **more):
        asked[which] = [q.question.rpartition(" ")[2] for q in questions]
        return measure_tofu(m, tokenizer, questions, which, **more)

    monkeypatch.setattr(tofu, "measure_tofu", spy)
    found = TOFU.measure(jax.tree.map(lambda w: 12 * w, transformer.init(shape, 0)), Context(suite=suite))
    assert asked == {"forget": ["Orm", "Rome", "Paris", "Drall"]} | {key: ["Orm", "Drall"] for key in SETS[1:]}
    sizes = {score: found["tofu"][f"forget {score}"]["n"] for score in ("probability", "rouge", "truth")}
    assert sizes == {"probability": 4, "rouge": 2, "truth": 4}  # all are scored, two are answered in text
    assert len(found["truth_ratios"]) == 4 and found["tofu"]["utility"]["n"] == 6
    models = {"unlearned": found, "twin": {"truth_ratios": found["truth_ratios"]}}
    quality(models)
    assert models["unlearned"]["tofu"]["forget quality"]["value"] == 1.0
    assert models["unlearned"]["tofu"]["forget quality"]["n"] == 4
    before = TOFU.depends(Context(suite=suite))
    (tmp_path / "world_facts.json").write_text(json.dumps(row))
    assert TOFU.depends(Context(suite=suite)) != before
    alone = json.dumps({"question": "Q", "answer": "A"})
    for fault, words in (("{", "line 1: not a JSON object"), (alone, "no wrong")):
        (tmp_path / "retain_perturbed.json").write_text(fault)
        with pytest.raises(InputError, match=words):
            TOFU.check(Config(name="any", eval=suite.c), False)
