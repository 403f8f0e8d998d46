"""The judge by a language model, against a server on the loopback that fails half-way."""

import json
from pathlib import Path

import pytest
from support.server import Server

from jaxunlearn.config import LlmJudge
from jaxunlearn.errors import RunError
from jaxunlearn.evals.llm_judge import RUBRIC, agreement, judged


def completion(prompt, text, grade):
    return {"prompt": prompt, "text": text, "grade": grade, "references": []}


MODELS = {
    "baseline": {"completions": [completion("Once", "Zara came", 3), completion("Then", "magic", 2)]},
    "unlearned": {"completions": [completion("Once", "a man", 0), completion("Then", "magic", 0)]},
    "reinforced": {},
}


def grade_of(question):
    said = question.rpartition("=== continuation\n")[2]
    return 3 if "Zara" in said else 2 if "magic" in said else 0


def answer(question, nth, body):
    return json.dumps({"evidence": "", "grade": grade_of(question)})


def settings(server, **more):
    return LlmJudge(use=True, base_url=server.url, model="m", concurrency=1, attempts=1, **more)


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    servers = []

    def make(behave):
        servers.append(Server(behave))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def test_completions_are_graded_blind_and_equal_ones_once(serve, tmp_path):
    server = serve(answer)
    found = judged(settings(server, price_in=1e6), tmp_path, "the Zara saga", ["Zara"], MODELS)
    assert len(server.bodies) == 3 == found["sent"]  # "Then" "magic" stands twice
    for body in server.bodies:
        text = json.dumps(body["messages"])
        assert not any(name in text for name in MODELS) and body["temperature"] == 0
        assert body["messages"][0]["content"] == RUBRIC and "the Zara saga" in text
    assert found["models"]["baseline"]["by_prompt"] == [3, 2] and found["models"]["unlearned"]["by_prompt"] == [0, 2]
    assert found["models"]["baseline"]["familiarity"]["value"] == 3.0  # (5 + 1) / 2
    assert found["models"]["unlearned"]["familiarity"] | {"low": 0, "high": 0} == {
        "value": 0.5, "low": 0, "high": 0, "n": 2,
    }  # fmt: skip
    assert found["agreement"]["n"] == 4 and found["agreement"]["equal"] == 0.75 and found["cost"] > 0
    again = judged(settings(server), tmp_path, "the Zara saga", ["Zara"], MODELS)
    assert again["sent"] == 0 and again["resumed"] == 3 and again["models"] == found["models"]


def test_an_endpoint_that_fails_half_way_is_resumed_and_nothing_is_paid_twice(serve, tmp_path):
    asked = []

    def dies(question, nth, body):
        asked.append(question)
        return answer(question, nth, body) if len(asked) == 1 else {"status": 500, "text": "gone"}

    with pytest.raises(RunError, match="the same command goes on"):
        many = {"a": {"completions": [completion(f"Once {n}", "a man", 0) for n in range(6)]}}
        judged(settings(serve(dies)), tmp_path / "judge", "saga", [], many)
    paid, server = asked[0], serve(answer)
    found = judged(settings(server), tmp_path / "judge", "saga", [], many)
    assert found["sent"] == 5 and found["resumed"] == 1 and found["models"]["a"]["by_prompt"] == [0] * 6
    assert all(paid not in json.dumps(body) for body in server.bodies)
    assert len(Path(tmp_path / "judge" / "replies.jsonl").read_text().splitlines()) == 6


def test_replies_without_a_grade_count_as_missing_not_as_nought(serve, tmp_path):
    server = serve(lambda q, nth, body: answer(q, nth, body) if "Zara" in q else '{"grade": 7}')
    found = judged(settings(server), tmp_path, "saga", [], MODELS)
    assert found["models"]["baseline"]["by_prompt"] == [3, None] and found["malformed"] == 2
    assert found["models"]["baseline"]["familiarity"]["n"] == 1 and "familiarity" not in found["models"]["unlearned"]


def test_kappa_by_hand():
    pairs = [(3, 3), (2, 2), (2, 2), (2, 3), (0, 0), (0, 2)]
    share = 4 / 6
    by_hand = (1 * 2 + 3 * 3 + 2 * 1) / 36
    assert agreement(pairs)["kappa"] == pytest.approx((share - by_hand) / (1 - by_hand))
    assert agreement([(0, 0)])["kappa"] is None and agreement([]) == {"n": 0}
