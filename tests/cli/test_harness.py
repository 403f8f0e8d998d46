"""lm-evaluation-harness finds the model by its name, and scores items with it as with its own Hugging Face backend."""

import json
from importlib.metadata import EntryPoint

import pytest
from support.model_files import write_model
from support.paths import ROOT

from jaxunlearn.errors import InputError

pytest.importorskip("lm_eval", reason="needs lm-evaluation-harness: pip install jaxunlearn[eval]")

from jaxunlearn.cli.harness import JaxUnlearn


def task(path):
    """Return a multiple-choice task and one of running text over local JSON lines, as the harness takes them."""
    rows = [{"query": f"a {b} {c}", "choices": ["a b", "c"], "gold": n % 2, "text": f"a b {c} {b} b"}
            for n, (b, c) in enumerate([("a", "b"), ("b", "b"), ("c", "a"), ("b", "c")])]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)))
    data = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(path)}}, "test_split": "test"}
    choice = data | {
        "task": "letters", "output_type": "multiple_choice", "doc_to_text": "{{query}}", "doc_to_choice": "choices",
        "doc_to_target": "gold", "metric_list": [{"metric": "acc"}],
    }  # fmt: skip
    rolling = data | {
        "task": "running", "output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "word_perplexity"}],
    }  # fmt: skip
    return [choice, rolling]


def scored(found):
    """Return [score of every request of every item] of the harness's samples."""
    samples = [s for name in ("letters", "running") for s in found["samples"][name]]
    return [r[0] if isinstance(r, list | tuple) else r for s in samples for r in s["filtered_resps"]]


@pytest.fixture
def theirs(tmp_path):
    """The harness's own backend on a tiny random Llama in the folder `model`."""
    pytest.importorskip("torch", reason="the harness's own backend needs torch")
    from lm_eval.models.huggingface import HFLM
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    folder = write_model(tmp_path / "model")
    file = str(folder / "tokenizer.json")
    tokens = PreTrainedTokenizerFast(tokenizer_file=file, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    return HFLM(pretrained=LlamaForCausalLM.from_pretrained(folder).eval(), tokenizer=tokens, batch_size=3)


@pytest.mark.filterwarnings("ignore")
def test_the_harness_makes_it_by_its_name_and_items_score_as_in_its_own_backend(tmp_path, theirs):
    from lm_eval.api.instance import Instance
    from lm_eval.api.registry import get_model

    given = {"batch_size": 3, "max_batch_size": None, "device": None}  # as simple_evaluate hands them on
    ours = get_model("jaxunlearn").create_from_arg_string(f"pretrained={tmp_path / 'model'}", given)
    assert isinstance(ours, JaxUnlearn) and ours.batch == 3

    def both(kind, arguments):
        asked = [Instance(kind, {}, a, n) for n, a in enumerate(arguments)]
        return getattr(ours, kind)(asked), getattr(theirs, kind)(asked)

    mine, expected = both("loglikelihood", [("a b", " c"), ("", "b b a"), ("a b c " * 20, "a"), ("c", " a b")])
    assert [m[0] for m in mine] == pytest.approx([e[0] for e in expected], abs=1e-4)
    assert [m[1] for m in mine] == [e[1] for e in expected]
    mine, expected = both("loglikelihood_rolling", [("a b c b b",), ("c a b " * 25,)])
    assert mine == pytest.approx(expected, abs=1e-4)
    mine, expected = both("generate_until", [("a b", {"until": [], "max_gen_toks": 4})])
    assert mine == expected
    theirs._max_length = 6  # as its own --model_args max_length says it
    ours = get_model("jaxunlearn").create_from_arg_string(f"pretrained={tmp_path / 'model'},max_length=6", given)
    mine, expected = both("loglikelihood", [("a b c a c " * 3, "b a"), ("b", " a")])
    assert [m[0] for m in mine] == pytest.approx([e[0] for e in expected], abs=1e-4)


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")
def test_a_whole_evaluation_by_its_name_gives_the_scores_of_the_harness_s_own_backend(tmp_path, theirs, monkeypatch):
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    alone = TaskManager(include_defaults=False)  # reading the harness's own takes seconds
    tasks = task(tmp_path / "rows.jsonl")
    asked = {"tasks": tasks, "task_manager": alone, "bootstrap_iters": 0, "log_samples": True}
    expected = simple_evaluate(theirs, **asked)
    found = simple_evaluate(model="jaxunlearn", model_args=f"pretrained={tmp_path / 'model'}", batch_size=3, **asked)
    assert len(scored(found)) == 12 and scored(found) == pytest.approx(scored(expected), abs=1e-4)
    assert found["results"]["letters"]["acc,none"] == expected["results"]["letters"]["acc,none"]


def test_the_package_names_it_where_the_harness_looks_for_models_of_others():
    """As the harness loads an entry point of the group lm_eval.models (its docs/plugins.md, after 0.4.13)."""
    told = (ROOT / "setup.py").read_text()
    assert '"lm_eval.models": ["jaxunlearn = jaxunlearn.cli.harness:JaxUnlearn"]' in told
    assert EntryPoint("jaxunlearn", "jaxunlearn.cli.harness:JaxUnlearn", "lm_eval.models").load() is JaxUnlearn


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("max_length=4", "expected pretrained=DIR"),
        ("pretrained={folder},peft=x", r"expected pretrained=DIR, .* \(got peft\)"),
        ("pretrained={folder},dtype=int8", "dtype=int8: expected float32 or bfloat16"),
        ("pretrained={folder},max_length=99", "max_length of 99 tokens is longer than the model's context of 32"),
        ("pretrained={folder},max_length=-3", "max_length=-3: expected a whole number above 0"),
        ("pretrained={folder},max_length=many", "max_length=many: expected a whole number above 0"),
        ("pretrained={folder},batch_size=0", "batch_size=0: expected a whole number above 0"),
        ("pretrained={folder}/none", "none"),
    ],
)
def test_arguments_that_cannot_be_are_named(tmp_path, given, said):
    folder = write_model(tmp_path / "model")
    with pytest.raises(InputError, match=said):
        JaxUnlearn.create_from_arg_string(given.format(folder=folder))
