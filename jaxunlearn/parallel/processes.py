"""Several processes as one run: connecting, work that process 0 does for all, agreement, stopping together.

Messages go through JAX's coordination service, not through the devices. So they work before a backend is there, and a
process that waits still learns when another one has died.
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

PARTING = 5  # seconds that a failed process waits for the others to end
GONE = 180  # seconds without a heartbeat after which a process counts as dead (a crash shows sooner)
PATIENCE = 300  # seconds to wait for another process's message in `gather`
LISTEN_MS = 1000  # one blocking call; a wait is many of them, so that signals are handled in between


class _Session:
    """Whether this process is connected to others, and the number of the next message."""

    client: Any = None
    count = 1
    index = 0
    said = itertools.count()
    alone = False  # inside first(), where no other process listens


def index() -> int:
    """Return this process's number; 0 where it is alone."""
    return _Session.index


def count() -> int:
    """Return the number of processes of this run; 1 where this process is alone."""
    return _Session.count


def start() -> None:
    """Connect to the other processes of this run that the environment names; once, before any backend is used.

    Raises InputError on wrong variables, and RunError where processes are missing after the timeout or their number
    is not JAXUNLEARN_PROCESSES.
    """
    cluster = read_cluster(os.environ)
    if cluster is None:
        return
    import jax
    from jax._src.distributed import global_state  # the only access to the service's messages

    # This service would catch SIGTERM, which preemption.py handles.
    jax.config.update("jax_enable_preemption_service", False)
    _initialize(cluster)
    try:
        found = jax.process_count()
    except RuntimeError as error:
        raise RunError(f"the processes came together, but their devices did not: {_first_line(error)}") from error
    if cluster.processes is not None and found != cluster.processes:
        came = f"JAXUNLEARN_PROCESSES is {cluster.processes}, and {found} came together"
        raise RunError(f"{came}; nothing was run, as they would have become separate runs")
    _Session.client, _Session.count, _Session.index = global_state.client, found, jax.process_index()
    sys.excepthook = _die
    _own_output()


def _own_output() -> None:
    """Keep standard output for results; native libraries (Gloo), which print there, get standard error."""
    sys.stdout.flush()
    sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)


def alone(what: str) -> None:
    """Raise InputError where the environment names several processes for a command of one process."""
    if read_cluster(os.environ) is not None:
        raise InputError(f"`{what}` is done by one process: start it without the variables JAXUNLEARN_...")


def _initialize(cluster: Cluster) -> None:
    """Call jax.distributed.initialize in a thread, with a timeout: its own one aborts the process without a reason."""
    import jax

    outcome: list[Exception | None] = []

    def attempt() -> None:
        found_by_jax = cluster.coordinator is None
        try:
            jax.distributed.initialize(
                cluster.coordinator,
                None if found_by_jax else cluster.processes,
                cluster.process,
                # the variables take precedence over a Slurm job, from which JAX would take one GPU per process
                cluster_detection_method=None if found_by_jax else "deactivate",
                initialization_timeout=cluster.timeout + 600,  # after the timeout below
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
        raise RunError(f"this process could not connect to the run: {_first_line(outcome[0])}") from outcome[0]


def _late(cluster: Cluster) -> str:
    """Return the error text of a timeout: which process waited for how many, and what to check."""
    wanted = cluster.processes or "all"
    where = f" at JAXUNLEARN_COORDINATOR={cluster.coordinator}" if cluster.coordinator else ""
    who = "this process" if cluster.process is None else f"process {cluster.process}"
    advice = "check that each was started with the same variables and can reach that address"
    proxies = sorted(name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy"))
    through = f"; {' and '.join(proxies)} may be in the way: unset them" if proxies else ""
    more = "JAXUNLEARN_TIMEOUT (seconds) gives them longer"
    return f"{who} waited {cluster.timeout} s for {wanted} processes to come together{where}; {advice}{through}; {more}"


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300]


# ---- messages between them -------------------------------------------------------------------------------------------


def first(act: Callable[[], Any]):
    """Call act() on process 0 alone and return its result, a JSON value, on every process.

    The others wait without a limit. An error of act() is raised on all: InputError as InputError, any other as RunError
    on the others. All processes must make the same calls in the same order. Inside act() process 0 counts as alone.
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
    return json.loads(text)["value"]  # the same types as on the other processes


def gather(value) -> list:
    """Return every process's JSON value, by process number. Raises RunError where one is missing after PATIENCE."""
    if _Session.count == 1 or _Session.alone:
        return [value]
    key = f"jaxunlearn/{next(_Session.said)}"
    _Session.client.key_value_set(f"{key}/{_Session.index}", json.dumps(value))
    return [json.loads(_hear(f"{key}/{i}", PATIENCE, i)) for i in range(_Session.count)]


def post(key: str, text: str) -> None:
    """Store a text under a key for all processes; the first text under a key stays."""
    with contextlib.suppress(Exception):  # the key is taken
        _Session.client.key_value_set(key, text)


def posted(key: str) -> str | None:
    """Return the text under a key, None where there is none. Raises RunError where process 0 is gone."""
    try:
        return _Session.client.key_value_try_get(key)
    except Exception as error:
        if "NOT_FOUND" not in str(error):
            raise RunError(f"process 0 is gone: {_first_line(error)}") from error
        return None


def _hear(key: str, patience: float = float("inf"), who: int = 0) -> str:
    """Return the message under a key, waiting up to `patience` seconds for process `who`.

    Where process 0 dies meanwhile, the coordination service ends this process. Raises RunError on any other failure.
    """
    waited = 0.0
    while True:
        try:
            return _Session.client.blocking_key_value_get(key, LISTEN_MS)
        except Exception as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise RunError(f"process {who} is gone: {_first_line(error)}") from error
        waited += LISTEN_MS / 1000
        if waited > patience:
            raise RunError(f"process {who} has said nothing for {patience:g} s; look at the end of its output")


def same_everywhere(name: str, value: str) -> None:
    """Raise InputError on every process where a value is not the same on all, with the processes that differ.

    value: for example a configuration, or the hashes of inputs. All processes must make these calls in
    the same order.
    """
    groups: dict[str, list[str]] = {}
    mine = hashlib.sha256(value.encode()).hexdigest(), socket.gethostname()
    for process, (digest, host) in enumerate(gather(mine)):
        groups.setdefault(digest, []).append(f"{process} ({host})")
    if len(groups) > 1:
        most = max(groups.values(), key=len)
        others = ", ".join(who for group in groups.values() if group is not most for who in group)
        like = f"process {most[0]}" + f" and {len(most) - 1} more" * (len(most) > 1)
        advice = "start all processes with the same command, files and versions"
        raise InputError(f"{name} is not the same everywhere: process {others} differs from {like}; {advice}")


# ---- the end ---------------------------------------------------------------------------------------------------------


def leave(code: int) -> int:
    """Return the exit code; where this one of several processes failed, end the process with it instead.

    An ordinary exit would wait up to 5 minutes for the other processes, which wait for this one's part of a sum.
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
    """Print an uncaught error, with advice where another process caused it, and end this process."""
    traceback.print_exception(kind, error, trace)
    if any(name in str(error) for name in ("Gloo", "NCCL", "coordination service")):
        advice = "look at the end of its output; what was saved is kept, the same command goes on"
        print(f"jaxunlearn (process {index()}): another process of this run is gone: {advice}", file=sys.stderr)
    leave(1)
