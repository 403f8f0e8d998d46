"""The harness over our models: equal to its own Hugging Face backend's scores, cached, the same on eight devices."""

import dataclasses
import json
import shutil
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest
from support.llamas import import_torch
from support.mesh import MESHES, mesh_of

from jaxunlearn.config import Eval
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.evals.base import Context
from jaxunlearn.evals.benchmarks import measure_benchmark, read_benchmarks
from jaxunlearn.evals.continuations import encode_pair, score_continuations
from jaxunlearn.evals.harness import answers_kept, generation, language_model, measure, run_tasks
from jaxunlearn.evals.prompts import Prompts
from jaxunlearn.evals.suite import Suite
from jaxunlearn.models import huggingface

pytest.importorskip("lm_eval", reason="needs lm-evaluation-harness: pip install jaxunlearn[eval]")

SCORED = [("Zara went to", " Orm with Ben"), ("Anna ", "went"), ("", "Carl took the lamp ."), ("the " * 90, "rune")]
ROLLED = ["Zara went to Orm .", "Anna took the book and the lamp . " * 20]
WRITTEN = [
    ("Zara went to", {"until": ["took"], "max_gen_toks": 12}),
    ("Anna", {"until": [], "max_gen_toks": 5, "do_sample": False}),
    ("the " * 90, {"until": ["."], "max_gen_toks": 8}),
]


def instances(kind, arguments):
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, a if isinstance(a, tuple) else (a,), n) for n, a in enumerate(arguments)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory, world):
    """A tiny random Llama written by transformers, with the small world's tokenizer; its folder."""
    torch = import_torch()
    import tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("llama")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        m = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=32, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, max_position_embeddings=64, bos_token_id=1, eos_token_id=2,
            )
        ).eval()  # fmt: skip
        for name, p in m.named_parameters():
            torch.nn.init.normal_(p, 1.0 if "norm" in name else 0.0, 0.3)
        m.save_pretrained(folder)
    made = tokenizers.Tokenizer.from_file(str(world / "tokenizer" / "tokenizer.json"))
    made.post_processor = tokenizers.processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    made.save(str(folder / "tokenizer.json"))
    return folder


def theirs(folder, batch=2, special=("<s>", "</s>"), longest=None):
    from lm_eval.models.huggingface import HFLM
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    bos, eos = special
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        bos_token=bos,
        eos_token=eos,
        pad_token=eos,
    )
    model = LlamaForCausalLM.from_pretrained(folder).eval()
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch, max_length=longest)


def ours(folder, batch=2, longest=0):
    return language_model(huggingface.load(folder), load_tokenizer(folder), batch, longest=longest)


def compare(mine, reference, scored, rolled, written):
    for (logp, greedy), (expected, best) in zip(
        mine.loglikelihood(instances("loglikelihood", scored)),
        reference.loglikelihood(instances("loglikelihood", scored)),
        strict=True,
    ):
        assert logp == pytest.approx(expected, abs=1e-3) and greedy == best
    requests = instances("loglikelihood_rolling", rolled)
    assert mine.loglikelihood_rolling(requests) == pytest.approx(reference.loglikelihood_rolling(requests), abs=1e-3)
    requests = instances("generate_until", written)
    assert mine.generate_until(requests) == reference.generate_until(requests)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sizes", [MESHES[0], MESHES[3]])
def test_scores_equal_the_hugging_face_backend(saved, sizes):
    with jax.set_mesh(mesh_of(sizes)):
        compare(ours(saved), theirs(saved), SCORED, ROLLED, WRITTEN)


@pytest.mark.filterwarnings("ignore")
def test_rows_of_fewer_tokens_than_the_model_s_context_score_as_in_the_hugging_face_backend(saved, mesh):
    long = "Anna took the book and the lamp with Ben . Zara went to Orm"
    scored = [*SCORED, (long, " with Ben"), (long, " . Anna took the book and the lamp .")]
    written = [(long, {"until": [], "max_gen_toks": 3})]
    compare(ours(saved, longest=10), theirs(saved, longest=10), scored, ROLLED, written)
    whole, cut = (ours(saved, longest=n).loglikelihood(instances("loglikelihood", scored[4:])) for n in (0, 10))
    assert all(abs(a[0] - b[0]) > 1e-2 for a, b in zip(whole, cut, strict=True))  # the cut is seen in the scores


def test_eval_context_bounds_the_rows_of_the_harness(saved, mesh, monkeypatch):
    from types import SimpleNamespace

    import lm_eval.evaluator  # it binds the class when it is first imported, and would keep the one below
    import lm_eval.tasks

    made = []
    monkeypatch.setattr(lm_eval.tasks, "TaskManager", lambda **_: SimpleNamespace(all_tasks=["piqa"]))
    monkeypatch.setattr(lm_eval, "simple_evaluate", lambda model, **_: made.append(model))
    for context in (10, 2048):
        suite = Suite(load_tokenizer(saved), Prompts(name="none"), {}, Eval(tasks=("piqa",), context=context))
        assert measure(huggingface.load(saved), Context(suite=suite)) == {"tasks": {}}
    assert [lm.max_length for lm in made] == [10, 64]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bos", ["<s>", None])
def test_a_tokenizer_that_adds_no_bos_scores_as_in_the_hugging_face_backend(saved, tmp_path, mesh, bos):
    folder = shutil.copytree(saved, tmp_path / "plain")
    told = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(told | {"post_processor": None}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": bos, "eos_token": "</s>"}))
    mine = ours(folder)
    assert mine.tok_encode("Anna") == load_tokenizer(folder).before([mine.tok_encode("Anna")[-1]])
    # Not ROLLED: where two windows hold the same tokens, the backend's cache gives both the score of one.
    rolled = [ROLLED[0], "Anna took the book and the lamp . " * 19 + "Zara"]
    compare(mine, theirs(folder, special=(bos, "</s>")), SCORED, rolled, WRITTEN)


@pytest.mark.filterwarnings("ignore")
def test_scores_equal_the_hugging_face_backend_on_a_real_model(shared, mesh):
    folder = shared / "models" / "tinystories-656k"
    special = ("<|start_story|>", "<|end_story|>")
    long = "Lily and Tom went to the park and saw a cat. " * 60
    compare(
        ours(folder), theirs(folder, special=special),
        [("Once upon a time", " there was a girl"), ("", " Lily went home"), (long, " Tom"), ("Tom said:\n", '"Hi"')],
        ["Once upon a time there was a dog. " * 3, long], [("Once upon a time", {"until": ["."], "max_gen_toks": 40})],
    )  # fmt: skip


@pytest.fixture
def task(tmp_path, monkeypatch):
    """A multiple-choice task over local JSON lines, as the harness has it, and the same file as a benchmark of ours."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    words = ("Orm", "Rome", "Paris", "Drall")
    rows = [
        {"query": f"{who} {did}", "choices": [words[n % 4], f"the {words[(n + 1) % 4]}"], "gold": n % 2}
        for n, (who, did) in enumerate((w, d) for w in ("Zara", "Anna", "Ben") for d in ("went to", "took", "with"))
    ]
    path = tmp_path / "places.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path, {
        "task": "places", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(path)}},
        "test_split": "test", "output_type": "multiple_choice", "doc_to_text": "{{query}}", "doc_to_choice": "choices",
        "doc_to_target": "gold", "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_a_task_of_the_harness_and_our_benchmark_agree(saved, task, mesh, tmp_path):

    path, config = task
    model, tokenizer = huggingface.load(saved), load_tokenizer(saved)
    (benchmark,) = read_benchmarks([str(path)])
    expected = measure_benchmark(model, tokenizer, benchmark)
    found = run_tasks(model, tokenizer, [config], cache=tmp_path / "answers.db")["places"]
    assert 0 < found["acc"]["value"] < 1 and found["acc"]["n"] == 9
    assert found["acc"]["value"] == pytest.approx(expected["acc"]["value"])
    assert found["acc_norm"]["value"] == pytest.approx(expected["acc_norm"]["value"])
    assert found["acc"]["low"] < found["acc"]["value"] < found["acc"]["high"]
    broken = jax.tree.map(lambda w: w * float("nan"), model)
    again = run_tasks(broken, tokenizer, [config], cache=tmp_path / "answers.db")  # asks the model nothing
    assert again["places"] == found
    assert run_tasks(model, tokenizer, [config], items=4)["places"]["acc"]["n"] == 4


def original(name, row):
    """Return a row of a local benchmark file as the data set that the harness reads has it."""
    if name.startswith("arc"):
        letters = "ABCDE"[: len(row["choices"])]
        choices = {"text": row["choices"], "label": list(letters)}
        return {"question": row["query"], "choices": choices, "answerKey": letters[row["gold"]]}
    if name == "boolq":
        passage, _, question = row["query"].removeprefix("Passage: ").rpartition("\nQuestion: ")
        return {"passage": passage, "question": question.removesuffix("?"), "label": row["gold"]}
    if name == "openbookqa":
        choices = {"text": row["choices"], "label": list("ABCD")}
        return {"question_stem": row["query"], "choices": choices, "answerKey": "ABCD"[row["gold"]]}
    if name == "piqa":
        goal = row["query"].removeprefix("Question: ").removesuffix("\n")
        return {"goal": goal, "sol1": row["choices"][0], "sol2": row["choices"][1], "label": row["gold"]}
    if name == "winogrande":
        one, other = row["context_options"]
        at = next(n for n in range(len(one)) if one[: n + 1] != other[: n + 1])
        sentence = f"{one[:at]}_ {row['continuation']}"
        return {"sentence": sentence, "option1": one[at:], "option2": other[at:], "answer": str(row["gold"] + 1)}
    return row | {"label": str(row["label"])}


SEVEN = {
    "arc_easy": "arc/arc_easy", "arc_challenge": "arc/arc_challenge", "boolq": "super_glue/boolq/default",
    "hellaswag_val_1000": "hellaswag/hellaswag", "openbook_qa": "openbookqa/openbookqa", "piqa": "piqa/piqa",
    "winogrande": "winogrande/default",
}  # fmt: skip


def the_harness_s_own(name, benchmark_file, folder, items):
    """Return the harness's task for a benchmark, its own prompts and scores, over some rows of a local file."""
    import lm_eval.tasks
    from lm_eval.tasks._yaml_loader import load_yaml

    task = load_yaml(Path(lm_eval.tasks.__file__).parent / f"{SEVEN[name]}.yaml")
    lines = benchmark_file.read_text().splitlines()
    picked = np.linspace(0, len(lines) - 1, items).round().astype(int)
    path = folder / f"{name}.jsonl"
    path.write_text("\n".join(json.dumps(original(task["task"], json.loads(lines[i]))) for i in picked))
    away = ("tag", "dataset_name", "training_split", "validation_split", "fewshot_split")
    return {k: v for k, v in task.items() if k not in away} | {
        "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(path)}}, "test_split": "test",
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_the_seven_benchmarks_score_as_the_hugging_face_backend_does(shared, mesh, tmp_path, monkeypatch):
    from lm_eval import simple_evaluate

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder, data, items = shared / "models" / "tinystories-656k", shared / "data" / "benchmarks", 5
    tasks = {name: the_harness_s_own(name, data / f"{name}.jsonl", tmp_path, items) for name in SEVEN}
    backend = theirs(folder, batch=8, special=("<|start_story|>", "<|end_story|>"))
    found = simple_evaluate(backend, tasks=list(tasks.values()), bootstrap_iters=0, log_samples=True)
    model, tokenizer = huggingface.load(folder), load_tokenizer(folder)
    for benchmark in read_benchmarks([str(data)], items):
        name = tasks[benchmark.name]["task"]
        pairs = [encode_pair(tokenizer, *pair) for item in benchmark.items for pair in item.pairs]
        scores = [score.logp for score in score_continuations(model, pairs, 8)]
        samples = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
        assert scores == pytest.approx([r[0] for s in samples for r in s["filtered_resps"]], abs=1e-3), benchmark.name
        ours_said, said = measure_benchmark(model, tokenizer, benchmark), found["results"][name]
        assert ours_said["acc"]["value"] == said["acc,none"] and ours_said["acc"]["n"] == items
        assert ours_said["acc_norm"]["value"] == said.get("acc_norm,none", ours_said["acc_norm"]["value"])


def test_tasks_and_options_that_cannot_be_are_named(saved, mesh):

    lm = ours(saved)
    with pytest.raises(InputError, match="num_beams"):
        generation({"num_beams": 3})
    with pytest.raises(InputError, match="100 new tokens"):
        lm.generate_until(instances("generate_until", [("Zara", {"max_gen_toks": 100})]))
    assert generation({"until": "x", "max_new_tokens": 3, "temperature": 0.7, "do_sample": False})[0].temperature == 0
    assert generation({"temperature": 0.7})[0].temperature == 0.7
    assert generation({"do_sample": True, "top_k": 4})[0][:2] == (1.0, 4)


def test_an_unknown_task_is_named(monkeypatch):
    from types import SimpleNamespace

    import lm_eval.evaluator  # it binds the class when it is first imported, and would keep the one below
    import lm_eval.tasks

    index = SimpleNamespace(all_tasks=["piqa"])  # reading the harness's own takes seconds
    monkeypatch.setattr(lm_eval.tasks, "TaskManager", lambda **_: index)
    with pytest.raises(InputError, match="no_such_task"):
        run_tasks(None, None, ["piqa", "no_such_task"])


def test_answers_lie_in_the_users_own_cache_under_all_that_they_depend_on(saved, mesh, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model, tokenizer = huggingface.load(saved), load_tokenizer(saved)
    suite = Suite(tokenizer, Prompts(name="none"), {}, Eval())
    seeded = dataclasses.replace(suite, seed=1)
    found = [
        answers_kept(model, Context(suite=s, model_hash=h, folder=tmp_path / run))
        for s, h, run in [
            (suite, "a", "one"), (suite, "b", "one"), (suite, "a", "two"), (seeded, "a", "one")
        ]
    ]  # fmt: skip
    assert len(set(found)) == 4 and {p.parent for p in found} == {tmp_path / "cache" / "jaxunlearn" / "tasks"}
    assert found[0].parent.stat().st_mode & 0o077 == 0
