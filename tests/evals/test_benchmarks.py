"""Benchmarks read, asked as the harness asks them, and scored."""

import json

import numpy as np
import pytest
from support.logits import by_hand, sharp
from support.world import write_world

from jaxunlearn.config import Config, Eval
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.estimates import rate_estimate
from jaxunlearn.evals import benchmarks
from jaxunlearn.evals.base import Context
from jaxunlearn.evals.benchmarks import BENCHMARKS, asked, guessing, measure_benchmark, pooled, read_benchmarks
from jaxunlearn.evals.continuations import encode_pair
from jaxunlearn.evals.prompts import Prompts
from jaxunlearn.evals.suite import Suite

LINES = {
    "arc_easy": {"query": "Why?", "choices": ["a", "b", "c"], "gold": 2},
    "piqa": {"query": "Question: dresser\n", "choices": ["a", "b"], "gold": 1},
    "boolq": {"query": "Passage: P\nQuestion: is it?", "choices": ["no", "yes"], "gold": 1},
    "openbook_qa": {"query": "Fog is around", "choices": ["a", "b"], "gold": 0},
    "winogrande": {"context_options": ["so Sarah", "so Maria"], "continuation": "won.", "gold": 1},
    "hellaswag": {
        "activity_label": "Pole vault", "ctx_a": "Run. [title] Go", "ctx_b": "a few women",
        "endings": ["go [x] down", "[step] b"], "label": 1,
    },
}  # fmt: skip
ASKED = {
    "arc_easy": [("Question: Why?\nAnswer:", option) for option in (" a", " b", " c")],
    "piqa": [("Question: dresser\nAnswer:", " a"), ("Question: dresser\nAnswer:", " b")],
    "boolq": [("P\nQuestion: is it?\nAnswer:", " no"), ("P\nQuestion: is it?\nAnswer:", " yes")],
    "openbook_qa": [("Fog is around", " a"), ("Fog is around", " b")],
    "winogrande": [("so Sarah", " won."), ("so Maria", " won.")],
    # the second ending's mark leaves its space, as in the harness
    "hellaswag": [("Pole vault: Run.. Go A few women", " go down"), ("Pole vault: Run.. Go A few women", "  b")],
}  # fmt: skip
TFDS = {
    "arc_easy": {
        "question": b"Why?", "choices": {"text": [b"a", b"b", b"c"], "label": np.array([0, 1, 2])}, "answerKey": 2,
    },
    "piqa": {"goal": b"dresser", "sol1": b"a", "sol2": b"b", "label": 1, "id": b""},
    "boolq": {"passage": b"P", "question": b"is it", "answer": True, "title": b""},
    "openbook_qa": {
        "question": {"stem": b"Fog is around", **{f"choice_{x}": x.lower().encode() for x in "ABCD"}},
        "fact1": b"", "answerKey": 0,
    },
    "winogrande": {"sentence": b"so _ won.", "option1": b"Sarah", "option2": b"Maria", "label": 1},
    "hellaswag": {
        "activity_label": b"Pole vault", "context": b"Run. [title] Go A few women",
        "endings": [b"go [x] down", b"[step] b"], "label": 1,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", LINES)
def test_questions_are_asked_as_the_harness_asks_them(tmp_path, name, monkeypatch):
    (tmp_path / f"{name}.jsonl").write_text(json.dumps(LINES[name]) + "\n")
    (benchmark,) = read_benchmarks([str(tmp_path)])
    assert benchmark.name == name and list(benchmark.items[0].pairs) == ASKED[name]
    assert benchmark.items[0].gold == LINES[name].get("gold", 1)
    monkeypatch.setattr("jaxunlearn.evals.benchmarks.read_rows", lambda source: [TFDS[name]])
    (theirs,) = read_benchmarks([f"tfds:{name}/test"])
    assert list(theirs.items[0].pairs)[: len(ASKED[name])] == ASKED[name]
    assert theirs.items[0].gold == benchmark.items[0].gold


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"query": "Q"', "line 1: not a JSON object"),
        ('{"query": "Q"}', "expected query, choices and gold"),
        ('{"query": "Q", "choices": ["a"], "gold": 0}', "two options"),
        ('{"query": "Q", "choices": ["a", "b"], "gold": 2}', "the answer 2 of 2"),
        ('{"query": "Q", "choices": ["a", " "], "gold": 0}', "an option is empty"),
        ('{"query": 1, "choices": ["a", "b"], "gold": 0}', "line 1"),
        ("[]", "got list"),
        ("", "holds no question"),
    ],
)
def test_bad_files_are_named(tmp_path, line, fault):
    (tmp_path / "bad.jsonl").write_text(line)
    with pytest.raises(InputError, match=fault):
        read_benchmarks([str(tmp_path / "bad.jsonl")])


def test_missing_and_doubled_files_are_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_benchmarks([str(tmp_path / "none.jsonl")])
    with pytest.raises(InputError, match=r"no \.jsonl file"):
        read_benchmarks([str(tmp_path)])
    (tmp_path / "a.jsonl").write_text(json.dumps(LINES["boolq"]))
    with pytest.raises(InputError, match="twice"):
        read_benchmarks([str(tmp_path), str(tmp_path / "a.jsonl")])


def test_accuracy_of_a_model_by_its_own_scores(mesh, tmp_path):
    tokenizer = load_tokenizer(write_world(tmp_path) / "tokenizer")
    m = sharp()
    rows = [{"query": q, "choices": ["Orm", "Rome with Ben"], "gold": 0} for q in ("Zara went to", "Ben took", "Anna")]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (benchmark,) = read_benchmarks([str(tmp_path / "own.jsonl")])
    found = measure_benchmark(m, tokenizer, benchmark)
    plain, normed = [], []
    for row in rows:
        logp = [by_hand(m, *encode_pair(tokenizer, row["query"], " " + c))[0] for c in row["choices"]]
        plain.append(int(np.argmax(logp) == 0))
        normed.append(int(np.argmax([logp[0] / 3, logp[1] / 13]) == 0))
    assert found["right"] == plain and found["acc"]["value"] == pytest.approx(np.mean(plain))
    assert found["acc_norm"]["value"] == pytest.approx(np.mean(normed)) and found["acc"]["n"] == 3
    assert guessing(benchmark) == 0.5


def test_a_part_of_a_file_is_spread_over_it(tmp_path):
    (tmp_path / "many.jsonl").write_text(
        "\n".join(json.dumps({"query": f"{n}", "choices": ["a", "b"], "gold": 0}) for n in range(101))
    )
    (benchmark,) = read_benchmarks([str(tmp_path / "many.jsonl")], items=3)
    assert [i.pairs[0][0] for i in benchmark.items] == ["0", "50", "100"]


def test_the_seven_of_the_paper_are_read(shared):
    found = {b.name: len(b.items) for b in read_benchmarks([str(shared / "data" / "benchmarks")])}
    assert found == {
        "arc_challenge": 1172, "arc_easy": 2376, "boolq": 3270, "hellaswag_val_1000": 1000, "openbook_qa": 500,
        "piqa": 1838, "winogrande": 1267,
    }  # fmt: skip


def test_the_metric_carries_what_guessing_gives_and_hangs_on_the_questions(mesh, tmp_path, monkeypatch):
    tokenizer, file = load_tokenizer(write_world(tmp_path) / "tokenizer"), tmp_path / "places.jsonl"
    rows = [{"query": "Zara went to", "choices": ["Orm", "Rome", "Paris"], "gold": n % 3} for n in range(6)]
    file.write_text("\n".join(map(json.dumps, rows)))
    context = Context(suite=Suite(tokenizer, Prompts(name="none"), {}, Eval(batch=8, benchmarks=(str(file),))))
    found = BENCHMARKS.measure(sharp(), context)
    assert found["benchmarks"]["places"]["guessing"] == pytest.approx(1 / 3)
    assert found["benchmarks"]["places"]["value"] == pytest.approx(1 / 3)  # one answer to one question asked six times
    assert sum(found["right"]["places"]) == 2
    before = BENCHMARKS.depends(context)
    with monkeypatch.context() as m:  # read for one model, the files are not read again for the next
        m.setattr(benchmarks, "read_benchmarks", None)
        assert asked(context.suite.c)[0].name == "places"
    file.write_text("\n".join(map(json.dumps, rows[:5])))
    assert BENCHMARKS.depends(context) != before


def test_benchmarks_pool_their_questions():
    of = {"a": {"value": 0.5, "n": 10}, "b": {"value": 1 / 3, "n": 30}}  # 5 and 10 right
    assert pooled(of) == rate_estimate(15, 40)


def test_faulty_files_are_refused_before_any_work(tmp_path):
    with pytest.raises(InputError, match="missing"):
        BENCHMARKS.check(Config(name="any", eval=Eval(benchmarks=(str(tmp_path / "missing.jsonl"),))), False)
