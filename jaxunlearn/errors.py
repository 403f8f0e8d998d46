"""The two errors that the command prints without a traceback: bad input (exit code 2), a failed run (exit code 1)."""


class InputError(ValueError):
    """Bad input; the message says what was given, what was expected and what to do. Exit code 2."""


class RunError(RuntimeError):
    """A run that began with good input and failed, for example by a NaN loss or a full disk. Exit code 1."""
