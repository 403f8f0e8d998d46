"""A server of a run's page, in a thread."""

import contextlib
import threading

from jaxunlearn.serving.server import Server


@contextlib.contextmanager
def serving(page, answer):
    """Serve a page and answers on a free port, and end it."""
    server = Server(0, page, answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.end()
