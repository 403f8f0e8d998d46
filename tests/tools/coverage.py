"""Print how often every interval of the project holds the true value, as the Markdown table of docs/metrics.md.

python tests/tools/coverage.py [TRIALS]     about a minute with 20,000 trials a cell, a fifth of them where it is slow
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.coverage import table


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    for line in table(trials, max(1, trials // 5)):
        print(line, flush=True)


if __name__ == "__main__":
    main()
