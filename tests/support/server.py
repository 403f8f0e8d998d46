"""A chat endpoint on the loopback that behaves as a test says."""

import asyncio
import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """A chat endpoint; behave(question, nth time asked, body) says what to do: a reply's text, or a dict.

    Of the dict: text, status, headers, raw (the whole body), usage, delay (seconds), cut (close half-way).
    """

    def __init__(self, behave):
        self.behave, self.bodies, self.headers, self.lock = behave, [], [], threading.Lock()
        self.busy = self.most = 0
        self.closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                with contextlib.suppress(ConnectionError):
                    outer.serve(self)

            def log_message(self, *_):
                pass

        ThreadingHTTPServer.request_queue_size = 64
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def serve(self, handler):
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        question = question_of(body)
        with self.lock:
            nth = self.asked(question)
            self.bodies.append(body)
            self.headers.append(dict(handler.headers))
            self.busy += 1
            self.most = max(self.most, self.busy)
        act = self.behave(question, nth, body) if handler.path == "/v1/chat/completions" else {"status": 404}
        act = {"text": act} if isinstance(act, str) else act
        self.closing.wait(act.get("delay", 0))
        reply = {"choices": [{"message": {"role": "assistant", "content": act.get("text", "")}}]}
        reply |= {"usage": act["usage"]} if "usage" in act else {}
        data = (act["raw"] if "raw" in act else json.dumps(reply)).encode()
        with self.lock:
            self.busy -= 1
        handler.send_response(act.get("status", 200))
        for name, value in act.get("headers", {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[: len(data) // 2] if act.get("cut") else data)
        handler.close_connection = bool(act.get("cut"))

    def asked(self, question):
        """How often a question came, complaints about a reply to it included."""
        return sum(question == question_of(body) for body in self.bodies)

    def close(self):
        if not self.closing.is_set():
            self.closing.set()
            self.http.shutdown()
            self.http.server_close()
            self.thread.join()


def question_of(body):
    return next(message["content"] for message in body["messages"] if message["role"] == "user")


class Waits(list):
    """A sleep that only notes how long it would have been."""

    async def __call__(self, seconds):
        self.append(seconds)
        await asyncio.sleep(0)


def without_endpoint(monkeypatch):
    """Leave no endpoint in the environment, and ask no proxy for the loopback."""
    for name in ("OPENAI_BASE_URL", "OPENAI_MODEL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
