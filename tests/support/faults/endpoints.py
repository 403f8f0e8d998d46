"""Endpoints of language models that fail, lie, flood or echo the key: nothing hangs, and the key goes nowhere."""

import json
import os
from contextlib import contextmanager

from support.faults import in_process, trial
from support.server import Server

KEY = "sk-live-0123456789abcdef"
TERMS = json.dumps({"translations": [{"term": "Zara", "generic": ["Anna"]}]})


@contextmanager
def _environment(**more):
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _leaks(place, outcome):
    written = [p for p in place.folder.rglob("*") if p.is_file() and KEY.encode() in p.read_bytes()]
    return f"the key stands in {written or 'what was printed'}" if written or KEY in outcome.out + outcome.err else ""


def endpoint(name, behave, *, code, says="", more=(), quick=False):
    """Register a trial: build a dictionary with a server that behaves so; behave as in support.server.Server."""

    def act(place, arguments):
        server = Server(behave)
        try:
            with _environment(OPENAI_API_KEY=KEY, NO_PROXY="127.0.0.1"):
                return in_process(place, [word.replace("URL", server.url) for word in arguments])
        finally:
            server.close()

    @trial("endpoint faults", name, code=code, says=says, act=act, judge=_leaks, quick=quick)
    def _(place):
        llm = {"base_url": "URL", "model": "m", "passages": 1, "attempts": 1, "timeout": 3} | dict(more)
        changes = [f"anchors.llm.{key}={value}" for key, value in llm.items()]
        asked = ["anchors", "build", str(place.world / "world.py"), "--out", str(place.folder / "anchors")]
        return [*asked, "anchors.source=llm", *changes]


def completion(text):
    return {"raw": json.dumps({"choices": [{"message": {"content": text}}]})}


endpoint(
    "echoes the key in a refusal",
    lambda *_: {"status": 401, "raw": f"bad key {KEY}"},
    code=2,
    says="refused the key",
    quick=True,
)
endpoint("echoes the key in an error", lambda *_: {"status": 500, "raw": json.dumps({"error": KEY})}, code=1)
endpoint("echoes the key in its reply", lambda *_: TERMS.replace("Anna", KEY), code=0)
endpoint("echoes the key in what is no JSON", lambda *_: f"Bearer {KEY}", code=1, says="usable reply")
endpoint("the key in base_url", lambda *_: TERMS, code=2, says="holds a key", more={"base_url": f"http://u:{KEY}@h/v1"})
endpoint(
    "the key as a query", lambda *_: TERMS, code=2, says="holds a key", more={"base_url": f"http://h/v1?key={KEY}"}
)
endpoint("the key as the variable's name", lambda *_: TERMS, code=2, says="is no name", more={"key_variable": KEY})
endpoint("a body without an end", lambda *_: {"raw": "x" * (20 << 20)}, code=1, says="longer than")
endpoint("brackets without an end", lambda *_: completion("{" * 150_000), code=1, says="usable reply")
endpoint("nested JSON as the whole reply", lambda *_: {"raw": "[" * 300_000}, code=1, says="not a chat completion")
endpoint("content that is no text", lambda *_: completion([{"a": 1}]), code=1, says="not a chat completion")
endpoint("never answers", lambda *_: {"text": TERMS, "delay": 30}, code=1, says="within 1 s", more={"timeout": 1})
endpoint("closes half-way", lambda *_: {"text": TERMS, "cut": True}, code=1, says="connection lost")
endpoint("asks to wait for a year", lambda *_: {"status": 429, "headers": {"Retry-After": "31536000"}}, code=1,
         says="asks to wait", more={"attempts": 2})  # fmt: skip
endpoint("counts tokens that cannot be", lambda *_: {"text": TERMS, "usage": {"prompt_tokens": 10**40}}, code=0)
endpoint("sends elsewhere", lambda *_: {"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}}, code=2,
         says="no chat completions")  # fmt: skip
