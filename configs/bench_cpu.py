"""A small Llama of random weights, to measure speed on a CPU; nothing is trained or downloaded.

    jaxunlearn bench configs/bench_cpu.py --torch [init.V=512] [--json]

docs/benchmarks.md holds the measured figures. --torch needs the [test] extra.
"""

from jaxunlearn.config import Config, Eval, Llama, Text, Train, Unlearn, Whp


def config() -> Config:
    return Config(
        name="bench_cpu",
        init=Llama(V=32000, D=256, L=4, N=4, K=4, H=64, F=688, context=512, tied=False),
        text=Text(context=256),
        reinforce=Train(steps=141, batch=8, accumulate=1),
        unlearn=Unlearn(steps=120, batch=8, accumulate=1),
        whp=Whp(label_batch=8),
        eval=Eval(batch=8),
    )
