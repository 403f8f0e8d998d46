"""The prompt switcher's JSON: every prompt with each model's text, the judge's words marked, safe inside a page."""

import json
import re

from support.reports import made_up, rendered

from jaxunlearn.report.switcher import as_script, parts, switcher


def test_each_prompt_has_the_answers_of_all_models_in_order():
    found = switcher(made_up())
    assert found["models"] == ["baseline", "unlearned", "twin"] == found["shown"]
    completions, leaks = found["groups"]
    assert len(completions["items"]) == 14 and completions["items"][3]["prompt"].startswith("Number 3")
    baseline, unlearned, twin = completions["items"][2]["answers"]
    assert baseline["said"] == ["saw ", "Professor Thornwick", " of ", "Glimmerhall", " wave his wand ."]
    assert (baseline["grade"], unlearned["grade"], twin["said"]) == (3, 2, ["saw a dog ."])
    (only,) = leaks["items"]  # a probe after which no text was kept is left out
    assert (leaks["title"], only["about"], only["answers"][0]) == ("Leak probes", "archetype", None)
    assert only["answers"][1]["about"] == "probability of the target’s words: 0.410"
    assert switcher({}) is None and as_script(None) == ""


def test_models_beyond_the_main_ones_wait_to_be_chosen():
    item = {"prompt": "p", "texts": {"npo": "a", "twin": "b", "own argmax labels": "c", "unlearned": "d"}}
    found = switcher({"completions": [item]})
    assert found["models"] == ["unlearned", "twin", "own argmax labels", "npo"] and found["shown"] == [
        "unlearned",
        "twin",
    ]


def test_evidence_is_marked_whole_and_the_longer_term_first():
    assert parts("a wand, wands", ["wand"]) == ["a ", "wand", ", wands"]
    assert parts("The Moon\nBarge sails", ["Moon", "Moon Barge"]) == ["The ", "Moon\nBarge", " sails"]
    assert parts("nothing", []) == ["nothing"]


def test_a_text_cannot_end_the_script_that_holds_it(tmp_path):
    report = made_up()
    report["completions"][0]["texts"]["baseline"] = odd = "</script><!-- <script> \u2028 & ]]>"
    held = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', rendered(report, tmp_path), re.DOTALL
    )
    assert len(held) == 1 and not re.search("[<>&\u2028]", held[0])
    assert json.loads(held[0])["groups"][0]["items"][0]["answers"][0]["said"] == [odd]
