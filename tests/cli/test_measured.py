"""`evaluate --model`: what cannot be measured is refused before the weights are read; tasks, texts and JSON."""

import json

import pytest
from support.model_files import write_model

from jaxunlearn import cli
from jaxunlearn.cli import measured
from jaxunlearn.report.schema import Report
from jaxunlearn.sealed import intact

PROMPTS = {
    "name": "letters", "track": [{"prompt": "a b", "words": ["c"]}],
    "probability": [{"prompt": "a b", "specific": ["c"], "generic": ["a"], "position": "out", "split": "report"}],
}  # fmt: skip


@pytest.fixture
def model(tmp_path):
    """A tiny random model whose words are a, b and c; prompts and a text of these words beside it."""
    (tmp_path / "prompts.json").write_text(json.dumps(PROMPTS))
    (tmp_path / "letters.txt").write_text("a b c c b a " * 30)
    return write_model(tmp_path / "some_model")


def evaluate(capsys, *arguments):
    """Return (exit code, standard output, standard error) of the command in this process."""
    code = cli.main(["evaluate", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_model_that_no_run_made_is_measured(model, tmp_path, capsys):
    text, questions = tmp_path / "letters.txt", tmp_path / "abc.jsonl"
    rows = [{"query": f"a {w}", "choices": ["b", "c"], "gold": n % 2} for n, w in enumerate("abc")]
    questions.write_text("\n".join(map(json.dumps, rows)))
    asked = ["--model", model, "--prompts", tmp_path / "prompts.json", "--retain", text, "--benchmarks", questions]
    code, out, err = evaluate(capsys, *asked, "eval.items=2", "--json", "text.context=16")
    report = json.loads(out)
    assert code == 0 and intact(report) and "some_model: " in err
    Report.model_validate(report)
    found = report["models"]["some_model"]
    assert found["perplexity"]["retain"]["n"] == 12 and found["benchmarks"]["abc"]["n"] == 2  # 180 words, 15 a block
    assert 0 < found["familiarity"]["probability"]["value"] < 1 and found["track"]["a b"]["c"] > 0
    assert len(report["manifest"]["hashes"]["text.retain"]) == 64 and len(report["manifest"]["hashes"]["model"]) == 64
    assert "the first 12 of 12 blocks of 16 tokens" in report["notes"][1]
    assert report["config"]["model"] == "some_model" and report["config"]["eval"]["items"] == 2
    shown = measured.table(report).splitlines()
    assert shown[0].split() == ["some_model", "value", "95%", "interval", "items"]
    assert any(line.startswith("Benchmark accuracy, abc") for line in shown)


def test_tasks_whose_data_cannot_be_had_stop_it_before_anything_else_is_asked(model, tmp_path, capsys, monkeypatch):
    pytest.importorskip("lm_eval", reason="needs lm-evaluation-harness: pip install jaxunlearn[eval]")
    from types import SimpleNamespace

    import lm_eval
    import lm_eval.evaluator  # it binds the class when it is first imported, and would keep the one below
    import lm_eval.tasks

    def offline(*_, **__):
        raise ConnectionError("Couldn't reach 'baber/piqa' on the Hub (OfflineModeIsEnabled)\nmore")

    index = SimpleNamespace(all_tasks=["piqa"])  # reading the harness's own takes seconds
    monkeypatch.setattr(lm_eval.tasks, "TaskManager", lambda **_: index)
    monkeypatch.setattr(lm_eval, "simple_evaluate", offline, raising=False)
    monkeypatch.setattr("jaxunlearn.evals.measure.measure_all", lambda *_: pytest.fail("something else was asked"))
    asked = ["--model", model, "--prompts", tmp_path / "prompts.json", "--tasks", "piqa"]
    code, _, err = evaluate(capsys, *asked, "eval.items=2")
    assert code == 2 and "the tasks ['piqa'] cannot be run: Couldn't reach 'baber/piqa' on the Hub" in err
    code, _, err = evaluate(capsys, *asked, "piqua")
    assert code == 2 and "knows no task ['piqua']" in err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "nothing to measure: give --prompts FILE, --forget or --retain TEXT"),
        (["--prompts", "{folder}/prompts.json", "eval.split=choose"], "no prompt of the split 'choose'"),
        (["--prompts", "{folder}/odd.json"], "hold words that the tokenizer has no tokens for"),
        (["--prompts", "{folder}/empty.json"], "holds no section that is measured"),
        (["--prompts", "{folder}/none.json"], "none.json"),
        (["--forget", "{folder}/none.txt"], "none.txt does not exist"),
        (["--benchmarks", "{folder}/none.jsonl"], "none.jsonl"),
        (["--forget", "{folder}/letters.txt", "whp.alpha=3"], "whp.alpha=3: no effect on one model"),
        (["--forget", "{folder}/letters.txt", "--json", "eval.members=3"], "eval.members=3: no effect on one model"),
        (["--forget", "{folder}/letters.txt", "eval.batch=none"], "eval.batch"),
        (["--forget", "{folder}/letters.txt", "text.most_characters=1"], "its first paragraph is longer than 1 char"),
        (["--json", "universe"], "universe: with --model there is no configuration"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_the_weights_are_read(
    model, tmp_path, capsys, monkeypatch, given, said
):
    odd = PROMPTS["probability"][0] | {"specific": ["unheard"]}
    (tmp_path / "odd.json").write_text(json.dumps(PROMPTS | {"probability": [odd]}))
    (tmp_path / "empty.json").write_text(json.dumps({"name": "empty", "lexicon": {"explicit": ["a"]}}))
    monkeypatch.setattr("jaxunlearn.run.store.read_model", lambda *_: pytest.fail("the weights were read"))
    code, out, err = evaluate(capsys, "--model", model, *[g.format(folder=tmp_path) for g in given])
    assert code == 2 and said in err and not out


def test_a_vocabulary_that_does_not_fit_is_refused(tmp_path, capsys):
    folder = write_model(tmp_path / "model", ids={"far": 99})
    (tmp_path / "letters.txt").write_text("a b c")
    code, _, err = evaluate(capsys, "--model", folder, "--forget", tmp_path / "letters.txt")
    assert code == 2 and "99" in err


def test_options_of_one_model_are_refused_of_a_run(capsys):
    code, _, err = evaluate(capsys)
    assert code == 2 and "evaluate what?" in err
    code, _, err = evaluate(capsys, "universe", "--prompts", "mine.json", "--json")
    assert code == 2 and "--prompts, --json: for --model DIR alone" in err
