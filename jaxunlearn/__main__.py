"""The command: `jaxunlearn`, and `python -m jaxunlearn` for launchers."""

import os
import signal
import sys


def main() -> int:
    """Run the command and return its exit code; Ctrl-C also ends the imports before it with 130 and no traceback."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # as in a script's background
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(130))
    from jaxunlearn.cli import main as command

    return command()


if __name__ == "__main__":
    sys.exit(main())
