"""Folders and files that a command would write to, and are somebody else's; folders in use; streams, homes, users."""

import json
import os
import subprocess
import sys

from support.command import env
from support.faults import REOPENED, SHORT, alone, in_process, in_shell, trial
from support.paths import ROOT

EXPORT = r"`jaxunlearn export` did not write"


def world(place, *more):
    """Return the arguments of a short run in the folder's run/."""
    return ["run", str(place.world / "world.py"), f"run.dir={place.folder}/run", *SHORT, *more]


# ---- run.dir


@trial("bad inputs", "run.dir is a file", says="is a file|cannot be written", quick=True)
def _(place):
    place.write("run", "mine")
    return world(place)


@trial("bad inputs", "run.dir is somebody's web project", says="holds config.json and is no run's folder", quick=True)
def _(place):
    place.write("run/config.json", '{"name": "web"}')
    place.write("run/index.html", "<p>mine")
    return world(place)


@trial("bad inputs", "run.dir is the world's own folder", says="is no run's folder")
def _(place):
    return ["run", str(place.world / "world.py"), f"run.dir={place.world}", *SHORT]


@trial("bad inputs", "run.dir has data of somebody else", says="holds data and is no run's folder")
def _(place):
    place.write("run/data/dictionary.json", "mine")
    return ["demo", "--out", str(place.folder / "run")]


@trial("bad inputs", "run.dir is a model's folder", says="is no run's folder")
def _(place):
    return ["run", str(place.world / "world.py"), f"run.dir={place.model('run')}", *SHORT]


@trial("bad inputs", "a sweep in a folder of somebody else", says="holds sweep.md and is no run's folder")
def _(place):
    place.write("run/sweep.md", "mine")
    few = ("sweep.methods=whp", "sweep.seeds=0", "eval.relearn_steps=")
    return ["sweep", str(place.world / "world.py"), f"run.dir={place.folder}/run", *SHORT, *few]


def _nothing_made(place, outcome):
    return "a folder was left" if (place.folder / "run").exists() else ""


@trial("bad inputs", "inputs that are refused leave no folder", judge=_nothing_made, says="nosuch.txt", quick=True)
def _(place):
    return world(place, "text.forget=nosuch.txt")


@trial("bad inputs", "an attack that cannot run leaves no folder", judge=_nothing_made, says="attack.rtt.splits")
def _(place):
    return world(place, "attack.kinds=rtt", "attack.rtt.splits=40")


@trial("bad inputs", "another configuration in a finished run", says="whp.alpha: 5.0 -> 3.0")
def _(place):
    place.run()
    return place.again("whp.alpha=3")


def _beside(place, arguments):
    """Run the command while another process holds the run directory and the folder of the anchors."""
    held = f"""
import sys
from pathlib import Path
from jaxunlearn.outputs import lock
held = [lock(Path({str(place.folder)!r}) / name, "it") for name in ("run/.jaxunlearn_run.lock",
                                                                   "anchors/.jaxunlearn_anchors.lock")]
print("held", flush=True)
sys.stdin.read()
"""
    for name in ("run", "anchors"):
        (place.folder / name).mkdir(exist_ok=True)
    other = subprocess.Popen(
        [sys.executable, "-c", held], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env()
    )
    other.stdout.readline()
    try:
        return in_process(place, arguments)
    finally:
        other.kill()
        other.communicate()


@trial("bad inputs", "a run directory in use", act=_beside, says=r"in use by process \d+ on ",
       may_change=REOPENED)  # fmt: skip
def _(place):
    place.run()
    return place.again()


@trial("bad inputs", "a folder of anchors in use", act=_beside, says=r"in use by process \d+ on ")
def _(place):
    return ["anchors", "build", str(place.world / "world.py"), "--out", str(place.folder / "anchors")]


# ---- --out and the like


@trial("bad inputs", "export over a run", says=f"holds baseline, .*{EXPORT}|a folder around")
def _(place):
    run = place.run()
    return ["export", "--model", str(run / "unlearned"), "--out", str(run)]


@trial("bad inputs", "export over a run, forced", says="a folder around")
def _(place):
    run = place.run()
    return ["export", "--model", str(run / "unlearned"), "--out", str(run), "--force"]


@trial("bad inputs", "export over the model itself, forced, by a link", says="itself")
def _(place):
    (place.folder / "link").symlink_to(place.model())
    return ["export", "--model", str(place.folder / "model"), "--out", str(place.folder / "link"), "--force"]


@trial("bad inputs", "export over another model of the run", says=EXPORT)
def _(place):
    run = place.run()
    return ["export", "--model", str(run / "unlearned"), "--out", str(run / "baseline")]


@trial("bad inputs", "export over a web project", says=EXPORT)
def _(place):
    place.write("web/config.json", "{}")
    place.write("web/README.md", "mine")
    return ["export", "--model", str(place.model()), "--out", str(place.folder / "web")]


@trial("bad inputs", "GGUF beside a README of somebody else", says=f"holds README.md, .*{EXPORT}")
def _(place):
    place.write("README.md", "mine")
    out = str(place.folder / "my.gguf")
    return ["export", "--model", str(place.model()), "--format", "gguf", "--out", out]


@trial("bad inputs", "GGUF over a file of somebody else", says=f"holds my.gguf, .*{EXPORT}")
def _(place):
    out = str(place.write("my.gguf", "mine"))
    return ["export", "--model", str(place.model()), "--format", "gguf", "--out", out]


@trial("bad inputs", "birthdays over files of somebody else", says="holds facts.json, which", quick=True)
def _(place):
    place.write("facts.json", "mine")
    return ["birthdays", "--out", str(place.folder), "--count", "10"]


@trial("bad inputs", "birthdays into a file", says="is a file; give a folder", quick=True)
def _(place):
    return ["birthdays", "--out", str(place.write("facts", "mine")), "--count", "10"]


@trial("bad inputs", "anchors build over a dictionary that was edited", says="holds dictionary.json, which")
def _(place):
    place.write("anchors/dictionary.json", '{"Zara": ["Anna"]}')
    return ["anchors", "build", str(place.world / "world.py"), "--out", str(place.folder / "anchors")]


@trial("bad inputs", "anchors audit --fix over the dictionary itself", says="holds dictionary.json, which", quick=True)
def _(place):
    mine = str(place.write("dictionary.json", '{"Zara": ["Anna"]}'))
    return ["anchors", "audit", mine, "--text", str(place.world / "forget.txt"), "--fix", mine]


@trial("bad inputs", "figures over pictures of somebody else", says="which `jaxunlearn report --figures`")
def _(place):
    run = place.run()
    from jaxunlearn.report.page import figure_names

    for name in figure_names(json.loads((run / "report.json").read_text())):
        place.write(f"figures/{name}", "mine")
    return ["report", str(run), "--figures", str(place.folder / "figures")]


@trial("bad inputs", "a page of labels over a page of somebody else", says="holds page.html, which")
def _(place):
    place.run()
    page = place.write("page.html", "mine")
    return ["labels", "show", *place.again()[1:], "--html", str(page)]


@trial("bad inputs", "a report of a folder that is no run", says="report.json", quick=True)
def _(place):
    place.write("web/index.html", "mine")
    return ["report", str(place.folder / "web")]


@trial("bad inputs", "bench --scaling over a table of somebody else", says="holds table.md, which")
def _(place):
    place.write("out/table.md", "mine")
    return ["bench", "universe", "--scaling", str(place.folder / "out")]


# ---- streams, users, homes


@trial("bad inputs", "nobody reads the output", code=141, act=in_shell('"$@" | true; exit ${PIPESTATUS[0]}'))
def _(place):
    return ["methods"]


@trial("bad inputs", "standard output is full", code=1, says="No space left", act=in_shell('exec "$@" > /dev/full'))
def _(place):
    return ["methods"]


@trial("bad inputs", "closed streams", code=0, act=in_shell('exec "$@" <&- >&- 2>&-'))
def _(place):
    return ["methods", "--json"]


@trial("bad inputs", "a log on a full disk", code=0, may_change=REOPENED, act=in_shell('exec "$@" 2> /dev/full'))
def _(place):
    place.run()
    return place.again()


@trial("bad inputs", "no HOME, and a user that nobody knows", code=0,
       act=in_shell('unset HOME XDG_CACHE_HOME; chmod -R a+rwX .; exec setpriv --reuid=54321 --clear-groups "$@"',
                    JAX_COMPILATION_CACHE_DIR="", TMPDIR="."))  # fmt: skip
def _(place):
    for folder in (place.folder.parent, place.world):
        os.chmod(folder, 0o755)
    return ["score", "--model", str(place.model()), "--text", str(place.world / "retain.txt")]


@trial("bad inputs", "Ctrl-C while it works", code=130, says="interrupted|^$",
       act=in_shell('set -m; "$@" & sleep 4; kill -INT $!; wait $!'))  # fmt: skip
def _(place):
    return ["run", str(place.world / "world.py"), f"run.dir={place.folder}/run"]


@trial("bad inputs", "a checkout that was not installed", act=alone, code=0, may_change=REOPENED)
def _(place):
    place.write("sitecustomize.py", UNINSTALLED.format(root=str(ROOT)))
    place.run()
    return place.again()


UNINSTALLED = """
import importlib.metadata
real = importlib.metadata.version
def version(name):
    if name == "jaxunlearn":
        raise importlib.metadata.PackageNotFoundError(name)
    return real(name)
importlib.metadata.version = version
"""
