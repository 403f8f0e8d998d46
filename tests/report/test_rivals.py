"""Other methods in one report: what is taken over, under which name, and what does not belong together."""

import json

import pytest

from jaxunlearn import cli
from jaxunlearn.errors import InputError
from jaxunlearn.report.compare import beside


def e(value):
    return {"value": value, "low": value - 0.01, "high": value + 0.01, "n": 50}


def run_of(method, familiarity, **more):
    models = {n: {"familiarity": {"probability": e(f)}} for n, f in (("baseline", 0.9), ("twin", 0.1))}
    return {
        "models": models | {"unlearned": {"familiarity": {"probability": e(familiarity)}}},
        "config": {"unlearn": {"method": method}}, "manifest": {"hashes": {"text.prompts": "p"}},
        "relearn": {n: [{"step": 5, "familiarity": familiarity + 0.3}] for n in ("unlearned", "twin")},
        "attacks": {"quantise": {"unlearned": {"int4": {"familiarity": e(familiarity)}}},
                    "leaks": {"models": {"unlearned": {"probes": 3}}}, "unmeasured": []},
        "rtt": {"models": {"unlearned": {"rate": 0.1}}}, "costs": {"unlearned": {"seconds": 3.0}},
        "curve": [{"step": 0, "familiarity": familiarity}],
    } | more  # fmt: skip


def test_a_rival_stands_beside_with_all_that_was_found_of_it():
    ours, other = run_of("whp", 0.2), run_of("npo", 0.4)
    found = beside(ours, [other])
    assert found["models"]["npo"] == other["models"]["unlearned"] and found["rivals"] == ["npo"]
    assert found["models"]["unlearned"] == ours["models"]["unlearned"]
    assert found["relearn"]["npo"][0]["familiarity"] == pytest.approx(0.7)
    assert found["attacks"]["quantise"]["npo"] == other["attacks"]["quantise"]["unlearned"]
    assert found["attacks"]["leaks"]["models"]["npo"] == {"probes": 3}
    assert found["rtt"]["models"]["npo"] == {"rate": 0.1} and found["costs"]["npo"] == {"seconds": 3.0}
    assert found["curves"]["npo"][0]["familiarity"] == 0.4
    assert "npo" not in ours["models"] and "npo" not in ours["relearn"]  # the report given is left as it was


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(InputError, match=r"another text\.prompts"):
        beside(run_of("whp", 0.2), [run_of("npo", 0.4, manifest={"hashes": {"text.prompts": "q"}})])
    other = run_of("npo", 0.4)
    other["models"]["baseline"]["familiarity"]["probability"] = e(0.8)
    with pytest.raises(InputError, match="another baseline"):
        beside(run_of("whp", 0.2), [other])
    with pytest.raises(InputError, match="called 'npo'"):
        beside(run_of("whp", 0.2), [run_of("npo", 0.4), run_of("npo", 0.5)])


def test_the_page_shows_both_verdicts(tmp_path, capsys):
    for method, familiarity in (("whp", 0.11), ("npo", 0.5)):
        (tmp_path / method).mkdir()
        (tmp_path / method / "report.json").write_text(json.dumps(run_of(method, familiarity)))
    assert cli.main(["report", str(tmp_path / "whp"), "--rivals", str(tmp_path / "npo")]) == 0
    words = json.loads((tmp_path / "whp" / "report.json").read_text())["verdict"]
    assert words["unlearned"]["Forgotten?"].startswith("yes") and words["npo"]["Forgotten?"].startswith("in part")
    assert '<th scope="row">npo</th>' in (tmp_path / "whp" / "report.html").read_text()
    assert cli.main(["report", str(tmp_path / "whp"), "--rivals", str(tmp_path / "npo")]) == 0  # again, the same
    (tmp_path / "npo" / "report.json").write_text(json.dumps(run_of("npo", 0.5, models={"unlearned": {}})))
    assert cli.main(["report", str(tmp_path / "whp"), "--rivals", str(tmp_path / "npo")]) == 2
    assert "another baseline" in capsys.readouterr().err
