"""The environment variables that name the processes of a run.

JAXUNLEARN_COORDINATOR=host:port (of process 0), JAXUNLEARN_PROCESSES=n and JAXUNLEARN_PROCESS=i: this is process i of
n. JAXUNLEARN_DISTRIBUTED=auto: JAX finds the processes (TPU pods, Slurm, MPI), and JAXUNLEARN_PROCESSES is the number
that must be found. JAXUNLEARN_TIMEOUT: seconds to wait for all of them. Without these a process is alone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from jaxunlearn.errors import InputError

TIMEOUT = 300  # seconds within which all processes must connect
NAMES = ("COORDINATOR", "PROCESSES", "PROCESS", "DISTRIBUTED", "TIMEOUT")
ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The processes that the environment names; None is left to JAX. timeout: in seconds."""

    coordinator: str | None = None
    processes: int | None = None
    process: int | None = None
    timeout: int = TIMEOUT


def read_cluster(environment: Mapping[str, str]) -> Cluster | None:
    """Return the processes that the variables name, None where this process is alone.

    Raises one InputError that names every missing and every wrong variable.
    """
    given = {name: environment.get(f"JAXUNLEARN_{name}", "").strip() for name in NAMES}
    if not any(given[name] for name in NAMES if name != "TIMEOUT"):
        return None
    wrong = [*_contradictions(given), *_malformed(given)]
    if wrong:
        raise InputError("the variables do not tell which processes make up this run:\n  " + "\n  ".join(wrong))
    return Cluster(
        coordinator=given["COORDINATOR"] or None,
        processes=int(given["PROCESSES"]) if given["PROCESSES"] else None,
        process=int(given["PROCESS"]) if given["PROCESS"] else None,
        timeout=int(given["TIMEOUT"] or TIMEOUT),
    )


def _contradictions(given: Mapping[str, str]) -> list[str]:
    """Return a line for each variable that contradicts another one or is missing."""
    if given["DISTRIBUTED"] not in ("", "auto"):
        return [f"JAXUNLEARN_DISTRIBUTED is {given['DISTRIBUTED']!r}, expected auto or no value"]
    if given["DISTRIBUTED"]:
        given_too = [name for name in ("COORDINATOR", "PROCESS") if given[name]]
        return [
            f"JAXUNLEARN_{name} is set, and so is JAXUNLEARN_DISTRIBUTED=auto: unset one of the two"
            for name in given_too
        ]
    needed = {
        "COORDINATOR": "the host:port of process 0, the same everywhere",
        "PROCESSES": "how many processes there are",
        "PROCESS": "this process's number, from 0",
    }
    return [f"JAXUNLEARN_{name} is not set: {what}" for name, what in needed.items() if not given[name]]


def _malformed(given: Mapping[str, str]) -> list[str]:
    """Return a line for each value of the wrong form."""
    wrong, address = [], ADDRESS.fullmatch(given["COORDINATOR"])
    if given["COORDINATOR"] and not (address and 0 < int(address[2]) < 65536):
        wrong.append(f"JAXUNLEARN_COORDINATOR is {given['COORDINATOR']!r}, expected host:port, such as 10.0.0.1:8476")
    for name in ("PROCESSES", "TIMEOUT"):
        if given[name] and not re.fullmatch("0*[1-9][0-9]{0,5}", given[name]):
            wrong.append(f"JAXUNLEARN_{name} is {given[name]!r}, expected a whole number from 1")
    number, count = given["PROCESS"], given["PROCESSES"]
    if number and not re.fullmatch("[0-9]{1,6}", number):
        wrong.append(f"JAXUNLEARN_PROCESS is {number!r}, expected a whole number from 0")
    elif number and not wrong and count and int(number) >= int(count):
        wrong.append(f"JAXUNLEARN_PROCESS is {number} of JAXUNLEARN_PROCESSES={count}: expected 0 to {int(count) - 1}")
    return wrong
