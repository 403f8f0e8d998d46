"""Read a configuration: one Python file a run, with dotted ``key=value`` overrides.

A file in configs/ defines ``config() -> Config``. On the command line ``key=value`` overrides any field
(``whp.alpha=3``, ``text.forget=a.txt,b.txt``). A name that has a comma stands in a JSON list
(``text.forget=["Oz, the book.txt"]``), or alone where a file or folder has that name.
"""

import dataclasses
import importlib.util
import io
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from jaxunlearn.config.bounds import faults
from jaxunlearn.config.check import check
from jaxunlearn.config.fields import MOVED, Config
from jaxunlearn.config.titles import retitled
from jaxunlearn.config.training import Train, Unlearn
from jaxunlearn.errors import InputError
from jaxunlearn.files import json_text, parse_json


def as_dict(value) -> dict:
    """Return a frozen dataclass as plain JSON values."""
    return parse_json(json_text(dataclasses.asdict(value)), "the configuration")


SHIPPED = tuple(Path(__file__).parents[n] / "configs" for n in (1, 2))  # in an installed package, and in a checkout


def shipped() -> dict[str, Path]:
    """Return {name: file} of the configurations that ship with the package, by name."""
    return {p.stem: p for p in sorted((p for d in SHIPPED for p in d.glob("[a-z]*.py")), key=lambda p: p.stem)}


def find_config(name: str) -> Path:
    """Return the path of a configuration file, given as a path or as the name of one that ships with the package.

    "configs/NAME.py" finds the one that ships too, where no such file is here. Raises InputError where there is none.
    """
    if os.path.isfile(name):  # Path.is_file raises for a name that is too long
        return Path(name)
    given, own = Path(name), shipped()
    bare = given.stem if given.suffix == ".py" and given.parent.as_posix() in (".", "configs") else name
    if bare in own:
        return own[bare]
    named = ascii(name) if len(name) <= 100 else f"{name[:100]!a}..."
    raise InputError(f"no configuration {named}: give a Python file with a config() function, or one of {sorted(own)}")


def load_config(name: str, overrides: list[str] | tuple[str, ...] = ()) -> Config:
    """Return the configuration of a file with ``key=value`` overrides applied.

    The file is a program: it runs as the user, and may do whatever the user may. What it prints goes to standard error.
    Raises InputError for faults, also where it raises or calls sys.exit.

    >>> config = load_config("universe", ["whp.alpha=3", "text.context=64"])
    >>> config.whp.alpha, config.text.context, str(config.directory)
    (3.0, 64, 'runs/universe')
    """
    path = find_config(name)
    spec = importlib.util.spec_from_file_location(f"jaxunlearn_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file; give a .py file with a config() function")
    module, loader = importlib.util.module_from_spec(spec), spec.loader
    _run(path, lambda: loader.exec_module(module))
    if not callable(getattr(module, "config", None)):
        raise InputError(f"{path} defines no config() function")
    made = _run(path, module.config)
    if not isinstance(made, Config):
        raise InputError(f"{path}: config() returned a {type(made).__name__}, expected a Config")
    if not dataclasses.is_dataclass(getattr(made.attack, "shares", None)):
        raise InputError(f"{path}: {_moved('attack.shares')}")
    if wrong := faults(made):  # before the overrides, which are parsed by the types of what they replace
        raise InputError(f"{path} gives a configuration that cannot run:\n  " + "\n  ".join(wrong))
    config = retitled(override(made, overrides), overrides)
    check(config)
    return config


def _run(path: Path, act: Callable[[], Any]) -> Any:
    """Return what a part of a configuration file returns. Raises InputError, with its line, where it raises or exits.

    A setting that was moved is named with its new key.
    """
    try:
        with redirect_stdout(sys.stderr):
            return act()
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        old = re.search(r"\b(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
        if old and (key := f"{old[1].lower()}.{old[2]}") in MOVED:
            raise InputError(f"{path}: {_moved(key)}") from None
        lines = [str(at.lineno) for at in traceback.extract_tb(error.__traceback__) if at.filename == str(path)]
        where = f", line {lines[-1]}" if lines else ""
        did = "calls sys.exit" if isinstance(error, SystemExit) else f"raises {type(error).__name__}"
        said = " ".join(str(error).split())[:300]
        raise InputError(f"{path}{where} {did}{f' ({said})' if said else ''}; mend the configuration") from None


def _moved(key: str) -> str:
    return f"{key} is a setting of earlier versions; it is now {MOVED[key]}"


def override(config: Config, overrides: list[str] | tuple[str, ...]) -> Config:
    """Return the configuration with dotted ``key=value`` overrides. Raises InputError, with close names.

    Settings of the method that it had (`of_method`) do not hold for another unlearn.method.
    """
    import tyro

    if not overrides:
        return config
    config, arguments = _left_behind(config, overrides), []
    for item in overrides:
        key, equals, value = item.partition("=")
        if isinstance(_lookup(config, key), bool):  # true and false, as JSON has them, are meant too
            value = {"true": "True", "false": "False"}.get(value, value)
        if not equals:
            raise InputError(f"override {item!r} is not key=value, for example whp.alpha=3")
        if key in MOVED:
            raise InputError(f"override {item!r}: {_moved(key)}")
        many = isinstance(_lookup(config, key), tuple)
        arguments += [f"--{key}", *(_values(item, value) if many else [value])]
    messages = io.StringIO()
    try:
        with redirect_stderr(messages):
            return tyro.cli(
                type(config),
                default=config,
                args=arguments,
                use_underscores=True,
                prog="key=value",
                config=(tyro.conf.FlagConversionOff, tyro.conf.AvoidSubcommands),
                console_outputs=True,
            )
    except SystemExit:
        raise InputError(f"bad override in {list(overrides)}:\n{messages.getvalue().strip()}") from None


def _values(item: str, text: str) -> list[str]:
    """Return the values of a list: a JSON list's, the whole text where that is a file, or what stands between commas.

    Raises InputError for what begins as a JSON list of texts does and is none; "[ab]*.txt" is a glob.
    """
    if text.startswith("["):
        try:
            return [v if isinstance(v, str) else json_text(v) for v in parse_json(text, f"override {item!r}", list)]
        except InputError:
            if text.lstrip("[ ").startswith('"'):
                raise
    if "," in text and os.path.lexists(text):
        return [text]
    return [v for v in text.split(",") if v]


def of_method(config: Config) -> dict[str, Any]:
    """Return {name: value} of the unlearn.* settings that were given for unlearn.method, such as beta."""
    shared = {f.name for f in dataclasses.fields(Train)} | {"method", "reach"}
    own = {f.name: getattr(Unlearn(), f.name) for f in dataclasses.fields(Unlearn) if f.name not in shared}
    return {k: getattr(config.unlearn, k) for k, default in own.items() if getattr(config.unlearn, k) != default}


def with_method(config: Config, name: str) -> Config:
    """Return the configuration with another method, at that method's own settings: those given for this one are left.

    Rate, steps and whatever else every method has stay.
    """
    defaults: dict[str, Any] = {name: getattr(Unlearn(), name) for name in of_method(config)}
    return dataclasses.replace(config, unlearn=dataclasses.replace(config.unlearn, **defaults | {"method": name}))


def _left_behind(config: Config, overrides: Sequence[str]) -> Config:
    """Return the configuration without the settings of its method, where the overrides name another one."""
    named = [value for key, _, value in (item.partition("=") for item in overrides) if key == "unlearn.method"]
    return with_method(config, named[-1]) if named and named[-1] != config.unlearn.method else config


def _lookup(config, key: str):
    for part in key.split("."):
        config = getattr(config, part, None)
    return config


def to_json(config: Config) -> str:
    """Return the resolved configuration as JSON, as it is saved with every run."""
    return json_text(dataclasses.asdict(config), indent=1, sort_keys=True)
