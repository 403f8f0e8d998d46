"""The text in the prompt: passages that do not give the answer away, short and drawn by seed."""

import dataclasses

import numpy as np
import pytest
from support.facts import SHAPE
from support.logits import probabilities

from jaxunlearn.attacks.context import CHAT, PASSAGE_TOKENS, conditions, in_context, passages
from jaxunlearn.data.documents import Document
from jaxunlearn.models import transformer


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
    made = conditions(asked, [], [])
    assert made == {"alone": ["{prompt}"], "chat template": ["{prompt}"]} and CHAT not in conditions(suite, [], [])
    found = in_context(m, asked, made)
    (first, *_) = (p for p in suite.prompts.probability if p.position == "out")
    ids = [int(i) for i in chats.encode(f"{first.prompt} Anna")[0]]  # as the template writes it: no BOS
    by_hand = sum(probabilities(m, ids)[-1][int(chats.encode(w)[0][0])] for w in first.specific)
    assert found["chat template"]["items"][0] == pytest.approx(by_hand, rel=1e-4)
    through = dataclasses.replace(asked, c=dataclasses.replace(asked.c, chat=True))
    assert set(conditions(through, [], [])) == {"alone"}  # then every prompt is asked so
    assert in_context(m, through, {"alone": ["{prompt}"]})["alone"] == found["chat template"]


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
