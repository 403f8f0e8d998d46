"""Servers on the loopback, and an environment without an endpoint."""

import contextlib

import pytest
from support.server import Server


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in ("OPENAI_BASE_URL", "OPENAI_MODEL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def serve():
    """Start servers that are closed after the test."""
    with contextlib.ExitStack() as stack:

        def start(behave):
            server = Server(behave)
            stack.callback(server.close)
            return server

        yield start
