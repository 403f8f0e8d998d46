"""Every part of the benchmark runs, and its figures fit each other."""

import dataclasses
import json
from types import SimpleNamespace

import jax
import pytest

from jaxunlearn import cli
from jaxunlearn.config import load_config
from jaxunlearn.models import transformer
from jaxunlearn.models.weights import forward_flops
from jaxunlearn.perf import bench, bench_decoding


def test_every_part_runs_and_ratios_hold_together(world, monkeypatch):
    monkeypatch.setattr(bench_decoding, "NEW_TOKENS", 8)
    monkeypatch.setattr(bench, "kernels", lambda *a: {})
    config = load_config(str(world / "world.py"))
    config = dataclasses.replace(config, mesh=dataclasses.replace(config.mesh, fsdp=8))
    found = bench.bench(config, whole=True, repeats=1)
    for part in ("train", "label"):
        assert found[part]["tokens_per_second"] > 0 and found[part]["peak_bytes"] > 0
        assert found[part]["share_of_ceiling"] == pytest.approx(
            found[part]["tokens_per_second"]
            * forward_flops(bench_shape_of(found), 1, 32)
            * {"train": 3, "label": 2}[part]
            / found["matmul_ceiling_flops"]
        )
    assert found["train"]["recompilations"] == 0
    assert found["generate"]["same_tokens"] and found["generate"]["first_token_seconds"] > 0
    assert found["score"]["items"] == 16 and found["score"]["items_per_second"] > 0
    assert found["whole"]["total_seconds"] == pytest.approx(sum(found["whole"]["seconds"].values()))
    tokens = found["whole"]["tokens"]
    assert {k: tokens[k] for k in ("pretrain", "reinforce", "unlearn")} == {
        "pretrain": 150 * 8 * 32, "reinforce": 8 * 8 * 32, "unlearn": 8 * 8 * 32,
    }  # fmt: skip
    words = len((world / "forget.txt").read_text().split())
    assert tokens["label"] == 32 * -(-words // 31), "a token a word, blocks of 31 and BOS"
    assert bench.stage_tokens(load_config("bench_7b"))["reinforce"] == 3 * 3.1e6


def bench_shape_of(found):
    return transformer.Shape(context=64, **found["shape"])


def test_a_part_that_fails_hides_no_other_and_each_is_on_disk_as_it_ends(monkeypatch, tmp_path):
    out, seen = tmp_path / "bench.json", []

    def scored(config, c):
        seen.append(json.loads(out.read_text()))
        return {"items_per_second": 3.0}

    def out_of_memory(*arguments):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nmore")

    monkeypatch.setattr(bench, "matmul_ceiling", lambda dtype: 1e9)
    monkeypatch.setattr(bench, "bench_generate", out_of_memory)
    monkeypatch.setattr(bench, "bench_score", scored)
    peaks = iter((5, 5, 5, 9))
    monkeypatch.setattr(bench, "allocator_peak", lambda: next(peaks))
    config = load_config("bench_cpu")
    found = bench.bench(config, only=("score", "generate"), out=out)
    assert found["generate"] == {"failed": "RESOURCE_EXHAUSTED: Out of memory"} == seen[0]["generate"]
    assert found["score"] == {"items_per_second": 3.0, "allocator_peak_bytes": 9} and "train" not in found
    assert json.loads(out.read_text()) == found and "| score | 3.0 items/s |" in out.with_suffix(".md").read_text()


def test_the_table_has_a_row_a_program():
    rate = {"tokens_per_second": 1234.0, "share_of_ceiling": 0.5, "peak_bytes": 2**30, "allocator_peak_bytes": 2**31}
    loss = {"seconds": 0.01, "naive_seconds": 0.02, "time_ratio": 0.5, "share_of_ceiling": 0.25}
    liger = {"ours": 30.0, "theirs": 20.0, "ratio": 1.5}
    beside = {"Liger": liger, "scoring": {"items_per_second": 2.0}}
    found = {"device": "a card", "versions": {"jax": "1"}, "kernels": {"loss": loss}, "train": rate, "torch": beside}
    found["label"] = {"skipped": "no time"}
    head, rule, *rows = bench.table(found).splitlines()
    assert head.count("|") == rule.count("|") and rows == [
        "| Hugging Face, Liger | 20 tokens/s; ours 30, 1.50 x |  |  |",
        "| Hugging Face, scoring | 2.0 items/s |  |  |",
        "| loss | 10.00 ms, 0.50 x naive | 25% |  |",
        "| label | not measured: no time |  |  |",
        "| train | 1,234 tokens/s | 50% | 1.0, 2.0 |",
        "", "a card; jax 1",
    ]  # fmt: skip
    assert "| kernels | not measured: no room |" in bench.table({"kernels": {"failed": "no room"}})
    assert "| torch | not measured: no room |" in bench.table({"torch": {"failed": "no room"}})


def test_no_part_begins_after_the_budget_and_the_whole_says_what_it_lacks(monkeypatch):
    clock = iter((0.0, 10.0, 20.0, 30.0))  # the start, then before each of three parts
    monkeypatch.setattr(bench, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(bench, "matmul_ceiling", lambda dtype: 1e9)
    monkeypatch.setattr(bench, "bench_score", lambda *a: {"items_per_second": 3.0})
    monkeypatch.setattr(bench, "bench_train", lambda *a: 1 / 0)
    found = bench.bench(load_config("bench_cpu"), only=("score", "train"), budget=15.0, whole=True)
    assert found["score"] == {"items_per_second": 3.0}
    assert found["train"] == {"skipped": "the budget of 15 s was spent before it"} == found["whole"]


def test_the_command_names_the_parts_and_fails_with_what_failed(monkeypatch, capsys):
    assert cli.main(["bench", "bench_cpu", "--only", "nothing"]) == 2
    assert "expected some of torch, kernels" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        cli.main(["bench", "bench_cpu", "--budget", "nan"])
    monkeypatch.setattr(bench, "bench", lambda *a, **more: {"label": {}, "train": {"failed": "no room"}})
    assert cli.main(["bench", "bench_cpu", "--json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["train"] == {"failed": "no room"} and "not measured: train" in said.err
