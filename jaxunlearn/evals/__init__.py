"""The metrics: what is measured of every model, one record a file, listed here in the order of measuring.

To add a metric, write one file with a Metric record (base.py) and add it to METRICS. The refusals, the figures in
report.json, the titles of the page's columns and what a kept measurement depends on follow from the record.
"""

from jaxunlearn.evals import (
    accuracy,
    benchmarks,
    familiarity,
    harness,
    leaks,
    members,
    muse,
    perplexity,
    tofu,
    track,
    writing,
)
from jaxunlearn.evals.base import Metric

METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        familiarity.NEXT_WORD,
        familiarity.COMPLETION,
        leaks.LEAKS,
        accuracy.ACCURACY,
        track.TRACK,
        perplexity.PERPLEXITY,
        leaks.LEAK_TEXTS,
        writing.WRITING,  # of the completions above
        members.MEMBERS,
        benchmarks.BENCHMARKS,
        tofu.TOFU,
        muse.KNOWMEM,
        harness.TASKS,
    )
}
