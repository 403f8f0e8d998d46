"""The subcommand `completion`: what a shell needs to complete the command line, made from the parser by shtab."""

from jaxunlearn.config.load import shipped
from jaxunlearn.config.meanings import settings
from jaxunlearn.errors import RunError

SHELLS = ("bash", "zsh", "fish")
USE = {
    "bash": 'eval "$(jaxunlearn completion bash)"   in ~/.bashrc',
    "zsh": 'eval "$(jaxunlearn completion zsh)"   in ~/.zshrc, after compinit',
    "fish": "jaxunlearn completion fish > ~/.config/fish/completions/jaxunlearn.fish",
}
# What stands for a configuration (files and shipped names), and for a word after it (key=).
BASH = """
_jaxunlearn_config() {{ compgen -W "{configs}" -- "$1"; compgen -f -X '!*.py' -- "$1"; compgen -d -- "$1"; }}
_jaxunlearn_keys() {{ compgen -W "{keys}" -- "$1"; }}
"""
ZSH = """
_jaxunlearn_config() {{ compadd -- {configs}; _files -g '*.py' }}
_jaxunlearn_keys() {{ compadd -S '' -- {keys} }}
"""


def add_completion(add) -> None:
    command = add("completion", completion, "print what a shell needs to complete this command line")
    command.add_argument("shell", choices=SHELLS, help="; ".join(USE[s].replace("%", "%%") for s in SHELLS))


def completion(a) -> None:
    """Print the completion script of a shell."""
    print(script(a.parser, a.shell))


def script(top, shell: str) -> str:
    """Return the completion script of a parser for a shell. Raises RunError where shtab is missing."""
    try:
        import shtab
    except ImportError as error:
        raise RunError(f"completion needs shtab ({error}); pip install shtab") from None
    keys = [s.key for s in settings() if not s.section]
    words = {"configs": " ".join(shipped()), "keys": " ".join(f"{k}=" for k in keys)}
    functions = {"config": "_jaxunlearn_config", "overrides": "_jaxunlearn_keys", "words": "_jaxunlearn_keys"}
    marked(top, functions, shtab.FILE)
    return shtab.complete(top, shell, preamble={"bash": BASH, "zsh": ZSH}.get(shell, "").format(**words))


PATHS = ("DIR", "RUN_DIR", "FILE", "OUT")  # what a metavar says takes a path
NAMED = ("out", "model", "run_dir", "file", "text", "retain", "baseline", "tokenizer")  # and destinations without one


def marked(parser, functions: dict[str, str], paths: dict) -> None:
    """Tell shtab what completes: functions, {destination: name}, for positionals; `paths` for what takes a path."""
    for action in parser._actions:
        if action.dest in functions and not action.option_strings:
            action.complete = dict.fromkeys(("bash", "zsh"), functions[action.dest])
        elif action.metavar in PATHS or action.dest in NAMED:
            action.complete = paths
        for inner in action.choices.values() if isinstance(action.choices, dict) else ():
            marked(inner, functions, paths)
