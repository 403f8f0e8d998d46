"""The models of a run side by side, and what they write after a prompt, as it comes."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax

from jaxunlearn.config.bounds import NONE_OR_SOME, SEED, SOME, TEMPERATURE, Range
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.methods import inference
from jaxunlearn.methods.controls import CONTROLS
from jaxunlearn.models import peft
from jaxunlearn.models.generate import Sampling
from jaxunlearn.models.streaming import stream
from jaxunlearn.parallel.sharding import make_mesh
from jaxunlearn.run.store import found_model, read_model

MAIN = ("baseline", "unlearned", "repaired", "twin", "reinforced")  # folders of a run, in the order of the page
TOP_P = Range(0, 1, above=True)
FIELDS: dict[str, tuple[type | tuple[type, ...], Range | None, Any]] = {  # of a question: kind, range, default
    "prompt": (str, None, ""), "models": (list, None, None), "chat": (bool, None, False),
    "max_new_tokens": (int, SOME, 64), "temperature": ((int, float), TEMPERATURE, 0.0),
    "top_k": (int, NONE_OR_SOME, 0), "top_p": ((int, float), TOP_P, 1.0), "seed": (int, SEED, 0),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One model that can be asked: its name in the report, its weights, its tokenizer, what stands before a prompt."""

    name: str
    model: Any
    tokenizer: Tokenizer
    prefix: str = ""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The loaded models of a run."""

    models: tuple[Asked, ...]
    mesh: Any = field(repr=False)

    @property
    def names(self) -> list[str]:
        """Return the models' names in order."""
        return [one.name for one in self.models]

    @property
    def context(self) -> int:
        """Return the shortest context of the models, in tokens."""
        return min(one.model.c.context for one in self.models)

    def stream(self, question: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield {"model", "text"} as tokens come, by turns, and {"model", "text", "tokens", "seconds"} at each end.

        question: FIELDS, all but the prompt optional. `text` is all that the model has written. Everything is checked
        before the first answer: InputError says what was given and what was expected.
        """
        q = checked(question)
        unknown = [name for name in q["models"] or () if name not in self.names]
        if unknown:
            raise InputError(f"no model {unknown[0]!r} here; there are {', '.join(self.names)}")
        chosen = [one for one in self.models if q["models"] is None or one.name in q["models"]]
        if not chosen:
            raise InputError("no model was chosen; choose at least one")
        prompts = [self._prompt(one, q) for one in chosen]
        return self._by_turns(chosen, prompts, q)

    def _prompt(self, one: Asked, q: dict[str, Any]) -> list[int]:
        """Return the prompt's tokens; InputError where it is empty or leaves no room for the answer."""
        if not q["prompt"].strip():
            raise InputError("the prompt is empty; type a few words that the models shall continue")
        tokens, context = one.tokenizer.asked(one.prefix + q["prompt"], q["chat"]), one.model.c.context
        if len(tokens) + q["max_new_tokens"] > context:
            raise InputError(
                f"the prompt has {len(tokens):,} tokens and the answer up to {q['max_new_tokens']:,}, together more "
                f"than the {context:,} that {one.name} can read; shorten the prompt or ask for fewer tokens"
            )
        return tokens

    def _by_turns(self, chosen: list[Asked], prompts: list[list[int]], q: dict[str, Any]) -> Iterator[dict[str, Any]]:
        sampling = Sampling(float(q["temperature"]), q["top_k"], float(q["top_p"]))
        with jax.set_mesh(self.mesh):
            running = {
                one.name: _texts(one, prompt, q["max_new_tokens"], sampling, q["seed"])
                for one, prompt in zip(chosen, prompts, strict=True)
            }
            while running:
                for name, texts in list(running.items()):
                    found = next(texts, None)
                    if found is None:
                        del running[name]
                    else:
                        yield {"model": name} | found


def _texts(one: Asked, prompt: list[int], most: int, sampling: Sampling, seed: int) -> Iterator[dict[str, Any]]:
    """Yield {"text"} after every token, and the last time with "tokens" and "seconds"."""
    begun, new, decode = time.monotonic(), [], one.tokenizer.decode
    asked = len(decode(prompt))
    for tokens in stream(one.model, prompt, most, sampling, seed=seed, eos_ids=one.tokenizer.eos_ids):
        new += tokens
        yield {"text": decode(prompt + new)[asked:].rstrip("\ufffd")}  # half a character waits for its other half
    yield {"text": decode(prompt + new)[asked:], "tokens": len(new), "seconds": round(time.monotonic() - begun, 3)}


def checked(question: Any) -> dict[str, Any]:
    """Return a question with its defaults; InputError where a field is unknown, of another kind or out of range."""
    if not isinstance(question, dict):
        raise InputError(f"expected one JSON object with {', '.join(FIELDS)}")
    if odd := sorted(question.keys() - FIELDS.keys()):
        raise InputError(f"unknown {', '.join(odd)}; a question has {', '.join(FIELDS)}")
    made = {name: question.get(name, default) for name, (_, _, default) in FIELDS.items()}
    for name, (kind, within, default) in FIELDS.items():
        value = made[name]
        if value is default:
            continue
        wrong = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
        if wrong or (within and not within.holds(value)):
            said = f" {within}" if within else ""
            raise InputError(f"{name.replace('_', ' ')}: got {value!r}, expected a {_kind(kind)}{said}")
    return made


def _kind(kind: Any) -> str:
    return {str: "text", bool: "yes or no", list: "list of names", int: "whole number"}.get(kind, "number")


# ---- the models of a folder


def found(folder: Path) -> dict[str, Path]:
    """Return {name in the report: folder} of the models that a run's folder holds, in the order of the page."""
    places = {name: folder / name for name in MAIN}
    places |= {CONTROLS[p.name].title if p.name in CONTROLS else p.name: p for p in sorted(folder.glob("controls/*"))}
    return {name: path for name, path in places.items() if _is_model(path)}


def _is_model(path: Path) -> bool:
    return inference.is_guided(path) or peft.is_adapter(path) or (path / "config.json").is_file()


def load(folder: Path, chosen: list[str], say=lambda text: None) -> Answers:
    """Return the models of a run's folder, all of them or those chosen, on one device.

    Raises InputError where there is none, or not the one that was chosen, and RunError for one that is damaged.
    """
    places = found(folder)
    if not places:
        raise InputError(f"{folder} holds no model of a run; give a run.dir, for example runs/universe")
    if unknown := [name for name in chosen if name not in places]:
        raise InputError(f"{folder} holds no model {unknown[0]!r}; it has {', '.join(places)}")
    mesh = make_mesh(fsdp=-1, devices=jax.devices()[:1])
    with jax.set_mesh(mesh):
        models = []
        for name in [name for name in places if not chosen or name in chosen]:
            say(f"loading {name}")
            models.append(_load(name, places[name]))
    return Answers(models=tuple(models), mesh=mesh)


def _load(name: str, path: Path) -> Asked:
    path, tokenizer, _ = found_model(path)
    return Asked(name=name, model=read_model(path), tokenizer=tokenizer, prefix=inference.prefix(path))
