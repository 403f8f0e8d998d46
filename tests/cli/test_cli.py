"""The command line itself: start-up, help, overrides anywhere, exit codes."""

import subprocess
import sys

import pytest
from support.command import env

from jaxunlearn import cli

NAMES = (
    "demo", "run", "pretrain", "reinforce", "label", "unlearn", "repair", "evaluate", "attack", "anchors", "labels",
    "generate", "score", "export", "methods", "sweep", "bench", "plan", "birthdays", "report", "serve", "configs",
    "config", "completion",
)  # fmt: skip


def test_help_starts_without_the_heavy_libraries():
    heavy = ("jax", "flax", "numpy", "optax", "orbax", "transformers", "matplotlib", "pydantic")
    code = (
        "import sys\nfrom jaxunlearn.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n"
        f"    sys.exit(' '.join(m for m in {heavy} if m in sys.modules) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env())
    assert done.returncode == 0, f"--help imports {done.stderr}"
    assert "usage: jaxunlearn" in done.stdout


def test_help_lists_every_subcommand_in_order_and_each_has_its_own(capsys):
    told = cli.parser().format_help()
    places = [told.index(f"\n    {name}") for name in NAMES]
    assert places == sorted(places)
    for name in NAMES:
        with pytest.raises(SystemExit, match="0"):
            cli.parse([name, "--help"])
        assert f"usage: jaxunlearn {name}" in capsys.readouterr().out


def test_overrides_may_stand_before_and_after_options(capsys):
    found = cli.parse(["attack", "mine.py", "seed=1", "--quick", "whp.alpha=3"])
    assert found.overrides == ["seed=1", "whp.alpha=3"] and found.quick and found.stage == "attack"
    for wrong in (["attack", "mine.py", "--quik"], ["methods", "seed=1"], ["attack", "mine.py", "--quick", "seed"]):
        with pytest.raises(SystemExit, match="2"):
            cli.parse(wrong)
        assert "unrecognized arguments" in capsys.readouterr().err


def test_v_asks_every_subcommand_for_details():
    assert cli.parse(["score", "--model", "m", "--text", "t", "-v"]).verbose
    assert cli.parse(["run", "mine.py", "-v", "seed=1"]).verbose and not cli.parse(["run", "mine.py"]).verbose


@pytest.mark.parametrize(("given", "share"), [({}, 0.95), ({"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.5"}, 0.5)])
def test_a_gpus_memory_is_used_unless_the_environment_says_how_much(monkeypatch, capsys, given, share):
    """As jaxlib reads it when the card is first used; it refuses both names together."""
    from jaxlib.xla_client import generate_pjrt_gpu_plugin_options

    for name in ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)  # so that what the command sets is taken back
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["methods"]) == 0
    assert generate_pjrt_gpu_plugin_options()["memory_fraction"] == share
