"""Kill a run at random moments, resume it each time, and compare what it leaves with the undisturbed run, bit for bit.

Usage: python tests/tools/kill_run.py [KILLS=20] [SEED=0] [FOLDER]; about KILLS x the time a command takes to start. The
kills fall on randomly drawn lines of progress, spread over every stage, and up to 50 ms after them.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from safetensors.numpy import load_file
from support.paths import ROOT
from support.world import write_world

SMALL = ("pretrain.steps=60", "pretrain.checkpoint_every=7", "pretrain.log_every=3", "whp.label_batch=8")
MODELS = ("baseline", "twin", "reinforced", "unlearned", "unlearned_last")


def started(world: Path, run: Path):
    cache = {"JAX_COMPILATION_CACHE_DIR": str(ROOT / ".jax_cache"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1"}
    command = [sys.executable, "-m", "jaxunlearn", "run", str(world / "world.py"), f"run.dir={run}", *SMALL]
    return subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | cache | {"PYTHONPATH": str(ROOT)}
    )


def steps_of(lines):
    """Keep the lines that a run prints while it works, in the same words each time."""
    found = [re.match(r"\s+(\w+ \d+/\d+)|(\[\w+\](?! done).*)", line) for line in lines]
    return [m[1] or m[2] for m in found if m]


def weights(folder: Path) -> dict:
    return {name: array.tobytes() for name, array in load_file(folder / "model.safetensors").items()}


def main(kills: int = 20, seed: int = 0, folder: str = "") -> int:
    top = Path(folder or tempfile.mkdtemp())
    world, draw = write_world(top / "world"), random.Random(seed)
    whole = started(world, top / "whole")
    lines = steps_of(whole.stderr)
    assert whole.wait() == 0, "the undisturbed run failed"
    drawn = sorted(draw.sample(range(len(lines)), kills))
    print(f"{len(lines)} lines of progress; killed {kills} times", flush=True)
    for n in drawn:
        process, line = started(world, top / "killed"), ""
        for line in process.stderr:
            if any(step in lines[n:] for step in steps_of([line])):  # or a later one: a kill may come after the next
                time.sleep(draw.random() / 20)
                break
        process.send_signal(signal.SIGKILL)
        process.stderr.close()
        code = process.wait()
        how = "killed" if code == -signal.SIGKILL else f"was over with {code}, {line!r}"
        print(f"  after {lines[n]!r}: {how}", flush=True)
    last = started(world, top / "killed")
    said = last.stderr.read()
    assert last.wait() == 0, said
    same = {name: weights(top / "killed" / name) == weights(top / "whole" / name) for name in MODELS}
    a, b = (json.loads((top / d / "report.json").read_text()) for d in ("killed", "whole"))
    same |= {key: a[key] == b[key] for key in ("models", "curve", "relearn")}
    print(f"the same, bit for bit: {same}")
    return 0 if all(same.values()) else 1


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3]), *sys.argv[3:4]))
