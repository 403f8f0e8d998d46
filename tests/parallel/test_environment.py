"""The variables that name the processes of a run: read, and refused by name."""

import pytest

from jaxunlearn.errors import InputError
from jaxunlearn.parallel.environment import Cluster, read_cluster

GIVEN = {"JAXUNLEARN_COORDINATOR": "10.0.0.1:8476", "JAXUNLEARN_PROCESSES": "4", "JAXUNLEARN_PROCESS": "3"}


def test_variables_are_read_and_none_means_alone():
    assert read_cluster({}) is None and read_cluster({"JAXUNLEARN_TIMEOUT": "5"}) is None
    assert read_cluster(GIVEN) == Cluster(coordinator="10.0.0.1:8476", processes=4, process=3)
    auto = {"JAXUNLEARN_DISTRIBUTED": "auto", "JAXUNLEARN_PROCESSES": "2", "JAXUNLEARN_TIMEOUT": "7"}
    assert read_cluster(auto) == Cluster(processes=2, timeout=7)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"JAXUNLEARN_PROCESS": ""}, "JAXUNLEARN_PROCESS is not set"),
        ({"JAXUNLEARN_PROCESS": "4"}, "4 of JAXUNLEARN_PROCESSES=4: expected 0 to 3"),
        ({"JAXUNLEARN_PROCESS": "-1"}, "'-1', expected a whole number from 0"),
        ({"JAXUNLEARN_PROCESSES": "0"}, "'0', expected a whole number from 1"),
        ({"JAXUNLEARN_COORDINATOR": "10.0.0.1"}, "expected host:port"),
        ({"JAXUNLEARN_COORDINATOR": "10.0.0.1:99999"}, "expected host:port"),
        ({"JAXUNLEARN_DISTRIBUTED": "auto"}, "unset one of the two"),
        ({"JAXUNLEARN_DISTRIBUTED": "yes"}, "expected auto"),
        ({"JAXUNLEARN_TIMEOUT": "soon"}, "'soon', expected a whole number"),
    ],
)
def test_wrong_variables_are_named(change, said):
    with pytest.raises(InputError, match=said):
        read_cluster(GIVEN | change)
