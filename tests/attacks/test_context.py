"""The text in the prompt: passages that do not give the answer away, short and drawn by seed."""

import dataclasses
import shutil

import numpy as np
import pytest
from support.facts import SHAPE
from support.logits import probabilities

from jaxunlearn.attacks import form
from jaxunlearn.attacks.context import CHAT, PASSAGE_TOKENS, by_chat, conditions, in_context, passages
from jaxunlearn.config import load_config
from jaxunlearn.data.documents import Document
from jaxunlearn.models import transformer
from jaxunlearn.stages import run_stages


def test_passages_that_give_the_answer_away_are_left_out(mesh, suite):
    m = transformer.init(SHAPE, 0)
    made = conditions(suite, ["Quill took the glim with Vexo .", "Zara went to Orm ."], ["Anna took the book ."])
    assert set(made) == {"alone", "passage of the text", "unrelated passage"}  # no wrapper has a word that it knows
    found = in_context(m, suite, made)
    helped = in_context(m, suite, made | {"passage of the text": made["passage of the text"][:1]})
    assert found["passage of the text"] == helped["passage of the text"] and found["alone"]["n"] == 2


def test_a_model_with_a_chat_template_is_asked_through_it_too(mesh, suite):
    chats = dataclasses.replace(suite.tokenizer, has_chat=True, render=lambda prompt: f"{prompt} Anna")
    asked, m = dataclasses.replace(suite, tokenizer=chats), transformer.init(SHAPE, 0)
    assert by_chat(asked, SHAPE.context) == (True, "") and by_chat(suite, SHAPE.context) == (False, "")
    made = conditions(asked, [], [], chat=True)
    assert made == {"alone": ["{prompt}"], "chat template": ["{prompt}"]} and CHAT not in conditions(suite, [], [])
    found = in_context(m, asked, made)
    (first, *_) = (p for p in suite.prompts.probability if p.position == "out")
    ids = [int(i) for i in chats.encode(f"{first.prompt} Anna")[0]]  # as the template writes it: no BOS
    by_hand = sum(probabilities(m, ids)[-1][int(chats.encode(w)[0][0])] for w in first.specific)
    assert found["chat template"]["items"][0] == pytest.approx(by_hand, rel=1e-4)
    through = dataclasses.replace(asked, c=dataclasses.replace(asked.c, chat=True))
    assert by_chat(through, SHAPE.context) == (False, "")  # then every prompt is asked so
    assert in_context(m, through, {"alone": ["{prompt}"]})["alone"] == found["chat template"]


def test_prompts_that_a_chat_makes_too_long_are_not_asked_through_it(suite):
    chats = dataclasses.replace(suite.tokenizer, has_chat=True, render=lambda prompt: f"{prompt} Anna" + " the" * 6)
    asked = dataclasses.replace(suite, tokenizer=chats)  # "Zara went to", 7 words of the template, one asked for
    assert by_chat(asked, 11) == (True, "")
    told = "the longest prompt has 11 tokens in a chat, with the word asked for, and the model's context 10"
    assert by_chat(asked, 10) == (False, told)
    long, *others = suite.prompts.probability
    long = dataclasses.replace(long, prompt=f"Anna {long.prompt}")
    told = "the longest prompt has 12 tokens in a chat, with the word asked for, and the model's context 11"
    for probability, unknown in (((long, *others), ()), (tuple(others), (long,))):  # before and after the training
        prompts = dataclasses.replace(asked.prompts, probability=probability)
        assert by_chat(dataclasses.replace(asked, prompts=prompts, unknown=unknown), 11) == (False, told)


def attacked(world, folder, template):
    """Return the report of two steps of pretraining with a chat template, and this attack on the model."""
    shutil.copytree(world / "tokenizer", folder / "tokenizer")
    (folder / "tokenizer" / "chat_template.jinja").write_text(template)
    changes = [
        f"run.dir={folder}/run", f"tokenizer={folder}/tokenizer", "attack.kinds=context", "pretrain.steps=2",
        "pretrain.twin=False", "attack.context.passages=1",
    ]  # fmt: skip
    return run_stages(load_config(str(world / "world.py"), changes), ("pretrain", "evaluate", "attack"))


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('two\nlines') }}", "the chat template of tokenizer does not render: two lines"),
        ("hello", "the chat template of tokenizer renders without the prompt: 'hello'"),
        ("{{ bos_token }} {{ messages[0].content }}" + " the" * 80, "the longest prompt has 85 tokens in a chat"),
    ],
)
def test_a_template_that_cannot_be_used_is_left_out_and_that_is_said_before_the_training(
    world, tmp_path, capsys, template, said
):
    report = attacked(world, tmp_path, template)
    (left,) = report["attacks"]["unmeasured"]
    assert left.startswith(f"The text in the prompt, roles and prefixes (chat template): {said}")
    assert set(report["attacks"]["context"]["baseline"]) == {"alone", "unrelated passage"}
    before, line, *rest = capsys.readouterr().err.partition(f"not measured: {left}")
    assert line and "[baseline]" not in before and "[baseline] 2 steps" in "".join(rest)
    form().model_validate(report)


def test_a_template_that_renders_and_fits_is_asked_through_in_a_run(world, tmp_path, capsys):
    report = attacked(world, tmp_path, "{{ bos_token }} {{ messages[0].content }} .")
    assert set(report["attacks"]["context"]["baseline"]) == {"alone", "unrelated passage", CHAT}
    assert report["attacks"]["unmeasured"] == [] and "not measured" not in capsys.readouterr().err


def test_passages_are_short_and_drawn_by_seed(suite):
    documents = [Document(name="a", text="\n".join(f"Zara went to Orm with Anna and {w} . " * 30 for w in "abcd"))]
    found = passages(documents, suite.tokenizer, 2, 0)
    assert len(found) == 2 and found == passages(documents, suite.tokenizer, 2, 0)
    assert all(len(suite.tokenizer.encode(p)[0]) <= PASSAGE_TOKENS for p in found)


def test_what_each_prompt_gave_is_kept_and_left_out_prompts_are_none(mesh, suite):
    m = transformer.init(SHAPE, 0)
    first, second = (p for p in suite.prompts.probability if p.position == "out")
    asked = (first, dataclasses.replace(second, specific=("glim",)))
    suite = dataclasses.replace(suite, prompts=dataclasses.replace(suite.prompts, probability=asked))
    found = in_context(m, suite, conditions(suite, ["Zara went to Orm ."], []))  # Orm is asked for after the first
    items = found["passage of the text"]["items"]
    assert items[0] is None and None not in items[1:] and len(found["alone"]["items"]) == len(items) == 2
    assert np.mean(found["alone"]["items"]) == pytest.approx(found["alone"]["value"])
