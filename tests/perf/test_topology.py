"""Accelerators by name: Google's names, shapes, and GPUs that are here or not."""

from types import SimpleNamespace

import jax
import pytest

from jaxunlearn.errors import InputError
from jaxunlearn.perf import topology


def test_topologies_go_by_their_shape_or_by_googles_name():
    assert topology.parse("v5e:4x4") == topology.parse("v5e-16") == topology.parse("v5litepod-16")
    assert topology.parse("v5p-8").shape == "2x2x1"  # v4 and v5p names count cores, two a chip
    assert topology.parse("v6e-8").devices == 8 and topology.parse("v5p-8").devices == 4
    assert topology.parse("v5e-256", slices=2).devices == 512
    assert topology.GPUS["h100"] == pytest.approx(79.6 * 2**30)


@pytest.mark.parametrize("name", ["v9:2x2", "v5e:3x5", "v5e", "v5e-7", "h100:0", "h100", ""])
def test_an_unknown_topology_lists_the_known_ones(name):
    with pytest.raises(InputError, match=r"(?s)unknown topology.*v5e:\{1x1,2x2,.*v5p.*h100:"):
        topology.parse(name)


def test_gpus_that_are_here_are_compiled_for_and_others_are_not(monkeypatch):
    kinds = {"h100": "NVIDIA H100 80GB HBM3", "a100-80": "NVIDIA A100-SXM4-80GB", "b200": "NVIDIA B200"}
    for name, kind in kinds.items():
        here = [SimpleNamespace(device_kind=kind)] * 4
        monkeypatch.setattr(jax, "devices", lambda here=here: here)
        assert topology.present(topology.parse(f"{name}:4")) == here
        assert not topology.present(topology.parse("h200:4")) and not topology.present(topology.parse(f"{name}:8"))


@pytest.mark.parametrize(
    "said",
    [
        "Ran out of memory in memory space hbm. Used 1.00T of 15.75G hbm. Exceeded by 1008.25G.",
        "the total memory required for HLO temporaries (1.00T) exceeds available HBM (15.75G).",
        "HLO temporaries (2.00T) exceeds available HBM (15.75G). HLO module: jit__lambda.\nSee https://openxla.org",
    ],
)
def test_the_memory_of_a_chip_is_read_from_every_wording_of_its_compiler(said):
    assert topology.stated_limit(said) == int(15.75 * 2**30)
    assert topology.stated_limit("INVALID_ARGUMENT: no such slice") is None
