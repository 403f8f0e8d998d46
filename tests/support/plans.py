"""A configuration small enough to compile its programs in seconds."""

from jaxunlearn.config import load_config

SMALL = ("init.D=64", "init.L=3", "init.N=4", "init.K=2", "init.H=8", "init.F=96", "init.V=128", "text.context=32")


def small(*more):
    """Return bench_7b's configuration at a tiny shape, with two microbatches and more overrides."""
    return load_config("bench_7b", [*SMALL, "unlearn.accumulate=2", *more])
