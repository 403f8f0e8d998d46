"""The comparison beside PyTorch: both sides take turns, each in a process of its own."""

import os
import time
from contextlib import contextmanager

import pytest

from jaxunlearn.errors import RunError
from jaxunlearn.perf import bench_torch


@contextmanager
def counting(config):
    """Stand for one side: a step takes a hundredth of a second for each letter of the configuration."""
    yield lambda: time.sleep(len(config) / 100)


@contextmanager
def dying(config):
    yield lambda: os._exit(3)


def test_sides_of_a_comparison_take_turns_in_processes_of_their_own():
    short, long = bench_torch._in_turns([(counting, "abc", {}), (counting, "abcdefgh", {})], 2)
    assert len(short) == len(long) == 4
    assert min(short) >= 0.03 and min(long) >= 0.08 and min(short) < min(long)


def test_a_side_that_dies_ends_the_comparison():
    with pytest.raises(RunError, match="ended early"):
        bench_torch._in_turns([(dying, "abc", {})], 1)
