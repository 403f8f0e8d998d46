"""Questions for a server on the loopback, and the asking of them."""

import json

from pydantic import BaseModel, ConfigDict

from jaxunlearn.llm.endpoint import Endpoint, Request, ask
from jaxunlearn.llm.journal import Journal
from support.server import Waits


class Grade(BaseModel):
    model_config = ConfigDict(extra="forbid")
    grade: int


def question(text, schema=Grade):
    return Request(messages=({"role": "user", "content": text},), schema=schema)


def questions(n, schema=Grade):
    return [question(f"question {i}", schema) for i in range(n)]


def put(requests, server, folder, sleep=None, say=lambda line: None, **settings):
    url = server if isinstance(server, str) else server.url
    settings = {"model": "m", "timeout": 60.0, "concurrency": 4, "attempts": 3} | settings
    sleep = Waits() if sleep is None else sleep
    return ask(requests, Endpoint(base_url=url, **settings), Journal(folder), say, sleep)


def grade_of(text, nth=0, body=None):
    return json.dumps({"grade": int(text.split()[-1])})


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]
