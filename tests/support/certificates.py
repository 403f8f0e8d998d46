"""A certificate made up by hand, without a run: its predicate, and its folder."""

from jaxunlearn.certificate import measures, rules, statement
from jaxunlearn.certificate.certify import write
from jaxunlearn.certificate.findings import limits
from jaxunlearn.certificate.measured import TOLERANCE
from jaxunlearn.certificate.needed import WORDS, conditions

SUBJECTS = [{"name": "unlearned/model.safetensors", "digest": {"sha256": "ab" * 32}}]


def predicate(report, logps, **more):
    """Return the predicate of the model `unlearned` of a report."""
    made, known = measures.measures_of(report, "unlearned", logps), measures.known_by(report, logps)
    needed = conditions(dict.fromkeys(WORDS, True))
    lengths = [int(n) for n in logps["baseline"]]
    return {
        "made": "2026-01-02T03:04:05+00:00", "code": {"versions": {}, "source_sha256": statement.source_digest()},
        "by": "A. Tester", "signed": False, "model": "unlearned", "title": "A <small> world", "method": {"name": "x"},
        "asked": {"documents": ["a.txt"], "documents_in_all": 1, "summary": "9 tokens", "terms": 3, "hashes": {}},
        "preregistration": {"file": "", "changes": [], "differs": []}, "known_by": known,
        "verdict": rules.verdict(made, known, needed), "conditions": needed, "measures": made,
        "extraction": {
            "prefix": 50, "lengths": lengths, "windows": 40, "there": 90, "wanted": [50, 50], "clipped": False,
            "documents": 3, "short": 2,
            "models": measures.extraction_of(logps, "unlearned"),
        },
        "steps_to_half": {"model": {"step": 10, "of": 10, "half": 0.4}}, "side_effects": [], "missing": ["RTT"],
        "findings": [], "budget": [], "limits": limits({}), "exports": [], "manifest": {},
        "compared_with": {}, "logps": logps,
        "repeat": {"tolerance": TOLERANCE, "most": 40, "prompts": [], "windows": []},
    } | more  # fmt: skip


def certificate(folder, report, logps, private=None, **more):
    """Write a certificate into a folder and return its predicate."""
    return write(folder, SUBJECTS, predicate(report, logps, **more), private)
