"""The command: it loads the models of a run, answers over HTTP and ends at Ctrl-C."""

import http.client
import json
import signal
import socket
import threading

from support.model_files import write_model

from jaxunlearn.cli import main, serve
from jaxunlearn.serving import answers
from jaxunlearn.serving.server import Server


def test_a_run_is_served_until_interrupted(tmp_path, monkeypatch, capsys):
    write_model(tmp_path / "baseline")
    write_model(tmp_path / "unlearned")
    got = {}

    def reader(port):
        for method, path, body in (("GET", "/", None), ("POST", "/generate", '{"prompt": "a b", "max_new_tokens": 3}')):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request(method, path, body, {"Content-Type": "application/json"})
            got[path] = connection.getresponse().read().decode()

    def serve_two_requests(self):
        thread = threading.Thread(target=reader, args=(self.server_port,))
        thread.start()
        self.handle_request()
        self.handle_request()
        thread.join()
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Server, "serve_forever", serve_two_requests)
    assert main(["serve", str(tmp_path), "--port", "0", "--max-new-tokens", "999", "--temperature", "0.5"]) == 130
    said = capsys.readouterr()
    assert said.out.startswith("http://127.0.0.1:") and "shows baseline, unlearned; Ctrl-C ends it" in said.out
    page, lines = got["/"], [json.loads(line) for line in got["/generate"].splitlines()]
    assert 'id="prompt"' in page and "connect-src &#39;self&#39;" in page and 'value="31"' in page  # of a context of 32
    assert lines[-1] == {"done": True} and {line.get("model") for line in lines[:-1]} == {"baseline", "unlearned"}


def test_a_taken_port_is_told_before_any_model_is_loaded(tmp_path, monkeypatch, capsys):
    loaded = []
    monkeypatch.setattr(answers, "load", lambda *given: loaded.append(given))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", str(tmp_path), "--port", str(taken.getsockname()[1])]) == 2
    assert "give another with --port" in capsys.readouterr().err and not loaded


def test_several_models_follow_one_option_or_each_its_own(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(serve, "_load", lambda a, server: asked.append(a.model) or [])
    monkeypatch.setattr(Server, "serve_forever", lambda self: signal.raise_signal(signal.SIGINT))
    for given in (["--model", "baseline", "twin"], ["--model", "baseline", "--model", "twin"], []):
        main(["serve", str(tmp_path), "--port", "0", *given])
    assert asked == [["baseline", "twin"], ["baseline", "twin"], []]


def test_a_folder_without_models_is_refused(tmp_path, capsys):
    assert main(["serve", str(tmp_path)]) == 2
    assert "holds no model of a run" in capsys.readouterr().err
