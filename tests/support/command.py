"""The command in a process of its own."""

import os
import subprocess
import sys

from support.paths import ROOT


def cli(*arguments, **environment):
    """Run the command in a process of its own and return (exit code, output, errors)."""
    done = subprocess.run(
        [sys.executable, "-m", "jaxunlearn", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=env(**environment),
    )
    return done.returncode, done.stdout, done.stderr


def env(**more):
    cache = {"JAX_COMPILATION_CACHE_DIR": str(ROOT / ".jax_cache"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1"}
    return os.environ | cache | {"PYTHONPATH": str(ROOT)} | more
