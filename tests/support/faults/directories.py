"""Folders and files that a command would write to, and are somebody else's; folders of runs."""

from support.faults import trial


@trial("bad inputs", "a configuration that is not there", quick=True)
def _(place):
    return ["run", str(place.folder / "none.py")]


@trial("bad inputs", "run.dir is a file", says="run directory")
def _(place):
    return ["run", str(place.world / "world.py"), f"run.dir={place.write('file', 'mine')}"]
