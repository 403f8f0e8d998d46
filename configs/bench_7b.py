"""Llama-2-7b's shape with random weights, to measure speed on one accelerator of 80 GB; nothing is downloaded.

    jaxunlearn bench configs/bench_7b.py --whole [--torch] [--json]

Memory at rest (computed): fp32 weights 25.1 GiB, AdamW's moments in bf16 25.1 GiB. docs/benchmarks.md says what was
measured and what was not.
"""

from jaxunlearn.config import Config, Eval, Llama, Text, Train, Unlearn, Whp


def config() -> Config:
    return Config(
        name="bench_7b",
        compute="bfloat16",
        init=Llama(V=32000, D=4096, L=32, N=32, K=32, H=128, F=11008, context=4096, tied=False),
        text=Text(context=512),
        # 8,192 tokens a microbatch
        reinforce=Train(steps=141, batch=16, accumulate=8, moment_dtype="bfloat16"),
        unlearn=Unlearn(steps=120, batch=16, accumulate=1, moment_dtype="bfloat16"),
        whp=Whp(label_batch=16),
        eval=Eval(batch=32),
    )
