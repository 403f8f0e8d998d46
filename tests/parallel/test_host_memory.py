"""Page faults of a block that is freed and allocated again, and what a process keeps of blocks that were split."""

import platform
import subprocess
import sys

import jax
import pytest
from support.facts import SHAPE

from jaxunlearn.models import huggingface, transformer
from jaxunlearn.models.transformer import Model

GLIBC = platform.libc_ver()[0] == "glibc"
ROUNDS = """
import resource
from jaxunlearn.parallel.host_memory import LARGE, keep_freed, return_freed

{calls}

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * 2**26
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults(), faults())
"""


def faults(*calls: str) -> list[int]:
    rounds = ROUNDS.format(calls="\n".join(calls))
    made = subprocess.run([sys.executable, "-c", rounds], capture_output=True, text=True, check=True)
    return [int(n) for n in made.stdout.split()]


def test_a_block_of_64_mib_is_faulted_in_once_but_for_large_models():
    if not GLIBC:
        assert faults("keep_freed()", "return_freed(LARGE)"), "elsewhere the calls change nothing, and must not fail"
        return
    pages = 2**26 // 2**14  # a quarter of the 4 KiB pages: larger ones take fewer faults
    assert min(faults()) > pages, "without the call there is nothing to win here"
    assert max(faults("keep_freed()")) < pages // 10
    assert max(faults("keep_freed()", "return_freed(LARGE - 1)")) < pages // 10
    assert min(faults("keep_freed()", "return_freed(LARGE)")) > pages


SPLIT = """
from jaxunlearn.parallel.host_memory import LARGE, keep_freed, return_freed

keep_freed()
{calls}
kept = []
for _ in range(6):
    block = b"x" * 2**26  # a program's temporaries
    kept.append(b"y" * 2**16)  # what lives longer, behind the block
    del block
    kept.append(b"y" * 2**16)  # and where it was: the next one does not fit there
with open("/proc/self/statm") as file:
    print(int(file.read().split()[1]) * 4096)
"""


@pytest.mark.skipif(not GLIBC, reason="the calls are glibc's")
def test_what_is_split_does_not_grow_the_process():
    """Six blocks of 64 MiB, one after the other, with smaller ones that stay."""
    kept, returned = (
        int(subprocess.run([sys.executable, "-c", SPLIT.format(calls=c)], capture_output=True, text=True).stdout)
        for c in ("", "return_freed(LARGE)")
    )
    assert kept - returned > 2**26, "without the call there is nothing to win here"
    assert returned < 2**26


def test_a_model_that_is_read_or_made_says_how_large_it_is(mesh, monkeypatch, tmp_path):
    said, model = [], Model(SHAPE, jax.random.key(0))
    monkeypatch.setattr(transformer, "return_freed", said.append)
    monkeypatch.setattr(huggingface, "return_freed", said.append)
    huggingface.save(model, tmp_path / "m")
    huggingface.load(tmp_path / "m")
    transformer.init(SHAPE, 0)
    assert said == [4 * sum(w.size for w in jax.tree.leaves(model))] * 2
