"""Do wrong what can be done wrong, and print one table: tried, held, nothing lost.

Usage: python tests/tools/fault_trials.py [WORD ...]; only sections and trials whose name holds one of the words. The
trials stand in tests/support/faults; a folder of a trial that does not hold is left for a look. Exit code 1 where one
does not.
"""

import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from support.command import env
from support.faults import Trials, all_trials, table


def main(words: list[str]) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's background ignores it, and so would trials
    os.environ.update(env())  # the compiled programs of processes that trials start serve here too
    trials, found = Trials(), []
    for trial in all_trials():
        if words and not any(word in f"{trial.section}: {trial.name}" for word in words):
            continue
        began = time.monotonic()
        found.append(trials.try_(trial))
        how = "holds" if found[-1].held else f"DOES NOT HOLD in {trials.top}"
        print(f"{trial.section}: {trial.name}: {how} ({time.monotonic() - began:.1f} s)", file=sys.stderr, flush=True)
    print(table(found))
    return 0 if all(f.held for f in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
