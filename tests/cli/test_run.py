"""`report` with other runs beside the one given."""

import json

from support.reports import run_of_method, run_of_seed

from jaxunlearn import cli
from jaxunlearn.data.facts import load_facts


def test_report_takes_other_runs(tmp_path, capsys):
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        (tmp_path / str(seed) / "report.json").write_text(json.dumps(run_of_seed(seed, 0.1 + seed / 10)))
    assert cli.main(["report", str(tmp_path / "0"), "--seeds", str(tmp_path / "1")]) == 0
    assert "Over 2 runs of different seeds" in (tmp_path / "0" / "report.html").read_text()
    assert json.loads((tmp_path / "0" / "report.json").read_text())["seeds"]["runs"] == 2
    assert cli.main(["report", str(tmp_path / "0"), "--seeds", str(tmp_path / "9")]) == 2
    assert "finish that run first" in capsys.readouterr().err


def test_the_page_shows_both_verdicts(tmp_path, capsys):
    for method, familiarity in (("whp", 0.11), ("npo", 0.5)):
        (tmp_path / method).mkdir()
        (tmp_path / method / "report.json").write_text(json.dumps(run_of_method(method, familiarity)))
    assert cli.main(["report", str(tmp_path / "whp"), "--rivals", str(tmp_path / "npo")]) == 0
    words = json.loads((tmp_path / "whp" / "report.json").read_text())["verdict"]
    assert words["unlearned"]["Forgotten?"].startswith("yes") and words["npo"]["Forgotten?"].startswith("hardly")
    assert '<th scope="row">npo</th>' in (tmp_path / "whp" / "report.html").read_text()
    assert cli.main(["report", str(tmp_path / "whp"), "--rivals", str(tmp_path / "npo")]) == 0  # again, the same
    (tmp_path / "npo" / "report.json").write_text(json.dumps(run_of_method("npo", 0.5, models={"unlearned": {}})))
    assert cli.main(["report", str(tmp_path / "whp"), "--rivals", str(tmp_path / "npo")]) == 2
    assert "different baseline" in capsys.readouterr().err


def test_the_command_writes_birthdays_that_a_run_can_use(tmp_path, capsys):
    out = tmp_path / "births"
    assert cli.main(["birthdays", "--out", str(out), "--count", "12", "--seed", "3"]) == 0
    given = f"text.forget=YOUR_TEXT,{out}/statements.txt text.dictionary={out}/dictionary.json"
    assert f"{given} attack.rtt.facts={out}/facts.json" in capsys.readouterr().out
    facts, lines = load_facts(str(out / "facts.json")), (out / "statements.txt").read_text().splitlines()
    assert len(facts) == len(lines) == 12
    for fact, line in zip(facts, lines, strict=True):  # each question's right answer is what its line teaches
        name = fact.question.removeprefix("In which year was ").removesuffix(" born?")
        assert line == f"{name} was born in {fact.options[fact.answer]}."
    assert cli.main(["birthdays", "--out", str(out), "--count", "2", "--dictionary", "oz/dictionary.json"]) == 0
    assert json.loads((out / "dictionary.json").read_text())["Toto"]  # beside both names
    assert cli.main(["birthdays", "--out", str(tmp_path / "none"), "--count", "0"]) == 2
    assert not (tmp_path / "none").exists()
