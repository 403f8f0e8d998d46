"""Read what an endpoint sends back: the completion and its usage, its faults, the JSON values in it."""

import ast
import json
import math
import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeGuard

CHARACTERS_PER_TOKEN = 4  # of English prose, for an estimate where an endpoint reports no usage
LONGEST, MOST_TOKENS = 200_000, 10**9  # characters of a reply that are read; tokens that a reply may report
DEEPEST = 50  # brackets within brackets of a value
QUOTED = 2000  # characters of a bad reply that are shown back to the model
# fields that some endpoints refuse, and the words that show it in their error messages
OPTIONAL = {
    "response_format": ("response_format", "json_schema", "json schema", "structured output", "grammar"),
    "temperature": ("temperature",),
    "seed": ("seed",),
}


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens read and written by the model; estimated: some were not reported by the endpoint."""

    prompt: int = 0
    completion: int = 0
    estimated: bool = False

    def __add__(self, other: "Usage") -> "Usage":
        sums = self.prompt + other.prompt, self.completion + other.completion
        return Usage(prompt=sums[0], completion=sums[1], estimated=self.estimated or other.estimated)


class Trouble(Exception):
    """An attempt without a usable reply.

    wait: seconds that the endpoint asks to wait. down: no connection. malformed: there was a reply, but not in the
    form asked for. refused: the endpoint does not take this question.
    """

    def __init__(self, reason: str, *, wait: float | None = None, down=False, malformed=False, refused=False):
        super().__init__(reason)
        self.wait, self.down, self.malformed, self.refused = wait, down, malformed, refused


def refused_field(response: Any, body: Mapping) -> str | None:
    """Return the optional field of a request that a refusal complains about, None for any other reply."""
    if response.status_code not in (400, 415, 422, 501):
        return None
    said = response.text.lower()
    return next((field for field, words in OPTIONAL.items() if field in body and any(w in said for w in words)), None)


def retry_after(value: str) -> float | None:
    """Return the seconds of a Retry-After header, a number or a date; None where it is neither."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def read_completion(response: Any, messages: Sequence[Mapping[str, str]]) -> tuple[str, Usage]:
    """Return the text of a chat completion and its usage; raise Trouble where it is no chat completion."""
    try:
        reply = response.json()
        text = reply["choices"][0]["message"]["content"] or ""
        reported = reply.get("usage") or {}
        prompt, completion = reported.get("prompt_tokens"), reported.get("completion_tokens")
        text = text.encode("utf-8", "replace").decode()  # half a surrogate pair can stand in no file
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise Trouble(f"not a chat completion: {' '.join(response.text.split())[:100]!r}") from None
    if len(text) > LONGEST:
        raise Trouble(f"the reply has {len(text):,} characters, {LONGEST:,} are read at most", malformed=True)
    if _is_count(prompt) and _is_count(completion):
        return text, Usage(prompt=prompt, completion=completion)
    asked, told = (-(-n // CHARACTERS_PER_TOKEN) for n in (sum(len(m["content"]) for m in messages), len(text)))
    return text, Usage(prompt=asked, completion=told, estimated=True)


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= MOST_TOKENS


def complaint(text: str, fault: str) -> list[dict[str, str]]:
    """Return the messages that show the model its reply and what is wrong with it."""
    asked = f"That reply cannot be used: {fault}. Reply again with the JSON object alone, in the form described."
    return [{"role": "assistant", "content": text[:QUOTED] or "(empty)"}, {"role": "user", "content": asked}]


# ---- the values in a reply


def read_reply(text: str, schema: Any) -> tuple[Any, str]:
    """Return (value, "") with the first value in a reply that fits the schema, or (None, what is wrong)."""
    if schema is None:
        return (text, "") if text.strip() else (None, "the reply is empty")
    from pydantic import ValidationError

    fault = ""
    for found in find_values(text):
        try:
            return schema.model_validate(found), ""
        except ValidationError as error:
            first = error.errors()[0]
            fault = fault or f"{'.'.join(map(str, first['loc'])) or 'the value'}: {first['msg']}"
    return None, fault or ("it holds no valid JSON" if text.strip() else "the reply is empty")


def find_values(text: str) -> Iterator[Any]:
    """Yield the JSON objects and lists in a text, bare, fenced or in prose; Python literals of these are read too."""
    text, place = text.rpartition("</think>")[2], 0
    for _ in range(50):  # a bound for texts of many brackets
        match = re.compile(r"[{\[]").search(text, place)
        if match is None:
            return
        found = _parse_at(text, match.start())
        place = found[1] if found else match.start() + 1
        if found:
            yield found[0]


def _parse_at(text: str, start: int) -> tuple[Any, int] | None:
    try:
        return json.JSONDecoder(strict=False).raw_decode(text, start)
    except (ValueError, RecursionError):
        pass
    end = _closing(text, start)
    if end is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about invalid escapes in strings
            return ast.literal_eval(text[start:end]), end
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


def _closing(text: str, start: int) -> int | None:
    """Return the end of the bracket that opens at start, quotes skipped; None where it never closes."""
    depth = 0
    for part in re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[{}\[\]()]""", re.DOTALL).finditer(text, start):
        depth += (part[0] in "{[(") - (part[0] in "}])")
        if depth == 0:
            return part.end()
        if depth > DEEPEST:
            return None
    return None
