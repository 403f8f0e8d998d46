"""A server for one reader on this machine: the page, and answers to prompts as lines of JSON while they come.

It listens on 127.0.0.1 alone. A page of another site that the same browser shows cannot use it: a request must name
this server as its host (a foreign name that resolves to this machine does not), must not come from another origin, and
a question must be JSON, which a browser sends to another site only after asking for leave, which is not given.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from jaxunlearn.errors import InputError, RunError
from jaxunlearn.files import json_text, parse_json

HERE = "127.0.0.1"
LARGEST = 1 << 20  # bytes of a question
PATIENCE = 10.0  # seconds that a question waits for the one before it
END = 5.0  # seconds that the end of the server waits for the token that is being computed
HEADERS = {
    "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin", "Referrer-Policy": "no-referrer",
}  # fmt: skip

Answer = Callable[[dict[str, Any]], Iterator[dict[str, Any]]]


class Server(ThreadingHTTPServer):
    """Serves a page and what `answer` gives for a question; one question at a time. Raises InputError on a taken port.

    answer: a question to answers, each of which becomes a line of JSON; InputError before the first is told the reader.
    Both may be given later, by `offers`: the port is taken at once, and who asks before `serve_forever` waits.
    """

    daemon_threads = True  # a browser keeps connections open on which it asks nothing
    allow_reuse_address = True

    def __init__(self, port: int, page: str = "", answer: Answer = lambda question: iter(())):
        self.offers(page, answer)
        self.turn, self.stopped = threading.Lock(), threading.Event()
        try:
            super().__init__((HERE, port), Handler)
        except OSError as error:
            said = f"port {port}: {error.strerror}; give another with --port, or 0 for any free one"
            raise InputError(said) from None

    def offers(self, page: str, answer: Answer) -> None:
        """Set what is served."""
        self.page, self.answer = page.encode("utf-8", "replace"), answer

    @property
    def address(self) -> str:
        """Return the address of the page."""
        return f"http://{HERE}:{self.server_port}/"

    @property
    def hosts(self) -> set[str]:
        """Return the names by which a request may call this server."""
        names = (HERE, "localhost")
        bare = names if self.server_port == 80 else ()  # a browser leaves out the port that http has anyway
        return {*bare, *(f"{name}:{self.server_port}" for name in names)}

    def end(self) -> None:
        """Stop after the token that is being computed, and close."""
        self.stopped.set()
        self.turn.acquire(timeout=END)
        self.server_close()

    def handle_error(self, request, client_address) -> None:
        """Print the traceback of a fault; say nothing of a reader who went away."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server  # pyrefly: ignore
    server_version, sys_version = "jaxunlearn", ""
    timeout = 60

    def do_GET(self) -> None:
        """Send the page."""
        if self._is_foreign():
            return
        if self.path != "/":
            self._refuse(HTTPStatus.NOT_FOUND, f"there is nothing at {self.path}; the page is at /")
            return
        self._begin(HTTPStatus.OK, "text/html; charset=utf-8", len(self.server.page))
        self.wfile.write(self.server.page)

    def do_POST(self) -> None:
        """Answer a question, a line of JSON at a time."""
        if self._is_foreign():
            return
        if self.path != "/generate":
            self._refuse(HTTPStatus.NOT_FOUND, f"nothing answers at {self.path}; questions go to /generate")
            return
        try:
            question = self._question()
            if not self.server.turn.acquire(timeout=PATIENCE):
                busy = "another prompt is being answered; try again when it is done"
                self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, busy)
                return
            try:
                self._send(self.server.answer(question))
            finally:
                self.server.turn.release()
        except InputError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))

    def _send(self, answers: Iterator[dict[str, Any]]) -> None:
        """Send lines while they come; a fault after the first is a line, too."""
        self._begin(HTTPStatus.OK, "application/x-ndjson")
        try:
            for answer in answers:
                self._line(answer)
                if self.server.stopped.is_set():
                    self._line({"error": "the server was stopped"})
                    return
        except (ConnectionError, TimeoutError):  # the reader went away
            return
        except (InputError, RunError) as error:
            self._line({"error": str(error)})
        except Exception as error:  # the reader waits for an end
            self._line({"error": f"{type(error).__name__}: {error}"})
            raise
        else:
            self._line({"done": True})

    def _line(self, content: dict[str, Any]) -> None:
        self.wfile.write(json_text(content).encode() + b"\n")
        self.wfile.flush()

    def _question(self) -> Any:
        """Return the request's JSON; InputError where it is none."""
        kind, length = self.headers.get_content_type(), self.headers.get("Content-Length", "")
        if kind != "application/json":
            raise InputError(f"a question is sent as application/json, got {kind}")
        if not length.isdecimal() or int(length) > LARGEST:
            raise InputError(f"a question has at most {LARGEST:,} bytes; shorten the prompt")
        return parse_json(self.rfile.read(int(length)).decode("utf-8", "replace"), "the question")

    def _is_foreign(self) -> bool:
        """Refuse a request of another site, or by another name of this server; return whether it was one."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        hosts = self.server.hosts
        same = origin is None or origin in {f"http://{name}" for name in hosts}
        if host in hosts and same and self.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin"):
            return False
        self._refuse(HTTPStatus.FORBIDDEN, f"this server answers its own page alone: open {self.server.address}")
        return True

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        content = json_text({"error": why}).encode()
        self._begin(status, "application/json", len(content))
        self.wfile.write(content)

    def _begin(self, status: HTTPStatus, kind: str, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Print no line a request: prompts are nobody's business."""
