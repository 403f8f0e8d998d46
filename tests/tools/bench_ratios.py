"""`make bench`: the ratios that must not get worse, measured on this machine; exit code 1 when one does.

Ratios, not times: both sides of each take turns in one run, so a slow moment hits both. Needs the [test] extra.
"""

import sys

from jaxunlearn.config import load_config
from jaxunlearn.perf.bench import bench

# name, how to read it off bench(), bound, whether the figure must stay below it
BOUNDS = (
    ("generic_argmax: time over naive", lambda b: b["kernels"]["generic_argmax"]["time_ratio"], 0.85, True),
    ("generic_argmax: temporaries over naive", lambda b: b["kernels"]["generic_argmax"]["temp_ratio"], 1 / 8, True),
    ("linear_cross_entropy: time over naive", lambda b: b["kernels"]["linear_cross_entropy"]["time_ratio"], 0.95, True),
    ("train: tokens/s over Hugging Face eager", lambda b: b["torch"]["eager"]["ratio"], None, False),
    ("generate: times recomputation", lambda b: b["generate"]["times_recomputation"], 5.0, False),
    ("train: host's share of the wall time", lambda b: b["train"]["host_share"], 0.05, True),
)
TRAIN_BOUND = {32000: 1.10, 512: 0.95}  # by vocabulary


def main() -> int:
    failed = 0
    for vocabulary, train_bound in TRAIN_BOUND.items():
        found = bench(load_config("bench_cpu", [f"init.V={vocabulary}"]), torch=True)
        for name, read, bound, below in BOUNDS:
            value, bound = read(found), bound or train_bound
            good = value <= bound if below else value >= bound
            failed += not good
            sign, verdict = "<=" if below else ">=", "" if good else "WORSE"
            print(f"V = {vocabulary:6}  {name:42} {value:7.3f}  {sign} {bound:.3f}  {verdict}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
