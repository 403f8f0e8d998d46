"""The parser of every subcommand: -h that knows the configuration named before it, -v, -q, and --version."""

import argparse
import sys

FIRST = """\
first steps:
  jaxunlearn demo                      the whole story in minutes, on a built-in world; downloads nothing
  jaxunlearn configs                   what ships, one line each
  jaxunlearn run CONFIG --help         what a configuration does, and its settings
  jaxunlearn config show CONFIG KEY    what a setting means
  docs/manual.md                       your own model and text
"""


class Parser(argparse.ArgumentParser):
    """A parser whose subparsers, of any depth, take -h, -v and -q too."""

    def __init__(self, **given):
        super().__init__(**given | {"add_help": False})
        told = "say what there is to give; after CONFIG, also what it does and its settings"
        self.add_argument("-h", "--help", action=_Help, help=told)
        much = self.add_mutually_exclusive_group()
        # without a default: that of an inner parser would win over what was given to an outer one
        for letter, name, text in (
            ("v", "verbose", "also tell what is read over or assumed"),
            ("q", "quiet", "print errors and the result, no progress"),
        ):
            much.add_argument(f"-{letter}", f"--{name}", action="store_true", default=argparse.SUPPRESS, help=text)


class _Help(argparse.Action):
    """Print the help of a command and exit; where its configuration was named, that one's help too."""

    def __init__(self, option_strings, dest, help=None):
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser, namespace, values, option_string=None):
        text = parser.format_help()
        name = getattr(namespace, "config", None) or ""
        if name and "=" not in name:  # else an override that stands where a configuration may
            from jaxunlearn.cli.configs import help_page

            text += "\n" + help_page(name, getattr(namespace, "overrides", None) or [])
        print(text, end="")
        parser.exit()


class Version(argparse.Action):
    """Print the versions of the package, jax and Python, and the commit of a checkout, and exit."""

    def __init__(self, option_strings, dest, help=None):
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser, namespace, values, option_string=None):
        from jaxunlearn.config.versions import code, versions

        made, found = code(), versions()
        commit = f" (commit {made['commit'][:12]}{', changed since' * made['dirty']})" if "commit" in made else ""
        print(f"jaxunlearn {made['version']}{commit}\njax {found['jax']}\npython {found['python']}")
        parser.exit()


def top_parser() -> Parser:
    """Return the parser of the command itself, without its subcommands."""
    top = Parser(
        prog="jaxunlearn", description="Make a language model forget a text, and prove it.", epilog=FIRST,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    top.add_argument("--version", action=Version, help="say which versions run")
    top.set_defaults(verbose=False, quiet=False)
    return top


def lost(top: argparse.ArgumentParser) -> None:
    """Print the page for a command line that names nothing to do, on standard error, and exit with 2."""
    print(f"{top.format_help()}\njaxunlearn: name one of the subcommands above", file=sys.stderr)
    raise SystemExit(2)
