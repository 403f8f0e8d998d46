"""The table of faults to plant does not rot: every patch still applies, and the tests that are to see it are there."""

import pytest
from support.mutants import MUTANTS
from support.paths import ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_a_fault_can_be_planted(mutant):
    path = ROOT / "jaxunlearn" / mutant.file
    assert path.read_text(encoding="utf-8").count(mutant.old) == 1, "the text must stand exactly once in the file"
    assert mutant.new != mutant.old
    compile(path.read_text(encoding="utf-8").replace(mutant.old, mutant.new), mutant.file, "exec")
    for test in mutant.tests:
        file, _, function = test.partition("[")[0].partition("::")
        assert f"def {function}" in (ROOT / file).read_text(encoding="utf-8"), f"no test {test}"


def test_names_are_told_apart():
    assert len({m.name for m in MUTANTS}) == len(MUTANTS) >= 56
