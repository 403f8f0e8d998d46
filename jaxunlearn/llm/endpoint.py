"""Ask any OpenAI-compatible endpoint many questions; no reply is lost, and none is paid for twice.

OpenAI, vLLM, Ollama and llama.cpp's server speak this protocol. A worker writes every usable reply to replies.jsonl
before it asks anything else; a rerun reads the file and asks only for what is missing. Questions without a usable
reply in all their attempts are written to malformed.jsonl and count as settled; delete that file to ask them again.
"""

import asyncio
import dataclasses
import functools
import hashlib
import os
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxunlearn.config.fields import LlmEndpoint
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.files import json_text
from jaxunlearn.llm.journal import MALFORMED, REPLIES, Journal
from jaxunlearn.llm.replies import Trouble, Usage, complaint, read_completion, read_reply, refused_field, retry_after
from jaxunlearn.llm.secrets import SECRET, blotted, is_address, is_clear, refuse_secrets

LARGEST = 8 << 20  # bytes of a reply's body
LONGEST_BACKOFF, LONGEST_WAIT = 60.0, 600.0  # seconds: our longest wait, the longest by Retry-After
SILENT = 3  # questions in a row without any reply in all their attempts: the endpoint is taken to be down


@dataclass(frozen=True, kw_only=True)
class Endpoint(LlmEndpoint):
    """The settings of an endpoint, with what follows from them: the key and the cost."""

    @classmethod
    def of(cls, settings: LlmEndpoint) -> "Endpoint":
        """Return the endpoint that a section of the configuration describes."""
        return cls(**{field.name: getattr(settings, field.name) for field in dataclasses.fields(LlmEndpoint)})

    def resolved(self) -> "Endpoint":
        """Fill empty fields from the environment and check all; one InputError names everything missing or wrong."""
        refuse_secrets("the endpoint", self.base_url, self.key_variable)
        url = (self.base_url or os.environ.get("OPENAI_BASE_URL", "")).strip().rstrip("/")
        url = url.removesuffix("/chat/completions")
        model, wrong = self.model or os.environ.get("OPENAI_MODEL", ""), []
        if not url:
            wrong.append("no base_url: give it or set OPENAI_BASE_URL, for example http://localhost:11434/v1 (Ollama)")
        elif not is_address(url):
            wrong.append(f"base_url is {url!r}, expected http(s)://HOST[:PORT]/v1")
        if not model:
            wrong.append("no model: give its name as the endpoint knows it, or set OPENAI_MODEL")
        if self.concurrency < 1 or self.attempts < 1 or self.timeout <= 0:
            wrong.append("concurrency and attempts must be at least 1, timeout above 0 seconds")
        if wrong:
            raise InputError("the language model's endpoint is not usable:\n  " + "\n  ".join(wrong))
        return dataclasses.replace(self, base_url=url, model=model)

    def cost(self, usage: Usage) -> float | None:
        """Return the cost of tokens in the currency of the prices, None where no price was given."""
        if not (self.price_in or self.price_out):
            return None
        return (usage.prompt * self.price_in + usage.completion * self.price_out) / 1e6

    def secret(self) -> str:
        """Return the key, "" where there is none.

        Raise InputError where no HTTP header can carry it, and where strangers could read it on its way.
        """
        key = os.environ.get(self.key_variable, "").strip()
        if not key.isascii() or not (key.isprintable() and " " not in key):
            raise InputError(f"{self.key_variable} does not hold a key: it has spaces or characters outside ASCII")
        if len(key) >= SECRET and is_clear(self.base_url):
            raise InputError(
                f"the key of {self.key_variable} would go to {self.base_url} unencrypted: give base_url as https://, "
                "or a tunnel's end on localhost"
            )
        return key


@dataclass(frozen=True, kw_only=True)
class Request:
    """Messages ({"role", "content"}) and the pydantic model that the reply must fit; schema=None: any text.

    The messages should describe the form in words as well, since not every endpoint takes a schema.
    """

    messages: tuple[Mapping[str, str], ...]
    schema: Any = None

    def key(self, endpoint: Endpoint) -> str:
        """Return a hash of everything that the answer depends on; the address of the endpoint is not part of it."""
        schema = self.schema.model_json_schema() if self.schema else None
        parts = [endpoint.model, endpoint.temperature, [dict(m) for m in self.messages], schema]
        return hashlib.sha256(json_text(parts, sort_keys=True).encode()).hexdigest()[:32]

    def characters(self) -> int:
        """Return the number of characters that are sent, for an estimate."""
        return sum(len(m["content"]) for m in self.messages)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """A value for each request in their order, None where there is none, and what the answers needed.

    sent: HTTP requests of this call. retries: those beyond the first of a question. resumed, malformed, unanswered:
    questions settled by earlier calls, without a usable reply, and left to the next call. usage: tokens of all
    attempts at these questions, earlier calls included. fault: an example of why a question has no value.
    """

    values: tuple[Any, ...]
    sent: int
    retries: int
    resumed: int
    malformed: int
    unanswered: int
    usage: Usage
    fault: str


def ask(
    requests: Sequence[Request],
    endpoint: Endpoint,
    journal: Journal,
    say: Callable[[str], None],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Answers:
    """Ask what the journal does not hold yet, `concurrency` questions at a time, and return every answer.

    say: prints a line of progress. sleep: waits so many seconds. Raises InputError on a refused key and on an unknown
    address or model, RunError where the endpoint does not answer or the disk is full; replies until then are kept.
    """
    endpoint = endpoint.resolved()
    questions = {request.key(endpoint): request for request in requests}
    todo = {key: request for key, request in questions.items() if not journal.holds(key)}
    session = _Session(endpoint, journal, say, sleep, total=len(questions), done=len(questions) - len(todo))
    if journal.damaged:
        say(f"  {journal.damaged:,} lines of {journal.folder} are damaged: their questions are asked again")
    if todo:
        asyncio.run(session.run(todo))
    read = {k: read_reply(journal.replies[k]["text"], q.schema) for k, q in questions.items() if k in journal.replies}
    rows = [row for key in questions for row in (journal.replies.get(key), journal.malformed.get(key)) if row]
    faults = [fault for _, fault in read.values() if fault]
    set_aside = [row["reason"] for key, row in journal.malformed.items() if key in questions]
    return Answers(
        values=tuple(read.get(r.key(endpoint), (None, ""))[0] for r in requests),
        sent=session.sent, retries=session.sent - session.first, resumed=len(questions) - len(todo),
        malformed=len(set_aside) + len(faults), unanswered=session.unanswered,
        usage=sum((Usage(**row["usage"]) for row in rows), session.unkept),
        fault=next(iter([*set_aside, *faults, *session.said]), ""),
    )  # fmt: skip


# ---- asking


class _Session:
    """The state that the workers of one call of `ask` share.

    first: questions sent, so that sent - first are retries. silent: questions in a row without any reply.
    unkept: tokens of replies that are in no file. refused: optional fields that the endpoint does not take.
    said: faults that were met, in order.
    """

    def __init__(self, endpoint: Endpoint, journal: Journal, say, sleep, *, total: int, done: int):
        self.endpoint, self.journal, self.say, self.sleep = endpoint, journal, say, sleep
        self.key, self.total, self.done = endpoint.secret(), total, done
        self.sent = self.first = self.unanswered = self.silent = 0
        self.unkept = Usage()
        self.refused: set[str] = set()
        self.said: dict[str, None] = {}

    async def run(self, todo: Mapping[str, Request]) -> None:
        """Settle every question; workers take from one queue, so at most one request a worker is under way."""
        import httpx

        queue = iter(todo.items())
        headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        # no timeout of the library: `send` limits the time of a whole reply
        async with httpx.AsyncClient(headers=headers, timeout=None, verify=_certificates()) as client:

            async def work() -> None:
                for key, request in queue:
                    await self.settle(client, key, request)

            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self.endpoint.concurrency, len(todo))):
                        group.create_task(work())
            except BaseExceptionGroup as failures:
                raise failures.exceptions[0] from None

    async def settle(self, client, key: str, request: Request) -> None:
        """Ask one question until it has a usable reply or its attempts are used up; a bad reply is shown back."""
        draw, messages = random.Random(f"{self.endpoint.seed} {key}"), list(request.messages)
        usage, text, trouble = Usage(), "", Trouble("")
        self.first += 1
        for attempt in range(self.endpoint.attempts):
            if attempt:
                await self.pause(attempt, trouble, draw)
            try:
                text, spent = await self.post(client, messages, request.schema, self.endpoint.seed + attempt)
                usage, self.silent = usage + spent, 0
                fault = read_reply(text, request.schema)[1]
                if not fault:
                    return self.keep(REPLIES, key, text, usage)
                trouble, messages = Trouble(fault, malformed=True), [*request.messages, *complaint(text, fault)]
            except Trouble as caught:
                trouble = caught
            self.note(str(trouble))
            if trouble.refused:
                break
        if trouble.malformed:
            return self.keep(MALFORMED, key, text, usage, reason=str(trouble))
        self.unkept += usage
        self.leave(trouble)

    def keep(self, name: str, key: str, text: str, usage: Usage, **more: str) -> None:
        self.journal.keep(name, {"key": key, "text": text, "usage": dataclasses.asdict(usage)} | more)
        self.done += 1
        if self.done * 10 // self.total > (self.done - 1) * 10 // self.total:
            self.say(f"  {self.done:,} of {self.total:,} questions settled")

    def leave(self, trouble: Trouble) -> None:
        """Leave a question to the next call; raise RunError where the endpoint has stopped answering."""
        self.unanswered += 1
        self.silent += not trouble.refused  # a refusal is an answer, though none to keep
        if trouble.down or self.silent >= SILENT:
            kept = f"{self.done:,} of {self.total:,} questions are settled and kept in {self.journal.folder}"
            raise RunError(
                f"{self.endpoint.base_url} does not answer ({trouble}); {kept}; the same command goes on from there"
            )

    async def pause(self, attempt: int, trouble: Trouble, draw: random.Random) -> None:
        """Wait 1, 2, 4... seconds (times 0.5 to 1.5), or as long as the endpoint asks, before the next attempt."""
        if trouble.wait is None:
            return await self.sleep(min(LONGEST_BACKOFF, 2.0 ** (attempt - 1)) * draw.uniform(0.5, 1.5))
        if trouble.wait > LONGEST_WAIT:
            text = f"{self.endpoint.base_url} asks to wait {trouble.wait:,.0f} s ({trouble})"
            raise RunError(f"{text}; what was finished is kept, and the same command goes on from there later")
        await self.sleep(trouble.wait + draw.uniform(0, 1))  # so that the workers do not return all at once

    def note(self, reason: str) -> None:
        if reason not in self.said and len(self.said) < 20:
            self.say(f"  no usable reply: {reason}")
        self.said[reason] = None

    async def post(self, client, messages: list, schema: Any, seed: int) -> tuple[str, Usage]:
        """Send one question and return text and usage; fields that this endpoint refuses are left out from then on."""
        while True:
            body = {"model": self.endpoint.model, "messages": messages, "temperature": self.endpoint.temperature}
            body |= {"seed": seed} | ({"response_format": _format(schema)} if schema else {})
            body = {field: value for field, value in body.items() if field not in self.refused}
            response = await self.send(client, body)
            field = refused_field(response, body)
            if field is None:
                self.check(response)
                return read_completion(response, messages)
            if field not in self.refused:
                self.say(f"  {self.endpoint.base_url} does not take {field}; going on without")
            self.refused.add(field)
            self.first += 1  # the question is put differently: no retry

    async def send(self, client, body: dict) -> Any:
        import httpx

        self.sent += 1
        try:
            async with asyncio.timeout(self.endpoint.timeout):
                return await self.receive(client, f"{self.endpoint.base_url}/chat/completions", body)
        except TimeoutError:
            raise Trouble(f"no whole reply within {self.endpoint.timeout:g} s") from None
        except httpx.ConnectError as error:
            raise Trouble(f"no connection: {error}", down=True) from None
        except httpx.HTTPError as error:
            raise Trouble(f"connection lost: {error or type(error).__name__}") from None
        except httpx.InvalidURL as error:
            raise InputError(f"base_url is {self.endpoint.base_url!r}: {error}") from None

    async def receive(self, client, url: str, body: dict) -> Any:
        """Return the whole response, of LARGEST bytes at most, in which the key is blotted out."""
        import httpx

        data = bytearray()
        async with client.stream("POST", url, json=body) as response:
            async for part in response.aiter_bytes(1 << 16):
                data += part
                if len(data) > LARGEST:
                    raise Trouble(f"the reply is longer than {LARGEST >> 20} MiB", malformed=True)
        kept = {k: v for k, v in response.headers.items() if k in ("retry-after", "content-type")}
        return httpx.Response(response.status_code, headers=kept, content=blotted(bytes(data), self.key))

    def check(self, response: Any) -> None:
        """Raise InputError for an answer that ends the run, Trouble for one that is worth another attempt."""
        code, url, variable = response.status_code, self.endpoint.base_url, self.endpoint.key_variable
        said = f"HTTP {code}: {self.message(response)}"
        if code in (401, 403):
            state = f"refused the key in {variable}" if self.key else f"wants a key, and {variable} is not set"
            raise InputError(f"{url} {state} ({said}); set {variable} to a key that may use {self.endpoint.model}")
        if code in (404, 405) or 300 <= code < 400:
            known = f"no chat completions of model {self.endpoint.model!r}"
            raise InputError(f"{url} has {known} ({said}); check model and base_url, which ends in /v1 as a rule")
        if code in (408, 409, 425, 429) or code >= 500:
            raise Trouble(said, wait=retry_after(response.headers.get("retry-after", "")))
        if code >= 400:
            raise Trouble(said, refused=True)

    def message(self, response: Any) -> str:
        """Return the message of an error, shortened."""
        try:
            said = response.json()
            said = said.get("error", said.get("detail", said))
            said = said.get("message", said) if isinstance(said, dict) else said
        except (ValueError, AttributeError, RecursionError):
            said = response.text
        return " ".join(str(said).split())[:300]


@functools.cache
def _certificates() -> Any:
    """Return the trusted certificates, loaded once a process because it takes 0.1 s."""
    import httpx

    return httpx.create_ssl_context()


def _format(schema: Any) -> dict:
    described = {"name": schema.__name__, "strict": True, "schema": schema.model_json_schema()}
    return {"type": "json_schema", "json_schema": described}
