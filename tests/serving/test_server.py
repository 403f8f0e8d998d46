"""The server for one reader: what it sends, and that no page of another site can use it."""

import http.client
import json
import threading

import pytest
from support.serving import serving

from jaxunlearn.errors import InputError, RunError
from jaxunlearn.serving import server as servers
from jaxunlearn.serving.server import Server


def echo(question):
    if not question.get("prompt"):
        raise InputError("the prompt is empty")
    return ({"text": word} for word in question["prompt"].split())


def ask(server, method="POST", path="/generate", body=b'{"prompt": "a b"}', **headers):
    """Return (status, headers, body) of a request."""
    asked = {"Content-Type": "application/json", "Host": f"127.0.0.1:{server.server_port}"}
    asked |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request(method, path, body if method == "POST" else None, asked)
    reply = connection.getresponse()
    return reply.status, reply.headers, reply.read().decode()


def test_the_page_and_an_answer_line_by_line():
    with serving("<p>the page</p>", echo) as server:
        assert server.server_address[0] == "127.0.0.1" and server.address.startswith("http://127.0.0.1:")
        status, headers, page = ask(server, "GET", "/")
        assert (status, page, headers["Content-Type"]) == (200, "<p>the page</p>", "text/html; charset=utf-8")
        assert headers["X-Frame-Options"] == "DENY" and headers["Cache-Control"] == "no-store"
        status, headers, body = ask(server)
        assert status == 200 and headers["Content-Type"] == "application/x-ndjson"
        assert [json.loads(line) for line in body.splitlines()] == [{"text": "a"}, {"text": "b"}, {"done": True}]
        assert ask(server, "GET", "/report.json")[0] == ask(server, path="/other")[0] == 404


def test_pages_of_other_sites_are_refused():
    asked = []
    with serving("<p>the page</p>", lambda question: asked.append(question) or iter(())) as server:
        port = server.server_port
        for foreign in (
            {"Host": f"evil.example:{port}"}, {"Host": "127.0.0.1:1"}, {"Host": "127.0.0.1"},
            {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": f"https://127.0.0.1:{port}"},
            {"Origin": f"http://127.0.0.1:{port + 1}"}, {"Sec_Fetch_Site": "cross-site"},
            {"Sec_Fetch_Site": "same-site"},
        ):  # fmt: skip
            assert ask(server, **foreign)[0] == 403, foreign
            assert ask(server, "GET", "/", **foreign)[0] == 403, foreign
        for simple in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            assert ask(server, Content_Type=simple)[0] == 400  # what a browser sends without asking for leave
        assert ask(server, "OPTIONS", Origin="http://evil.example")[0] == 501 and not asked  # and leave is not given
        own = {"Host": f"localhost:{port}", "Origin": f"http://localhost:{port}", "Sec_Fetch_Site": "same-origin"}
        assert ask(server, **own)[0] == 200 and len(asked) == 1


@pytest.mark.parametrize(("port", "bare"), [(80, True), (8642, False)])
def test_the_default_port_need_not_be_named(port, bare):
    class At(Server):
        server_port = port

    hosts = At.hosts.fget(At.__new__(At))
    assert {f"127.0.0.1:{port}", f"localhost:{port}"} <= hosts
    assert ({"127.0.0.1", "localhost"} <= hosts) == bare and len(hosts) == (4 if bare else 2)


def test_a_fault_is_printed_and_a_reader_who_went_away_is_not(capsys):
    def failing(question):
        yield {"text": "a"}
        raise ZeroDivisionError("a fault")

    with serving("<p>the page</p>", failing) as server:
        assert json.loads(ask(server)[2].splitlines()[-1]) == {"error": "ZeroDivisionError: a fault"}
        for gone in (BrokenPipeError("gone"), TimeoutError("gone")):
            try:
                raise gone
            except OSError:
                server.handle_error(None, ("127.0.0.1", 1))
    said = capsys.readouterr().err
    assert "ZeroDivisionError: a fault" in said and "gone" not in said


def test_what_is_wrong_is_said(monkeypatch):
    def failing(question):
        yield {"text": "a"}
        raise RunError("the weights are damaged")

    with serving("<p>the page</p>", echo) as server:
        status, _, body = ask(server, body=b'{"prompt": ""}')
        assert (status, json.loads(body)) == (400, {"error": "the prompt is empty"})
        assert ask(server, body=b"{")[0] == 400
        with monkeypatch.context() as changed:
            changed.setattr(servers, "LARGEST", 10)
            assert "at most 10 bytes" in ask(server)[2]
    with serving("<p>the page</p>", failing) as server:
        assert json.loads(ask(server)[2].splitlines()[-1]) == {"error": "the weights are damaged"}
    with serving("<p>the page</p>", echo) as server, pytest.raises(InputError, match="--port"):
        Server(server.server_port, "", echo)


def test_one_prompt_is_answered_at_a_time_and_the_end_stops_it(monkeypatch):
    monkeypatch.setattr(servers, "PATIENCE", 0.05)
    begun, closed = threading.Event(), []

    def endless(question):
        try:
            while True:
                yield {"text": "x"}
                begun.set()
        finally:
            closed.append(1)

    got = []
    with serving("<p>the page</p>", endless) as server:
        thread = threading.Thread(target=lambda: got.append(ask(server)[2].splitlines()[-1]))
        thread.start()
        assert begun.wait(10)
        status, _, body = ask(server)
        assert status == 503 and "another prompt" in body
    thread.join(10)
    assert json.loads(got[0]) == {"error": "the server was stopped"} and closed == [1]


def test_a_reader_who_goes_away_stops_the_answer():
    closed = threading.Event()

    def endless(question):
        try:
            while True:
                yield {"text": "x" * 10_000}
        finally:
            closed.set()

    with serving("<p>the page</p>", endless) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
        connection.request("POST", "/generate", b"{}", {"Content-Type": "application/json"})
        connection.getresponse().read(5)
        connection.close()
        connection.sock = None
        assert closed.wait(10)
