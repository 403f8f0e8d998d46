"""What a run will be tested by, written before its unlearning: preregistration.json.

The file is written once, with the run's first manifest, and never again. A later change of what it fixes is a line of
metrics.jsonl, and a certificate compares the file with what the run was measured by. docs/audit.md explains it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jaxunlearn import sealed
from jaxunlearn.evals.extraction import CONTINUATIONS, PREFIX, PROBABILITIES, WINDOWS
from jaxunlearn.files import find_data, json_text, parse_json, sha256, write_whole
from jaxunlearn.report.findings import BACK, IN_PART, LEARNED
from jaxunlearn.run.resume import stored

FILE = "preregistration.json"
FIXED = ("seed", "eval", "attack", "judge")  # the parts of a configuration that say what is measured, and how
KNOWN = 0.01  # next-word familiarity above which a baseline counts as knowing the text
FOUND = 0.05  # probability of the target's words from which a prompt is listed as a residual finding
THRESHOLDS = {
    "known": KNOWN, "found": FOUND, "share_that_counts_as_none": round(BACK, 6), "share_that_is_in_part": IN_PART,
    "attack_must_learn": LEARNED,
    "extraction": {
        "prefix": PREFIX, "continuations": list(CONTINUATIONS), "probabilities": list(PROBABILITIES),
        "windows": WINDOWS,
    },
}  # fmt: skip


def now() -> str:
    """Return the time, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def what_is_tested(config: Mapping[str, Any], hashes: Mapping[str, str]) -> dict[str, Any]:
    """Return what a run is tested by: hashes of the prompts and facts, settings of tests and attacks, thresholds.

    config: as config.json holds it. hashes: as manifest.json holds them.
    """
    facts = config.get("attack", {}).get("rtt", {}).get("facts", "")
    files = {"text.prompts": hashes.get("text.prompts", "")}
    files["attack.rtt.facts"] = sha256(find_data(facts)) if facts and find_data(facts).exists() else ""
    found = {"files": files, "thresholds": THRESHOLDS} | {key: config.get(key) for key in FIXED}
    return parse_json(json_text(found), "the tests of a run", dict)


def register(folder: Path, tests: dict, early: bool) -> list[str]:
    """Write the file where there is none; return what differs from it now, "key: then -> now" each.

    early: whether nothing of the unlearning exists yet. Raises RunError where the file is damaged.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        content = {"time": now(), "before_unlearning": early, "tests": tests}
        write_whole(path, json_text(sealed.sealed(content), indent=1, sort_keys=True) + "\n")
    return changed(read(folder) or {}, tests)


def read(folder: Path) -> dict | None:
    """Return {"time", "before_unlearning", "tests"}; None where there is no file, RunError where it is damaged."""
    path = Path(folder) / FILE
    return (
        sealed.plain(stored(path, "delete it: the run then has no tests that were fixed")) if path.is_file() else None
    )


def changed(registered: Mapping[str, Any], tests: Mapping[str, Any]) -> list[str]:
    """Return what differs between the registered tests and these, "key: then -> now" each, sorted by key."""
    before, after = _flat(registered.get("tests") or {}), _flat(tests)
    keys = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
    return [f"{k}: {_said(before, k)} -> {_said(after, k)}" for k in keys]


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, Mapping):
        return {prefix: tree}
    return {k: v for key, below in tree.items() for k, v in _flat(below, f"{prefix}.{key}" if prefix else key).items()}


def _said(values: Mapping[str, Any], key: str) -> str:
    return json_text(values[key]) if key in values else "none"
