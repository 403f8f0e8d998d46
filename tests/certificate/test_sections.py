"""The sections that follow from a run's files: each is drawn from what lies there, and `verify` compares each."""

import json
from types import SimpleNamespace

import pytest
from support.certificates import predicate

from jaxunlearn.certificate import sections, statement
from jaxunlearn.certificate.digests import sha256_of
from jaxunlearn.certificate.findings import ALWAYS
from jaxunlearn.certificate.verify import DIFFERS, _sections
from jaxunlearn.run import preregistration


class Run(SimpleNamespace):
    def __truediv__(self, name):
        return self.at / name


@pytest.fixture
def s(tmp_path, report, monkeypatch):
    """A run made by hand, with a registration in time and nothing that bars a limit."""
    (tmp_path / preregistration.FILE).write_text("{}")
    (tmp_path / "manifest.json").write_text(json.dumps({"seed": 3}))
    monkeypatch.setattr(sections, "facts", lambda s, windows, there: {"registered": s.in_time, "shown": windows > 9})
    inputs = SimpleNamespace(
        documents=[SimpleNamespace(name="a.txt#1"), SimpleNamespace(name="a.txt#2")], dictionary={"x": ("y",)},
        forget=SimpleNamespace(summary=lambda: "9 tokens"), hashes={"text": "ab"},
    )  # fmt: skip
    config = SimpleNamespace(unlearn=SimpleNamespace(method="whp"))
    return SimpleNamespace(
        run=Run(at=tmp_path, inputs=inputs, config=config), report=report, name="unlearned", has_twin=True,
        folders=dict.fromkeys(("baseline", "unlearned", "twin"), tmp_path), registered={"time": "2026-01-01"},
        began="2026-01-02", in_time=True, changes=[], differs=["windows"],
    )  # fmt: skip


def test_sections_are_of_the_runs_files(s):
    made = sections.of_run(s)
    assert made["asked"]["documents"] == ["a.txt"] and made["asked"]["terms"] == 1 and made["manifest"] == {"seed": 3}
    assert made["method"]["name"] == "whp" and made["preregistration"]["differs"] == ["windows"]
    assert made["preregistration"]["sha256"] == sha256_of(s.run / preregistration.FILE)
    assert [row["title"] for row in made["side_effects"]] == ["general accuracy", "the same, one temperature fitted"]
    assert len(sections.limits(s, 10, 10, True)) == len(ALWAYS)
    assert len(sections.limits(s, 9, 10, False)) == len(ALWAYS) + 2


def test_verify_finds_every_section_that_is_not_the_runs(s, logps):
    s.report["completions"] = [{"prompt": "q", "grades": {"unlearned": 3}, "texts": {"unlearned": "Zarabel"}}]
    made = sections.of_run(s) | {"limits": sections.limits(s, 40, 90, False)}
    row = {"test": "completion", "prompt": "q", "came_out": "Zarabel (named: -)", "probability": None, "twin": None}
    p = statement.as_read(predicate(s.report, logps) | made | {"compared_with": {"baseline": [], "twin": []}})
    p["findings"] = [row, row | {"test": "next word, running text"}, row | {"test": "extraction, 50 tokens"}]

    def wrong(**forged):
        return [c.what for c in _sections(s, p | forged, (40, 90)) if c.outcome == DIFFERS]

    assert wrong() == []
    for name in made:
        assert wrong(**{name: [] if p[name] else [1]}) == [f"{len(made)} sections, by the run: not so: {name}"]
    assert wrong(preregistration=p["preregistration"] | {"differs": []})
    assert wrong(findings=[]) == ["residual findings of the run's report.json"]
    assert wrong(compared_with={}) == ["the models compared with are those of the run: baseline, twin"]
