"""The page: every part of a certificate stands there, as text, and what is below resolution is called so."""

from support.certificates import SUBJECTS, predicate
from support.reports import Page

from jaxunlearn.certificate.page import page

REGISTERED = {
    "file": "preregistration.json", "sha256": "cd" * 32, "time": "2026-01-01T00:00:00+00:00", "in_time": False,
    "unlearning_began": "2025-12-31T00:00:00+00:00", "differs": ["eval.n: 1 -> 2"],
    "changes": [{"names": ["attack.kinds: [] -> [\"rtt\"]"], "time": "2026-01-03"}, {"names": []}],
}  # fmt: skip
FINDING = {"test": "completion", "prompt": "He <b>", "came_out": "Orm & co", "probability": None, "twin": None}
EXPORT = {"name": "q4.gguf", "files": [], "measures": [], "nats": None, "covered": False, "why": "not at the level"}


def told(made):
    return " ".join(Page(page(made, SUBJECTS)).text.split())


def test_the_page_opens_with_the_word_and_says_what_is_left(report, logps):
    text = told(predicate(report, logps))
    assert text.index("suppressed (comes back under attack)") < text.index("comes back: familiarity after relearning")
    assert "A <small> world" in text and "A. Tester" in text and "ab" * 32 in text
    assert "extraction, above the twin's at 4 thresholds" in text
    assert "the certified model: within 10 steps" in text and "Not measured: RTT." in text


def test_none_of_n_gives_the_upper_bound(report, logps):
    text = told(predicate(report, logps))
    assert "0 at most 0.088 n = 40" in text and "40 windows of 90, evenly spread" in text
    assert "2 of 3 documents are shorter than a window: nothing of them was tried" in text


def test_findings_and_exports_are_listed_one_by_one_and_escaped(report, logps):
    html = page(predicate(report, logps, findings=[FINDING] * 120, exports=[EXPORT]), SUBJECTS)
    assert html.count("Orm &amp; co") == 100 and "20 more stand in statement.json" in html and "He &lt;b&gt;" in html
    assert "q4.gguf" in html and "NOT covered" in html and "120 residual findings" in html


def test_when_the_tests_were_fixed_and_what_changed_is_said(report, logps):
    assert "its tests were not fixed before the unlearning" in told(predicate(report, logps))
    text = told(predicate(report, logps, preregistration=REGISTERED))
    for said in ("That was NOT before the first step", "Attacks were added later (2026-01-03): attack.kinds",
                 "back to what was", "Measured by other tests than were fixed: eval.n: 1 -> 2", "cd" * 32):  # fmt: skip
        assert said in text


def test_without_a_twin_its_column_is_not_there(report, logps):
    del report["models"]["twin"], report["relearn"]["twin"], logps["twin"]
    text = told(predicate(report, logps))
    assert "this run has none, so 0% is nothing at all" in text and "Certified modelLeft" in text
