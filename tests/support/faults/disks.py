"""Disks that are full, read-only, or refuse a user. A limit of a file's size stands in for a full disk: the same errors
at the same places; a run as a user without rights stands in for a read-only one."""

from support.faults import SHORT, in_shell, trial

NOBODY = 'chmod a+rX ..; chmod -R a+rX .; exec setpriv --reuid=65534 --clear-groups "$@"'
PLAIN = {"JAX_COMPILATION_CACHE_DIR": "", "TMPDIR": "/tmp", "XDG_CACHE_HOME": "/tmp/nobody", "HOME": "/tmp/nobody"}


def short(place, *more):
    return ["run", str(place.world / "world.py"), f"run.dir={place.folder}/run", *SHORT, *more]


def goes_on(place, outcome):
    """Return why the same command does not finish the run on a disk with space."""
    from support.faults import in_process

    again = in_process(place, short(place))
    return "" if again.code == 0 else f"the same command does not go on: {again.err[-300:]}"


def limited(kilobytes: int):
    return in_shell(f'ulimit -f {kilobytes}; exec "$@"', JAX_COMPILATION_CACHE_DIR="")


@trial("disk faults", "full at the configuration", code=(1, 2), says="File too large|cannot", act=limited(2),
       judge=goes_on)  # fmt: skip
def _(place):
    return short(place)


@trial("disk faults", "full at the baseline", code=1, says="cannot write: ", act=limited(16), judge=goes_on)
def _(place):
    return short(place)


@trial("disk faults", "full in a finished run, at the report", code=(0, 1), act=limited(16), may_change=("run/*",),
       judge=goes_on)  # fmt: skip
def _(place):
    place.run()
    (place.folder / "run" / "report.html").unlink()
    return place.again("attack.probes.samples=2")


@trial("disk faults", "a run directory that may not be written", says="cannot be written: Permission denied",
       act=in_shell(NOBODY, **PLAIN))  # fmt: skip
def _(place):
    (place.folder / "closed").mkdir(mode=0o755)
    return ["run", str(place.world / "world.py"), f"run.dir={place.folder}/closed/run", *SHORT]


@trial("disk faults", "an export that may not be written", says="Permission denied", code=(1, 2),
       act=in_shell(NOBODY, **PLAIN))  # fmt: skip
def _(place):
    (place.folder / "closed").mkdir(mode=0o755)
    return ["export", "--model", str(place.model()), "--out", str(place.folder / "closed" / "out")]


@trial("disk faults", "full at an export", says="File too large", code=1, act=limited(16))
def _(place):
    place.write("out/.jaxunlearn.json", "{}")
    return ["export", "--model", str(place.model()), "--out", str(place.folder / "out")]


@trial("disk faults", "birthdays that may not be written", says="Permission denied", code=(1, 2),
       act=in_shell(NOBODY, **PLAIN))  # fmt: skip
def _(place):
    (place.folder / "closed").mkdir(mode=0o755)
    return ["birthdays", "--out", str(place.folder / "closed")]
