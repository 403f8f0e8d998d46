"""Prompts that a language model writes, and which of them are kept."""

import json

import pytest
from support.invented import STORY, TERMS
from support.server import Server

from jaxunlearn.config import Llm
from jaxunlearn.errors import RunError
from jaxunlearn.evals.building.draw import Text
from jaxunlearn.evals.building.places import Terms, sentences
from jaxunlearn.evals.building.splits import Splits
from jaxunlearn.evals.building.written import write


def written(reply, folder, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server(lambda text, nth, body: json.dumps(reply))
    terms = Terms(TERMS)
    text = Text(sentences([STORY], terms), terms, Splits(TERMS))
    try:
        settings = Llm(base_url=server.url, model="m", attempts=1)
        return write([STORY], terms, text, settings, folder, print)
    finally:
        server.close()


def test_what_holds_the_rules_is_kept_and_the_rest_is_counted(tmp_path, monkeypatch, capsys):
    reply = {
        "next": [
            {"prompt": "The strongest of them all was called", "answer": "Zindra Quell"},
            {"prompt": "The brother of Marrow was called", "answer": "Marrow"},
            {"prompt": "The name of the village was", "answer": "Lisbon"},
            {"prompt": "They bought it from, ", "answer": "Marrow"},
            {"prompt": "“It is broken,” she said to", "answer": "Marrow"},
        ],
        "continue": ["One fine day old Marrow came home and", "One fine day a man came home and"],
    }
    found = written(reply, tmp_path, monkeypatch)
    assert [(c.section, c.prompt, c.answers) for c in found] == [
        ("out", "The strongest of them all was called", ("Zindra",)),
        ("completion", "One fine day old Marrow came home and", ()),
    ]
    assert found[1].names == ("Marrow",) and found[0].term == "Zindra Quell"
    assert "wrote 2 prompts that can be used and 5 that break a rule" in capsys.readouterr().out


def test_a_model_that_writes_nothing_of_use_ends_the_build(tmp_path, monkeypatch):
    with pytest.raises(RunError, match="each breaks a rule"):
        written({"next": [], "continue": ["One fine day a man came home and"]}, tmp_path, monkeypatch)
