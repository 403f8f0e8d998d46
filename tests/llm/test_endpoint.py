"""The client against a real server on the loopback that misbehaves on purpose."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from email.utils import formatdate

import pytest
from support.asking import grade_of, put, question, questions, rows
from support.server import Waits

from jaxunlearn.errors import InputError, RunError
from jaxunlearn.llm.endpoint import Endpoint

# ---- what a good endpoint gets


def test_answers_stand_in_the_order_of_the_questions_whatever_order_they_arrive_in(serve, tmp_path):
    path = tmp_path / "replies.jsonl"

    def behave(text, nth, body):  # each waits until those behind it have been kept
        behind = 3 - int(text.split()[-1])
        while not server.closing.is_set() and behind > (len(rows(path)) if path.exists() else 0):
            time.sleep(0.01)
        return grade_of(text)

    server = serve(behave)
    answers = put(questions(4), server, tmp_path)
    assert [json.loads(row["text"])["grade"] for row in rows(path)] == [3, 2, 1, 0]
    assert [value.grade for value in answers.values] == [0, 1, 2, 3]
    assert (answers.sent, answers.retries, answers.malformed, answers.unanswered) == (4, 0, 0, 0)


def test_never_more_requests_under_way_than_the_limit(serve, tmp_path):
    together = threading.Barrier(3)  # answers come by threes, so that a lower limit would hang

    def behave(text, nth, body):
        together.wait(60)
        return {"text": grade_of(text), "delay": 0.03}

    server = serve(behave)
    put(questions(12), server, tmp_path, concurrency=3)
    assert server.most == 3 and len(server.bodies) == 12


def test_the_request_carries_the_schema_the_key_and_the_settings(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-abc")
    server = serve(grade_of)
    put([question("q 1")], server, tmp_path, key_variable="MY_KEY", temperature=0.25, seed=5)
    body = server.bodies[0]
    schema = body["response_format"]["json_schema"]["schema"]
    assert body["response_format"]["type"] == "json_schema" and body["response_format"]["json_schema"]["strict"]
    assert schema["required"] == ["grade"] and schema["additionalProperties"] is False
    assert (body["model"], body["temperature"], body["seed"]) == ("m", 0.25, 5)
    assert server.headers[0]["Authorization"] == "Bearer sk-abc"


def test_without_a_key_no_authorization_is_sent_and_without_a_schema_any_text_is_taken(serve, tmp_path):
    server = serve(lambda *_: "just words")
    answers = put([question("q 1", None)], server, tmp_path)
    assert answers.values == ("just words",)
    assert "Authorization" not in server.headers[0] and "response_format" not in server.bodies[0]


def test_a_question_given_twice_is_asked_once(serve, tmp_path):
    server = serve(grade_of)
    answers = put([question("q 7"), question("q 8"), question("q 7")], server, tmp_path)
    assert [v.grade for v in answers.values] == [7, 8, 7] and len(server.bodies) == 2


def test_the_key_of_a_question_depends_on_what_shapes_its_answer_and_not_on_the_address():
    here = Endpoint(base_url="http://a/v1", model="m")
    key = question("q").key(here)
    assert key == question("q").key(Endpoint(base_url="http://b/v1", model="m", seed=3, attempts=9))
    others = [question("r").key(here), question("q", None).key(here), question("q").key(Endpoint(model="n"))]
    others.append(question("q").key(Endpoint(model="m", temperature=0.1)))
    assert len({key, *others}) == 5


# ---- trouble that passes

PASSING = {
    "error 500": {"status": 500, "raw": "oops"},
    "overloaded": {"status": 503, "raw": '{"error": {"message": "loading model"}}'},
    "too many": {"status": 429, "raw": "{}"},
    "cut off": {"text": '{"grade": 1}', "cut": True},
    "slow": {"text": '{"grade": 1}', "delay": 60.0},
    "a page": {"raw": "<html>hello</html>"},
    "no choices": {"raw": '{"choices": []}'},
}


@pytest.mark.parametrize("trouble", PASSING)
def test_passing_trouble_is_tried_again(serve, tmp_path, trouble):
    server, waits = serve(lambda text, nth, body: PASSING[trouble] if nth == 0 else grade_of(text)), Waits()
    answers = put([question("q 4")], server, tmp_path, waits, timeout=1.5 if trouble == "slow" else 60)
    assert answers.values[0].grade == 4
    assert (answers.sent, answers.retries, answers.unanswered) == (2, 1, 0)
    assert len(waits) == 1 and 0.5 <= waits[0] <= 1.5


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(serve, tmp_path, form):
    value = "7" if form == "seconds" else formatdate(time.time() + 7, usegmt=True)
    server = serve(lambda text, nth, body: {"status": 429, "headers": {"Retry-After": value}} if nth == 0 else "{}")
    waits = Waits()
    put([question("q", None)], server, tmp_path, waits)
    assert len(waits) == 1 and (7 if form == "seconds" else 1) <= waits[0] <= 8


def test_a_wait_of_hours_ends_the_run_and_says_so(serve, tmp_path):
    server = serve(lambda *_: {"status": 429, "headers": {"Retry-After": "7200"}, "raw": "quota used up"})
    with pytest.raises(RunError, match=r"7,200 s .*quota used up"):
        put([question("q 1")], server, tmp_path)


def test_the_waits_double_with_jitter_that_the_seed_decides(serve, tmp_path):
    server = serve(lambda *_: {"status": 500})

    def waits_of(seed, name):
        waits = Waits()
        put([question("q 1")], server, tmp_path / name, waits, attempts=9, seed=seed)
        return waits

    first = waits_of(0, "a")
    expected = [1, 2, 4, 8, 16, 32, 60, 60]  # doubled, and no more than a minute before jitter
    assert all(0.5 * e <= wait <= 1.5 * e for wait, e in zip(first, expected, strict=True))
    assert len({wait / e for wait, e in zip(first, expected, strict=True)}) == 8
    assert waits_of(0, "b") == first and waits_of(1, "c") != first


def test_a_field_the_endpoint_does_not_take_is_left_out_from_then_on(serve, tmp_path):
    complaints = {"response_format": "response_format json_schema is unavailable now", "seed": "Unknown name 'seed'"}

    def behave(text, nth, body):
        refused = [complaints[field] for field in complaints if field in body]
        return {"status": 400, "raw": json.dumps({"error": {"message": refused[0]}})} if refused else grade_of(text)

    server, lines = serve(behave), []
    answers = put(questions(3), server, tmp_path, say=lines.append, concurrency=1)
    assert [v.grade for v in answers.values] == [0, 1, 2]
    assert len(server.bodies) == 5 and answers.retries == 0
    assert sum("does not take" in line for line in lines) == 2
    assert all("temperature" in body for body in server.bodies)


# ---- replies that cannot be used


@pytest.mark.parametrize("bad", ["I would rather not.", '{"grade": ', '{"score": 3}', '{"grade": "high"}', ""])
def test_a_bad_reply_is_shown_back_and_asked_for_again(serve, tmp_path, bad):
    server = serve(lambda text, nth, body: bad if nth == 0 else '{"grade": 5}')
    answers = put([question("q 5")], server, tmp_path)
    assert answers.values[0].grade == 5 and answers.retries == 1 and answers.malformed == 0
    first, repeated = (body["messages"] for body in server.bodies)
    assert repeated[:1] == first and repeated[1] == {"role": "assistant", "content": bad or "(empty)"}
    assert "cannot be used" in repeated[2]["content"]
    assert server.bodies[1]["seed"] == server.bodies[0]["seed"] + 1


def test_what_stays_bad_is_set_aside_counted_and_not_asked_again(serve, tmp_path):
    def behave(text, nth, body):
        return "no" if text == "question 1" else grade_of(text)

    server = serve(behave)
    answers = put(questions(3), server, tmp_path)
    assert answers.values[1] is None and [answers.values[n].grade for n in (0, 2)] == [0, 2]
    assert answers.malformed == 1 and server.asked("question 1") == 3
    (row,) = rows(tmp_path / "malformed.jsonl")
    assert row["text"] == "no" and "JSON" in row["reason"]
    again = put(questions(3), server, tmp_path)
    assert (again.sent, again.resumed, again.malformed) == (0, 3, 1)
    (tmp_path / "malformed.jsonl").unlink()
    assert put(questions(3), server, tmp_path).sent == 3


def test_a_refused_question_is_left_out_and_asked_again_next_time(serve, tmp_path):
    def behave(text, nth, body):
        blocked = {"status": 400, "raw": '{"error": {"message": "blocked by the content filter"}}'}
        return blocked if text != "question 4" and nth == 0 else grade_of(text)

    server = serve(behave)
    answers = put(questions(5), server, tmp_path)
    assert answers.unanswered == 4 and answers.values[4].grade == 4
    assert "content filter" in answers.fault and server.asked("question 0") == 1
    assert [v.grade for v in put(questions(5), server, tmp_path).values] == [0, 1, 2, 3, 4]


# ---- trouble that ends the run


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_names_its_variable_and_is_not_printed(serve, tmp_path, monkeypatch, status):
    monkeypatch.setenv("MY_KEY", "sk-secret-1")
    raw = '{"error": {"message": "Incorrect API key provided: sk-secret-1"}}'
    server = serve(lambda *_: {"status": status, "raw": raw})
    with pytest.raises(InputError, match=f"refused the key in MY_KEY .HTTP {status}") as caught:
        put(questions(4), server, tmp_path, key_variable="MY_KEY")
    assert "secret" not in str(caught.value)
    assert len(server.bodies) <= 4  # not tried again
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(InputError, match="MY_KEY is not set"):
        put(questions(1), server, tmp_path, key_variable="MY_KEY")


def test_an_unknown_model_or_address_is_the_users_to_mend(serve, tmp_path):
    server = serve(lambda *_: {"status": 404, "raw": '{"error": {"message": "model m not found"}}'})
    with pytest.raises(InputError, match=r"'m'.*model m not found.*base_url"):
        put(questions(1), server, tmp_path)
    with pytest.raises(InputError, match="base_url"):
        put(questions(1), serve(grade_of).url.removesuffix("/v1") + "/v2", tmp_path)


def test_a_server_that_goes_down_ends_the_run_and_a_rerun_goes_on(serve, tmp_path):
    def behave(text, nth, body):
        if text == "question 2":
            threading.Thread(target=server.close).start()
            time.sleep(0.1)
            return {"text": grade_of(text), "cut": True}
        return grade_of(text)

    server = serve(behave)
    with pytest.raises(RunError, match=r"does not answer.*2 of 6 questions are settled and kept"):
        put(questions(6), server, tmp_path, concurrency=1)
    assert len(rows(tmp_path / "replies.jsonl")) == 2
    second = serve(grade_of)
    answers = put(questions(6), second, tmp_path, concurrency=1)
    assert [v.grade for v in answers.values] == [0, 1, 2, 3, 4, 5]
    assert len(second.bodies) == 4 and answers.resumed == 2
    assert second.asked("question 0") == second.asked("question 1") == 0


def test_one_question_without_a_reply_is_left_for_later_three_in_a_row_end_the_run(serve, tmp_path):
    failing = {"question 1"}
    server = serve(lambda text, nth, body: {"status": 500} if text in failing else grade_of(text))
    answers = put(questions(6), server, tmp_path, concurrency=1)
    assert answers.unanswered == 1 and answers.values[1] is None and answers.values[5].grade == 5
    failing.clear()
    assert put(questions(6), server, tmp_path).values[1].grade == 1
    failing.update(f"question {n}" for n in (6, 8, 10, 12, 13, 14))
    with pytest.raises(RunError, match=r"HTTP 500.*9 of 20 questions"):
        put(questions(20), server, tmp_path, concurrency=1)


def test_settings_are_filled_from_the_environment_and_all_faults_named_at_once(monkeypatch):
    with pytest.raises(InputError) as caught:
        Endpoint(attempts=0).resolved()
    assert all(word in str(caught.value) for word in ("OPENAI_BASE_URL", "OPENAI_MODEL", "attempts"))
    with pytest.raises(InputError, match="expected http"):
        Endpoint(base_url="localhost:8000", model="m").resolved()
    monkeypatch.setenv("OPENAI_BASE_URL", "http://h:1/v1/")
    monkeypatch.setenv("OPENAI_MODEL", "env")
    assert Endpoint().resolved() == Endpoint(base_url="http://h:1/v1", model="env")
    assert Endpoint(base_url="http://x/v1/chat/completions", model="own").resolved().base_url == "http://x/v1"
    monkeypatch.setenv("OPENAI_API_KEY", "a b")
    with pytest.raises(InputError, match="OPENAI_API_KEY"):
        Endpoint(base_url="http://h", model="m").secret()


# ---- resuming

CHILD = """
import sys
from jaxunlearn.llm.endpoint import Endpoint, Request, ask
from jaxunlearn.llm.journal import Journal
requests = [Request(messages=({"role": "user", "content": f"question {i}"},)) for i in range(8)]
settings = Endpoint(base_url=sys.argv[1], model="m", concurrency=2)
ask(requests, settings, Journal(sys.argv[2]), lambda line: None)
"""


def test_killed_in_the_middle_and_resumed_no_answered_question_is_asked_twice(serve, tmp_path):
    """The server answers four questions and holds the next two, the client is killed, and starts again."""
    killed, held = threading.Event(), threading.Semaphore(0)

    def behave(text, nth, body):
        if int(text.split()[-1]) >= 4 and not killed.is_set():
            held.release()
            killed.wait(60)
        return grade_of(text)

    server = serve(behave)
    child = subprocess.Popen([sys.executable, "-c", CHILD, server.url, str(tmp_path)])
    assert held.acquire(timeout=60) and held.acquire(timeout=60)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait(10) == -signal.SIGKILL
    killed.set()
    assert len(rows(tmp_path / "replies.jsonl")) == 4
    answers = put(questions(8, None), server, tmp_path, concurrency=2)
    assert [json.loads(v)["grade"] for v in answers.values] == list(range(8))
    assert [server.asked(f"question {i}") for i in range(8)] == [1, 1, 1, 1, 2, 2, 1, 1]
    assert (answers.resumed, answers.sent) == (4, 4)


# ---- what an endpoint may send


def completion(content, **more):
    return {"raw": json.dumps({"choices": [{"message": {"content": content}}]} | more)}


@pytest.mark.parametrize(
    "reply",
    [
        {"raw": "x" * (9 << 20)},
        {"raw": "[" * 200_000},
        completion("{" * 100_000),
        completion('{"grade": 1}' + " " * 300_000),
        completion(["a", "list"]),
        completion({"grade": 1}),
        completion(7),
        {"raw": '{"choices": {"message": 1}}'},
        {"raw": b"\xff\xfe".decode("latin1")},
        {"raw": ""},
    ],
)
def test_a_reply_without_bounds_or_form_is_a_malformed_one_in_bounded_time(serve, tmp_path, reply):
    began = time.monotonic()
    answers = put(questions(1), serve(lambda *_: reply), tmp_path, attempts=2)
    assert answers.values == (None,) and answers.fault and time.monotonic() - began < 10
    assert all(p.stat().st_size < 1 << 20 for p in tmp_path.iterdir())


def test_counts_of_tokens_that_cannot_be_are_estimated(serve, tmp_path):
    usage = {"prompt_tokens": 10**30, "completion_tokens": True}
    answers = put(questions(1), serve(lambda *_: completion('{"grade": 1}', usage=usage)), tmp_path)
    assert answers.values[0].grade == 1 and answers.usage.estimated and answers.usage.prompt < 1000


def test_half_a_surrogate_pair_in_a_reply_can_be_written(serve, tmp_path):
    answers = put(questions(1, schema=None), serve(lambda *_: completion("a \ud800 b")), tmp_path)
    assert answers.values == ("a ? b",)


def test_a_damaged_line_of_replies_is_asked_again_and_that_is_said(serve, tmp_path):
    server, said = serve(grade_of), []
    put(questions(3), server, tmp_path, concurrency=1)
    path = tmp_path / "replies.jsonl"
    path.write_text(path.read_text().replace('{\\"grade\\": 1}', '{\\"grade\\": 5}'))
    answers = put(questions(3), server, tmp_path, say=said.append)
    assert [v.grade for v in answers.values] == [0, 1, 2] and answers.sent == 1
    assert any("1 lines of" in line and "asked again" in line for line in said)
