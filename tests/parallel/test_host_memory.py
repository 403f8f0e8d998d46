"""Page faults of a block that is freed and allocated again."""

import platform
import subprocess
import sys

ROUNDS = """
import resource
from jaxunlearn.parallel.host_memory import keep_freed

if {keep}:
    keep_freed()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * 2**26
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults(), faults())
"""


def faults(keep: bool) -> list[int]:
    made = subprocess.run([sys.executable, "-c", ROUNDS.format(keep=keep)], capture_output=True, text=True, check=True)
    return [int(n) for n in made.stdout.split()]


def test_a_block_of_64_mib_is_faulted_in_once():
    if platform.libc_ver()[0] != "glibc":
        assert faults(keep=True), "elsewhere the call changes nothing, and must not fail"
        return
    pages = 2**26 // 2**14  # a quarter of the 4 KiB pages: larger ones take fewer faults
    assert min(faults(keep=False)) > pages, "without the call there is nothing to win here"
    assert max(faults(keep=True)) < pages // 10
