"""EleutherAI's lm-evaluation-harness over our models: all of its tasks, batched, cached and sharded.

Needs `pip install jaxunlearn[eval]`. Scores equal those of the harness's own Hugging Face backend (tests).
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxunlearn import sealed
from jaxunlearn.config import Config
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.estimates import SHARE, rate_estimate
from jaxunlearn.evals.base import Context, Figures, Metric
from jaxunlearn.evals.continuations import Pair, Score, encode_pair, score_continuations
from jaxunlearn.evals.memorisation import figure
from jaxunlearn.files import cache_folder, sha256_text
from jaxunlearn.models.generate import Sampling, generate

PAPER = ("winogrande", "hellaswag", "arc_challenge", "arc_easy", "boolq", "openbookqa", "piqa")  # table of the paper
GENERATED = 256  # tokens where a task does not say
LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
KNOWN = {*LENGTHS, "until", "do_sample", "temperature", "top_k", "top_p"}


def library():
    """Return the harness's base class of models; InputError where the harness is not installed."""
    try:
        from lm_eval.api.model import TemplateLM
    except ImportError as error:
        raise InputError(
            f"lm-evaluation-harness cannot be imported ({error}): pip install 'jaxunlearn[eval]', "
            "or leave eval.tasks empty"
        ) from error
    return TemplateLM


def language_model(model, tokenizer: Tokenizer, batch: int = 8, seed: int = 0, longest: int = 0) -> Any:
    """Return a model and its tokenizer as the harness wants them: a JaxLM that is a TemplateLM."""
    return type("JaxLM", (JaxLM, library()), {})(model, tokenizer, batch, seed, longest)


class JaxLM:
    """A model and its tokenizer as the harness asks for them; made and used under the mesh the model lives on.

    language_model mixes it into the harness's own class, which `cache_hook` and `_encode_pair` come from.
    A text begins with BOS where the tokenizer adds one. longest: tokens of a row at most, in all three kinds of request
    (max_length); 0: the model's context. Every process of a run asks the same, so the harness sees one process.
    """

    cache_hook: Any

    def __init__(self, model, tokenizer: Tokenizer, batch: int = 8, seed: int = 0, longest: int = 0):
        super().__init__()
        self.model, self.ours, self.batch, self.seed = model, tokenizer, batch, seed
        self.max_length = min(model.c.context, longest or model.c.context)

    @property
    def eot_token_id(self) -> int:
        return self.prefix_token_id if self.ours.eos_id is None else self.ours.eos_id

    @property
    def prefix_token_id(self) -> int:
        return self.ours.prefix()

    @property
    def tokenizer_name(self) -> str:
        return str(self.ours.files[0].parent) if self.ours.files else "jaxunlearn"

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_) -> list[int]:
        """Return ids, with BOS in front where the tokenizer adds it, or where the text itself begins with its name."""
        bos_id = self.prefix_token_id
        name, first = self.ours.pieces([bos_id])[0], list(self.ours.start)
        if add_special_tokens is None and string.startswith(name):
            string, first = string[len(name) :], [bos_id]
        ids = [int(i) for i in self.ours.encode(string)[0]]
        return ids if add_special_tokens is False else first + ids

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        begun = context.startswith(self.ours.pieces([self.prefix_token_id])[0])
        if begun:  # the text names BOS itself
            harness: Any = super()
            return harness._encode_pair(context, continuation)
        before, after = encode_pair(self.ours, context, continuation)
        return list(before), list(after)

    def _loglikelihood_tokens(self, requests, **_) -> list[tuple[float, bool]]:
        def done(n: int, score: Score) -> None:
            if requests[n][0] is not None:
                self.cache_hook.add_partial("loglikelihood", requests[n][0], tuple(score))

        pairs: list[Pair] = [(context, continuation) for _, context, continuation in requests]
        return [tuple(s) for s in self._scored(pairs, done)]

    def _scored(self, pairs: Sequence[Pair], done: Callable[[int, Score], None] | None = None) -> list[Score]:
        return score_continuations(self.model, pairs, self.batch, done, longest=self.max_length)

    def loglikelihood_rolling(self, requests, disable_tqdm: bool = False) -> list[float]:
        """Return each text's log-likelihood: windows of max_length tokens, each token once, BOS before the first."""
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

        windows, owners = [], []
        for n, (text,) in enumerate(r.args for r in requests):
            parts = get_rolling_token_windows(self.tok_encode(text), self.prefix_token_id, self.max_length, 1)
            windows += map(make_disjoint_window, parts)
            owners += [n] * (len(windows) - len(owners))
        total = [0.0] * len(requests)
        for n, score in zip(owners, self._scored(windows), strict=True):
            total[n] += score.logp
        for request, logp in zip(requests, total, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, logp)
        return total

    def generate_until(self, requests, disable_tqdm: bool = False) -> list[str]:
        """Return what follows each context, up to its first stop text, EOS or the task's number of tokens."""
        out: list[str] = [""] * len(requests)
        groups: dict[str, list[int]] = {}
        for n, r in enumerate(requests):
            groups.setdefault(repr(sorted(r.args[1].items())), []).append(n)
        for group in groups.values():
            options = requests[group[0]].args[1]
            sampling, length, stops = generation(options)
            room = self.max_length - length
            if room < 1:
                raise InputError(f"a task wants {length} new tokens; the model's context of {self.max_length} has none")
            contexts = [self.tok_encode(requests[n].args[0])[-room:] for n in group]
            new = generate(
                self.model, contexts, length, sampling, seed=self.seed, eos_ids=self.ours.eos_ids, batch=self.batch
            )
            for n, ids in zip(group, new, strict=True):
                out[n] = _before(self.ours.decode(ids), stops)
                self.cache_hook.add_partial("generate_until", requests[n].args, out[n])
        return out


def generation(options: dict[str, Any]) -> tuple[Sampling, int, list[str]]:
    """Return how to sample, how many tokens and the stop texts of a task's generation options."""
    if unknown := sorted(set(options) - KNOWN):
        raise InputError(f"generation options {unknown} are not supported; known are {sorted(KNOWN)}")
    length = next((int(options[k]) for k in LENGTHS if options.get(k) is not None), GENERATED)
    until = options.get("until") or []
    temperature = float(options.get("temperature") or 0.0)
    if not options.get("do_sample", temperature > 0):
        temperature = 0.0
    elif temperature == 0:
        temperature = 1.0
    sampling = Sampling(temperature, int(options.get("top_k") or 0), float(options.get("top_p") or 1.0))
    return sampling, length, [until] if isinstance(until, str) else list(until)


def _before(text: str, stops: Sequence[str]) -> str:
    return text[: min((text.index(s) for s in stops if s and s in text), default=None)]


def run_tasks(
    model,
    tokenizer: Tokenizer,
    tasks: Sequence[str | dict],
    *,
    batch: int = 8,
    items: int = 0,
    cache: Path | None = None,
    seed: int = 0,
    include: str = "",
    context: int = 0,
) -> dict[str, dict]:
    """Return {task: {metric: figure}} of the harness; "paper" stands for the seven tasks of the paper's table.

    items: at most so many of each task (0: all); cache: file that keeps answers, so that a run which was killed asks
    nothing twice; include: a folder of YAML files that define further tasks; context: tokens of a row at most (0: the
    model's). InputError for a task that is unknown or whose data cannot be had.
    """
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    wanted = [name for task in tasks for name in (PAPER if task == "paper" else (task,))]
    named = any(isinstance(task, str) for task in wanted)
    manager = TaskManager(include_path=include or None, include_defaults=named, verbosity="ERROR")
    if unknown := [t for t in wanted if isinstance(t, str) and t not in manager.all_tasks]:
        raise InputError(f"lm-evaluation-harness knows no task {unknown}; its own list: lm-eval ls tasks")
    try:
        found = simple_evaluate(
            language_model(model, tokenizer, batch, seed, context),
            tasks=wanted,
            task_manager=manager,
            limit=items or None,
            use_cache=str(cache) if cache else None,
            random_seed=seed, numpy_random_seed=seed, torch_random_seed=seed, fewshot_random_seed=seed,
            bootstrap_iters=0,
            log_samples=True,
        )  # fmt: skip
    except (ConnectionError, OSError, ValueError) as error:
        raise InputError(f"the tasks {wanted} cannot be run: {str(error).strip().splitlines()[0]}") from error
    return _figures(found or {})


def _figures(found: dict) -> dict[str, dict]:
    """Turn the harness's samples into figures with intervals; what is no number an item keeps its value alone."""
    out: dict[str, dict] = {}
    for task, metrics in found.get("results", {}).items():
        rows = found.get("samples", {}).get(task, [])
        for key, value in metrics.items():
            name = key.partition(",")[0]
            if not isinstance(value, int | float) or "stderr" in name:
                continue
            values = [row.get(name) for row in rows]
            plain = bool(values) and all(isinstance(v, int | float) for v in values)
            out.setdefault(task, {})[name] = (
                _mean(f"{task} {name}", [float(v) for v in values if v is not None])
                if plain
                else {"value": float(value), "low": None, "high": None, "n": len(rows), "note": "no number an item"}
            )
    return out


def _mean(name: str, values: list[float]) -> dict:
    """Return the mean of a number an item: of right and wrong a rate, of numbers from 0 to 1 a share."""
    if set(values) <= {0.0, 1.0} and values:
        return rate_estimate(int(sum(values)), len(values)).to_json()
    return figure(name, values, SHARE if values and min(values) >= 0 and max(values) <= 1 else None)


# ---- the metric


def measure(model, context: Context) -> Figures:
    """Return {"tasks": {"TASK METRIC": figure}} of eval.tasks; answers are kept, so that none is asked for twice."""
    suite, c = context.suite, context.suite.c
    cache = answers_kept(model, context) if context.folder else None
    tasks = run_tasks(
        model, suite.tokenizer, c.tasks, batch=c.batch, items=c.items, cache=cache, seed=suite.seed, context=c.context
    )
    return {"tasks": {f"{task} {metric}": f for task, metrics in tasks.items() for metric, f in metrics.items()}}


def answers_kept(model, context: Context) -> Path:
    """Return the harness's file of answers for one model of a run, in this user's own cache.

    The harness keeps pickles there, and who opens a pickle runs what its writer wants: so it never lies in the run
    directory, which may be somebody else's. Its name holds all that an answer depends on and the run's folder.
    """
    suite, folder = context.suite, cache_folder() / "tasks"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    run = str(Path(context.folder or ".").resolve())
    tokens = [sealed.digest(path) for path in suite.tokenizer.files]
    key = sha256_text(context.model_hash, repr(model.c), *tokens, f"{suite.seed} {suite.c.context} {run}")
    return folder / f"{key[:32]}.db"


def check(config: Config, held_out: bool) -> None:
    """Raise InputError where tasks are asked for and the harness is not installed."""
    if config.eval.tasks:
        library()


TASKS = Metric(
    name="tasks",
    title="Tasks of lm-evaluation-harness",
    about="any task of lm-evaluation-harness with the harness's own metrics (eval.tasks)",
    measure=measure,
    applies=lambda context: bool(context.suite.c.tasks),
    check=check,
    columns={("tasks",): "Task"},
)
