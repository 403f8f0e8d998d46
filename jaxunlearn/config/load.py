"""Read a configuration: one Python file a run, with dotted ``key=value`` overrides.

A file in configs/ defines ``config() -> Config``. On the command line ``key=value`` overrides any field
(``whp.alpha=3``, ``text.forget=a.txt,b.txt``).
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
from jaxunlearn.config.training import Train, Unlearn
from jaxunlearn.errors import InputError
from jaxunlearn.files import json_text, parse_json


def as_dict(value) -> dict:
    """Return a frozen dataclass as plain JSON values."""
    return parse_json(json_text(dataclasses.asdict(value)), "the configuration")


def find_config(name: str) -> Path:
    """Return the path of a configuration file, given as a path or as the name of one that ships with the package.

    Raises InputError where there is none.
    """
    here = Path(__file__).parent.parent
    places = [Path(name), here / "configs" / f"{name}.py", here.parent / "configs" / f"{name}.py"]
    for place in places:
        if os.path.isfile(place):  # Path.is_file raises for a name that is too long
            return place
    shipped = sorted(p.stem for folder in {p.parent for p in places[1:]} for p in folder.glob("[a-z]*.py"))
    named = ascii(name) if len(name) <= 100 else f"{name[:100]!a}..."
    raise InputError(f"no configuration {named}: give a Python file with a config() function, or one of {shipped}")


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
    config = override(made, overrides)
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
        old = re.search(r"\bAttack\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
        if old and (key := f"attack.{old[1]}") in MOVED:
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

    config, arguments = _left_behind(config, overrides), []
    for item in overrides:
        key, equals, value = item.partition("=")
        if not equals:
            raise InputError(f"override {item!r} is not key=value, for example whp.alpha=3")
        if key in MOVED:
            raise InputError(f"override {item!r}: {_moved(key)}")
        many = isinstance(_lookup(config, key), tuple)
        arguments += [f"--{key}", *([v for v in value.split(",") if v] if many else [value])]
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
