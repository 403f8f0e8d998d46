"""Figures of several metrics in one entry."""

from jaxunlearn.evals.base import merge


def test_groups_of_several_metrics_are_joined():
    entry = {}
    merge(entry, {"leaks": {"explicit": 1}, "items": {"a": [1]}})
    merge(entry, {"leaks": {"probability": 2}, "temperature": 1.0})
    assert entry == {"leaks": {"explicit": 1, "probability": 2}, "items": {"a": [1]}, "temperature": 1.0}


def test_the_figures_that_a_metric_gave_are_left_as_they_were():
    given = {"leaks": {"explicit": 1}}
    entry = {}
    merge(entry, given)
    merge(entry, {"leaks": {"probability": 2}})
    assert given == {"leaks": {"explicit": 1}}
