"""Continuations against whole logits, cuts by hand; benchmarks read, asked as the harness asks them, and scored."""

import json

import jax
import numpy as np
import pytest
from support.mesh import mesh_of
from support.world import write_world

from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.evals.benchmarks import guessing, measure_benchmark, read_benchmarks
from jaxunlearn.evals.continuations import encode_pair, score_continuations
from jaxunlearn.models import transformer
from jaxunlearn.parallel.sharding import put

SHAPE = transformer.Shape(V=32, D=16, L=2, N=2, K=2, H=8, F=16, context=64)
PAIRS = [([1, 5, 6], [7, 8]), ([1], [9]), ([1, 5, 6, 7, 8, 9, 10], [11, 12, 13]), ([1, 5, 6], [7, 8])]


def sharp():
    return jax.tree.map(lambda w: 12 * w, transformer.init(SHAPE, 0))


def by_hand(m, context, continuation):
    ids = np.array([*context, *continuation])[-SHAPE.context - 1 :]
    tokens = np.zeros((8, 64), np.int32)
    tokens[0, : len(ids) - 1] = ids[:-1]
    logits = np.asarray(jax.jit(lambda m, t: m.logits(m(t)))(m, put(tokens, "BT")), np.float64)[0]
    logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    at = np.arange(len(ids) - 1 - len(continuation), len(ids) - 1)
    return logp[at, continuation].sum(), bool((logp[at].argmax(-1) == continuation).all())


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 2)])
def test_scores_equal_whole_logits_on_every_mesh(sizes):
    with jax.set_mesh(mesh_of(sizes)):
        m, told = sharp(), []
        found = score_continuations(m, PAIRS, 2, lambda n, score: told.append(n))
        for pair, score in zip(PAIRS, found, strict=True):
            logp, greedy = by_hand(m, *pair)
            assert score == (pytest.approx(logp, abs=1e-4), greedy)
    assert sorted(told) == [0, 1, 2, 3]


def test_what_greedy_decoding_writes_is_greedy(mesh):
    m = sharp()
    logits = np.asarray(m.logits(m(put(np.array([[1, 5, 6]], np.int32), "BT"))))
    best = int(logits[0, -1].argmax())
    found = score_continuations(m, [([1, 5, 6], [best]), ([1, 5, 6], [(best + 1) % 32])])
    assert [s.greedy for s in found] == [True, False]


def test_a_context_that_is_too_long_loses_its_beginning(mesh):
    m = sharp()
    long = [3 + n % 20 for n in range(100)]
    kept = score_continuations(m, [(long, [7]), (long[-64:], [7]), (long[-2:], [7])])
    assert kept[0] == kept[1] != kept[2]
    with pytest.raises(InputError, match="1 to 64 of continuation"):
        score_continuations(m, [([1], [3] * 65)])
    with pytest.raises(InputError, match="pair 1 has a context of 0"):
        score_continuations(m, [([1], [3]), ([], [3])])


def test_nan_is_named_and_not_averaged(mesh):
    with pytest.raises(RunError, match="log-probability is nan"):
        score_continuations(jax.tree.map(lambda w: w * np.nan, sharp()), PAIRS)


def test_pairs_are_cut_where_the_context_ends(tmp_path):
    tokenizer = load_tokenizer(write_world(tmp_path) / "tokenizer")
    zara, orm = (int(tokenizer.encode(w)[0][0]) for w in ("Zara", "Orm"))
    assert encode_pair(tokenizer, "Zara", " Orm") == ([1, zara], [orm])
    assert encode_pair(tokenizer, "Zara ", "Orm") == ([1, zara], [orm])
    assert encode_pair(tokenizer, "", "Orm", bos=False) == ([1], [orm])
    assert encode_pair(tokenizer, "Zara", " Orm", bos=False) == ([zara], [orm])
    with pytest.raises(InputError, match="no tokens"):
        encode_pair(tokenizer, "Zara", " ")


def test_a_vocabulary_that_merges_over_the_cut_still_scores_something(tmp_path):
    import tokenizers

    made = tokenizers.Tokenizer(
        tokenizers.models.BPE(
            {"<s>": 0, "a": 1, " ": 2, "b": 3, "c": 4, "a ": 5, "a b": 6}, [("a", " "), ("a ", "b")], fuse_unk=False
        )
    )
    made.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"bos_token": "<s>"}')
    tokenizer = load_tokenizer(tmp_path)
    assert encode_pair(tokenizer, "ca", " b") == ([0, 4], [6])  # "c", "a" alone; "c", "a b" together
    assert encode_pair(tokenizer, "a", " b", bos=False) == ([0], [6])


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
