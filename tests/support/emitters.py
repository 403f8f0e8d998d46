"""What XLA's CPU backend compiles by default, whichever emitters conftest.py chose."""

import os


def compiled_as_usual(lowered):
    """Compile by the emitters of default: by the older ones two programs of the same sums differ in the last digits."""
    older = "--xla_cpu_use_fusion_emitters=false" in os.environ["XLA_FLAGS"]
    return lowered.compile(compiler_options={"xla_cpu_use_fusion_emitters": True} if older else None)
