"""The same step over more devices: a device's share of the work falls as 1/n."""

import json
import os
import subprocess

import pytest
from support.paths import ROOT

from jaxunlearn.config import load_config
from jaxunlearn.errors import InputError
from jaxunlearn.perf.bench_devices import VIRTUAL, scaling, table

SMALL = ["init.D=64", "init.L=2", "init.N=4", "init.K=4", "init.H=16", "init.F=128", "init.V=128", "text.context=32"]


def test_a_devices_share_of_the_work_falls_as_one_over_n(tmp_path):
    rows = scaling(load_config("bench_cpu", SMALL), tmp_path, repeats=1)
    assert [r["devices"] for r in rows] == [1, 2, 4, 8]
    for r in rows[1:]:
        share = 1 / r["devices"]
        assert r["flops"] / rows[0]["flops"] == pytest.approx(share, rel=0.1)
        assert r["state_bytes"] / rows[0]["state_bytes"] == pytest.approx(share, rel=0.01)
        assert r["peak_bytes"] / rows[0]["peak_bytes"] < 1.5 * share
    assert json.loads((tmp_path / "scaling.json").read_text())["rows"] == rows
    assert VIRTUAL[1:] in (tmp_path / "table.md").read_text() == table(rows)
    assert (tmp_path / "scaling.png").read_bytes()[:4] == b"\x89PNG"


def test_blocks_that_do_not_divide_are_refused(tmp_path):
    with pytest.raises(InputError, match="use a multiple: unlearn"):
        scaling(load_config("bench_cpu", [*SMALL, "unlearn.batch=6"]), tmp_path)


def test_the_script_says_what_it_would_run():
    environment = os.environ | {"PYTHON": "python", "OUT": "there"}
    for given, config, more in (
        (["bench_7b", "unlearn.batch=16"], "bench_7b", " unlearn.batch=16"),
        (["bench_7b"], "bench_7b", ""), (["unlearn.batch=16"], "bench_cpu", " unlearn.batch=16"), ([], "bench_cpu", ""),
    ):  # fmt: skip
        call = [ROOT / "launch" / "bench_scaling", "--dry-run", *given]
        said = subprocess.run(call, env=environment, capture_output=True, text=True, check=True).stdout
        command = f"python -P -m jaxunlearn bench {config} --scaling there{more}"
        assert said == f"env JAX_NUM_CPU_DEVICES=8 {command}\n"
