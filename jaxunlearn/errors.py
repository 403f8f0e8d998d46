"""The two ways a run ends badly: the user's input (exit code 2), or the run itself (exit code 1)."""


class InputError(ValueError):
    """Say what was given, what was expected and what to do; the command line exits with 2."""


class RunError(RuntimeError):
    """A run that started well and failed (NaN loss, full disk); the command line exits with 1."""
