"""A key reaches neither disk nor screen nor report, wherever it was put and whatever the endpoint sends back."""

import json

import pytest
from support.asking import grade_of, put, questions

from jaxunlearn.cli import main
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.llm.endpoint import Endpoint
from jaxunlearn.llm.secrets import blotted, is_address, is_clear, refuse_secrets

KEY = "sk-proj/Ab1+9_xyzQ"


@pytest.mark.parametrize(
    ("url", "variable"),
    [
        (f"http://user:{KEY}@host/v1", "OPENAI_API_KEY"),
        (f"http://host/v1?api_key={KEY}", "OPENAI_API_KEY"),
        (f"http://host/{KEY}/v1", "MY_KEY"),
        ("http://host/v1", KEY),
        ("http://host/v1", "AB12CD34EF56AB78CD90EF12"),
    ],
)
def test_a_key_in_a_setting_is_refused_and_not_shown(monkeypatch, world, tmp_path, capsys, url, variable):
    monkeypatch.setenv("MY_KEY", KEY)
    with pytest.raises(InputError) as refused:
        refuse_secrets("judge", url, variable)
    assert KEY not in str(refused.value) and "AB12" not in str(refused.value)
    asked = ["run", str(world / "world.py"), f"run.dir={tmp_path}/run", f"judge.base_url={url}"]
    assert main([*asked, f"judge.key_variable={variable}"]) == 2
    said = capsys.readouterr()
    assert KEY not in said.out + said.err and not (tmp_path / "run" / "config.json").exists()


def test_plain_settings_pass():
    refuse_secrets("judge", "http://localhost:11434/v1", "OPENAI_API_KEY")
    refuse_secrets("judge", "", "MY_OWN_PROVIDER_API_KEY")
    assert is_address("https://host:8000/v1") and not is_address("ftp://host/v1")
    assert not is_address("http://host:port/v1") and not is_address("http://[::1/v1") and not is_address("sk-abc")


@pytest.mark.parametrize(
    ("url", "clear"),
    [("http://api.host.com/v1", True), ("http://8.8.8.8:80/v1", True), ("http://[2001:4860:4860::8888]/v1", True),
     ("https://api.host.com/v1", False), ("http://localhost:1/v1", False), ("http://127.0.0.1:1/v1", False),
     ("http://[::1]/v1", False), ("http://192.168.0.7/v1", False), ("http://gpu1:8000/v1", False),
     ("http://box.local/v1", False)],
)  # fmt: skip
def test_a_key_goes_to_no_strange_host_unencrypted(monkeypatch, url, clear):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert is_clear(url) is clear
    endpoint = Endpoint(base_url=url, model="m").resolved()
    if clear:
        with pytest.raises(InputError, match=r"OPENAI_API_KEY would go to http://.* unencrypted") as refused:
            endpoint.secret()
        assert KEY not in str(refused.value)
    else:
        assert endpoint.secret() == KEY
    for placeholder in ("", "EMPTY"):
        monkeypatch.setenv("OPENAI_API_KEY", placeholder)
        assert endpoint.secret() == placeholder


@pytest.mark.parametrize("how", ["text", "error", "refusal", "malformed", "escaped"])
def test_an_endpoint_that_echoes_the_key_gets_it_nowhere(serve, tmp_path, monkeypatch, how):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    said: list[str] = []

    def behave(text, nth, body):
        if how == "error":
            return {"status": 500, "raw": json.dumps({"error": {"message": f"{KEY} is overloaded"}})}
        if how == "refusal":
            return {"status": 401, "raw": f"no such key: {KEY}"}
        if how == "malformed":
            return f"Bearer {KEY}"
        reply = json.dumps({"choices": [{"message": {"content": f"{grade_of(text)} // {KEY}"}}]})
        if how == "escaped":
            reply = reply.replace(KEY, "".join(f"\\u{ord(c):04X}" for c in KEY)).replace("/", "\\/")
        return {"raw": reply}

    try:
        put(questions(2), serve(behave), tmp_path, say=said.append)
    except (InputError, RunError) as error:
        said.append(str(error))
    written = "".join(p.read_text() for p in tmp_path.rglob("*") if p.is_file())
    rows = [json.loads(line)["text"] for line in written.split("\n") if line]
    assert KEY not in " ".join([written, *said, *rows])
    if how in ("text", "escaped"):
        assert "***" in written


def test_a_placeholder_that_is_no_key_changes_no_text():
    assert blotted(b"ollama runs", "ollama") == b"ollama runs"
    assert blotted(KEY.encode() + b"!", KEY) == b"***!"
