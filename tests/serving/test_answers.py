"""The models of a run, asked side by side: the texts of generate, token by token, and plain words on a bad question."""

import pytest
from support.model_files import write_model

from jaxunlearn.errors import InputError
from jaxunlearn.methods import inference
from jaxunlearn.models.generate import generate
from jaxunlearn.serving.answers import checked, found, load


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run's folder with two models and a control."""
    run = tmp_path_factory.mktemp("run")
    for name in ("unlearned", "baseline", "controls/own_argmax"):
        write_model(run / name)
    (run / "labels").mkdir()
    return run


@pytest.fixture(scope="module")
def answers(folder):
    return load(folder, [])


def test_the_models_that_exist_stand_in_the_order_of_the_page(folder, answers):
    assert list(found(folder)) == ["baseline", "unlearned", "own argmax labels"] == answers.names
    assert load(folder, ["unlearned"]).names == ["unlearned"] and answers.context == 32
    with pytest.raises(InputError, match="no model 'twin'; it has baseline"):
        load(folder, ["twin"])
    with pytest.raises(InputError, match="holds no model of a run"):
        load(folder / "labels", [])


def test_each_model_writes_what_generate_writes_by_turns(answers, mesh):
    lines = list(answers.stream({"prompt": "a b", "max_new_tokens": 5, "models": ["baseline", "unlearned"]}))
    assert [line["model"] for line in lines[:4]] == ["baseline", "unlearned"] * 2
    one = answers.models[0]
    prompt = one.tokenizer.asked("a b")
    (new,) = generate(one.model, [prompt], 5, eos_ids=one.tokenizer.eos_ids)
    of = [line for line in lines if line["model"] == "baseline"]
    assert of[-1]["text"] == one.tokenizer.decode(prompt + new)[len(one.tokenizer.decode(prompt)) :]
    assert of[-1]["tokens"] == len(new) == len(of) - 1 and of[-1]["seconds"] >= 0
    assert all(of[-1]["text"].startswith(line["text"]) for line in of)


@pytest.mark.parametrize(("question", "said"), [
    ({}, "the prompt is empty"), ({"prompt": " \n"}, "the prompt is empty"),
    ({"prompt": "a " * 30, "max_new_tokens": 8}, r"has 31 tokens and the answer up to 8, together more than the 32"),
    ({"prompt": "a", "models": ["twin"]}, "no model 'twin' here"),
    ({"prompt": "a", "models": []}, "no model was chosen"),
    ({"prompt": "a", "temperature": -1}, "temperature: got -1, expected a number at least 0"),
    ({"prompt": "a", "temperature": None}, "temperature: got None, expected a number"),
    ({"prompt": "a", "max_new_tokens": 2.5}, "max new tokens: got 2.5, expected a whole number"),
    ({"prompt": "a", "top_k": True}, "top k: got True"), ({"prompt": "a", "top_p": 0}, "top p: got 0"),
    ({"prompt": 3}, "prompt: got 3, expected a text"), ({"prompt": "a", "tok": 1}, "unknown tok"),
    (["a"], "one JSON object"), ({"prompt": "a", "chat": True}, "no chat template"),
])  # fmt: skip
def test_a_bad_question_is_refused_before_anything_is_computed(answers, question, said):
    with pytest.raises(InputError, match=said):
        answers.stream(question)


def test_a_question_has_the_defaults_of_generate():
    assert checked({"prompt": "a"}) | {"prompt": ""} == {
        "prompt": "", "models": None, "chat": False, "max_new_tokens": 64, "temperature": 0.0, "top_k": 0,
        "top_p": 1.0, "seed": 0,
    }  # fmt: skip


def test_a_method_at_inference_time_is_asked_with_its_prefix(folder, tmp_path):
    write_model(tmp_path / "baseline")
    inference.save(tmp_path / "unlearned", {"method": "prompting", "baseline": "../baseline", "prefix": "c c "})
    one = load(tmp_path, ["unlearned"]).models[0]
    assert one.prefix == "c c "
    with pytest.raises(InputError, match="has 6 tokens"):
        load(tmp_path, ["unlearned"]).stream({"prompt": "a b c", "max_new_tokens": 31})
