"""Several processes as one run: joining, what process 0 does for all, agreement, and stopping all of them together.

What is said here goes through JAX's coordination service, not through the devices: it works before any backend is
there, and whoever waits can still be told that a process is gone.
"""

import contextlib
import hashlib
import itertools
import json
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from jaxunlearn.errors import InputError, RunError
from jaxunlearn.parallel.environment import Cluster, read_cluster

PARTING = 5  # seconds that a failed process gives the others to end as well
GONE = 180  # seconds without a sign of life after which a process counts as dead (a crash shows sooner)
PATIENCE = 300  # seconds that the others may take to say what all must say
LISTEN_MS = 1000  # a wait is made of waits this long, so that signals are heard in between


class _Session:
    """Whether this process has joined others, and how much has been said since."""

    client: Any = None
    count = 1
    index = 0
    said = itertools.count()
    alone = False  # inside of first(): nobody else listens


def index() -> int:
    """Return this process's number; 0 where it is alone."""
    return _Session.index


def count() -> int:
    """Return how many processes make this run."""
    return _Session.count


def start() -> None:
    """Join the other processes of this run, where the environment asks for it; once, before any backend is used.

    Raises InputError on wrong variables, RunError when not all processes come in time, or fewer than were asked for.
    """
    cluster = read_cluster(os.environ)
    if cluster is None:
        return
    import jax
    from jax._src.distributed import global_state  # the only way to the service's own messages

    # it would swallow SIGTERM, which preemption.py answers
    jax.config.update("jax_enable_preemption_service", False)
    _initialize(cluster)
    try:
        found = jax.process_count()
    except RuntimeError as error:
        raise RunError(f"the processes came together, their devices did not: {_first_line(error)}") from error
    if cluster.processes is not None and found != cluster.processes:
        came = f"JAXUNLEARN_PROCESSES is {cluster.processes}, and {found} came together"
        raise RunError(f"{came}; nothing was run, so that they do not go on as separate runs")
    _Session.client, _Session.count, _Session.index = global_state.client, found, jax.process_index()
    sys.excepthook = _die
    _own_output()


def _own_output() -> None:
    """Keep standard output for our own results: native libraries (Gloo) say there whom they met."""
    sys.stdout.flush()
    sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)


def alone(what: str) -> None:
    """Refuse several processes for a command that one does by itself."""
    if read_cluster(os.environ) is not None:
        raise InputError(f"`{what}` is done by one process: start it without JAXUNLEARN_COORDINATOR and the like")


def _initialize(cluster: Cluster) -> None:
    """Call jax.distributed.initialize in a thread: where a process is missing it aborts this one, and says little."""
    import jax

    outcome: list[Exception | None] = []

    def attempt() -> None:
        found_by_jax = cluster.coordinator is None
        try:
            jax.distributed.initialize(
                cluster.coordinator,
                None if found_by_jax else cluster.processes,
                cluster.process,
                # what we were told goes before what a Slurm job says: it would pick one GPU a process
                cluster_detection_method=None if found_by_jax else "deactivate",
                initialization_timeout=cluster.timeout + 600,  # later than ours
                heartbeat_timeout_seconds=GONE,
            )
            outcome.append(None)
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(cluster.timeout)
    if not outcome:
        raise RunError(_late(cluster))
    if isinstance(outcome[0], ValueError) and cluster.coordinator is None:
        ways = "set JAXUNLEARN_COORDINATOR, JAXUNLEARN_PROCESSES and JAXUNLEARN_PROCESS instead"
        raise InputError(f"JAXUNLEARN_DISTRIBUTED=auto, but JAX finds no TPU pod, Slurm step or MPI here; {ways}")
    if outcome[0] is not None:
        raise RunError(f"this process could not join the run: {_first_line(outcome[0])}") from outcome[0]


def _late(cluster: Cluster) -> str:
    """Say who waited for whom, and what to look at."""
    wanted = cluster.processes or "all"
    where = f" at JAXUNLEARN_COORDINATOR={cluster.coordinator}" if cluster.coordinator else ""
    who = "this process" if cluster.process is None else f"process {cluster.process}"
    advice = "see whether every one was started, with the same variables, and can reach that address"
    proxies = sorted(name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy"))
    through = f"; {' and '.join(proxies)} may be in the way: unset them" if proxies else ""
    more = "JAXUNLEARN_TIMEOUT gives them longer"
    return f"{who} waited {cluster.timeout} s for {wanted} processes to come together{where}; {advice}{through}; {more}"


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300]


# ---- what is said between them


def first(act: Callable[[], Any]):
    """Do something on process 0 alone and return its result, a JSON value, on every process.

    The others wait for it however long it takes; what it raises is raised on all. All processes must come here, in
    the same order; inside of `act` the process counts as alone.
    """
    if _Session.count == 1 or _Session.alone:
        return act()
    key = f"jaxunlearn/{next(_Session.said)}"
    if _Session.index:
        answer = json.loads(_hear(key))
        if "error" in answer:
            kind = InputError if answer["kind"] == "InputError" else RunError
            raise kind(f"process 0 could not go on: {answer['error']}")
        return answer["value"]
    _Session.alone = True
    try:
        value = act()
        text = json.dumps({"value": value})
    except Exception as error:
        said = {"kind": type(error).__name__, "error": str(error)[:10_000]}
        _Session.client.key_value_set(key, json.dumps(said))
        raise
    finally:
        _Session.alone = False
    _Session.client.key_value_set(key, text)
    return json.loads(text)["value"]  # the same types everywhere


def gather(value) -> list:
    """Return every process's JSON value, in their order. Raises RunError when one does not say it within PATIENCE."""
    if _Session.count == 1 or _Session.alone:
        return [value]
    key = f"jaxunlearn/{next(_Session.said)}"
    _Session.client.key_value_set(f"{key}/{_Session.index}", json.dumps(value))
    return [json.loads(_hear(f"{key}/{i}", PATIENCE, i)) for i in range(_Session.count)]


def post(key: str, text: str) -> None:
    """Leave a note for all processes to find; the first one under a key stays."""
    with contextlib.suppress(Exception):  # there is one
        _Session.client.key_value_set(key, text)


def posted(key: str) -> str | None:
    """Return the note under a key, None where there is none yet."""
    try:
        return _Session.client.key_value_try_get(key)
    except Exception as error:
        if "NOT_FOUND" not in str(error):
            raise RunError(f"process 0 is gone: {_first_line(error)}") from error
        return None


def _hear(key: str, patience: float = float("inf"), who: int = 0) -> str:
    """Wait for a message; the service ends this process if that of process 0 dies meanwhile."""
    waited = 0.0
    while True:
        try:
            return _Session.client.blocking_key_value_get(key, LISTEN_MS)
        except Exception as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise RunError(f"process {who} is gone: {_first_line(error)}") from error
        waited += LISTEN_MS / 1000
        if waited > patience:
            raise RunError(f"process {who} has said nothing for {patience:g} s; see what it is doing, or did last")


def same_everywhere(name: str, value: str) -> None:
    """Stop every process when a value (a configuration, hashes of inputs) is not the same on all of them.

    All processes must call it, in the same order. Raises InputError on every one, naming the processes that differ.
    """
    groups: dict[str, list[str]] = {}
    mine = hashlib.sha256(value.encode()).hexdigest(), socket.gethostname()
    for process, (digest, host) in enumerate(gather(mine)):
        groups.setdefault(digest, []).append(f"{process} ({host})")
    if len(groups) > 1:
        most = max(groups.values(), key=len)
        others = ", ".join(who for group in groups.values() if group is not most for who in group)
        like = f"process {most[0]}" + f" and {len(most) - 1} more" * (len(most) > 1)
        advice = "start all of them with the same command, files and versions"
        raise InputError(f"{name} is not the same everywhere: process {others} differs from {like}; {advice}")


# ---- the end


def leave(code: int) -> int:
    """Return the exit code; where one of several processes failed, end it here with that code instead.

    An ordinary exit waits for the other processes, up to 5 minutes, while they wait for this one's part of a sum.
    """
    jax = sys.modules.get("jax")
    if code and jax and jax.distributed.is_initialized():

        def part() -> None:
            with contextlib.suppress(Exception):
                jax.distributed.shutdown()

        parting = threading.Thread(target=part, daemon=True)
        parting.start()
        parting.join(PARTING)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _die(kind, error, trace) -> None:
    traceback.print_exception(kind, error, trace)
    if any(name in str(error) for name in ("Gloo", "NCCL", "coordination service")):
        advice = "see what it said last; what was saved is kept, the same command goes on"
        print(f"jaxunlearn (process {index()}): another process of this run is gone: {advice}", file=sys.stderr)
    leave(1)
