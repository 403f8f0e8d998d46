"""Servers on the loopback, and an environment without an endpoint."""

import contextlib

import pytest
from support.server import Server, without_endpoint


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    without_endpoint(monkeypatch)


@pytest.fixture
def serve():
    """Start servers that are closed after the test."""
    with contextlib.ExitStack() as stack:

        def start(behave):
            server = Server(behave)
            stack.callback(server.close)
            return server

        yield start
