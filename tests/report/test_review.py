"""The page on which prompts are reviewed."""

import json
import re

from jaxunlearn.report.review import write_review

PROMPTS = {
    "name": "mine </script>",
    "probability": [
        {"prompt": "They went to", "specific": ["Orm"], "generic": ["a"], "position": "out", "split": "choose"},
        {"prompt": "They came from", "specific": ["Drall", "Orm"], "position": "in", "split": "report"},
    ],
    "completion": [],
    "neutral": ["Once upon a time"],
    "choice": [{"question": "He was called", "options": ["Ben", "Carl"], "answer": 1, "split": "report"}],
    "lexicon": {"explicit": ["Orm"], "typical": []},
}


def test_every_prompt_is_there_with_what_is_known_and_the_content_can_be_read_back(tmp_path):
    page = tmp_path / "prompts.html"
    known = {"They went to": 0.34567, "They came from": 0.0123}
    write_review(page, PROMPTS, known, {"They went to": "They went to Orm & back."}, ["few prompts"], 0.1)
    text = page.read_text()
    assert "knows it (0.35)" in text and "does not know it (0.012)" in text and "Few prompts." in text
    assert "They went to Orm &amp; back." in text and 'value="Carl, Ben"' in text
    assert text.count('class="row"') == 4 and "Completions" not in text
    (given,) = re.findall(r'<script type="application/json" id="prompts">(.*?)</script>', text, re.DOTALL)
    assert json.loads(given) == PROMPTS
    assert not re.search(r'(src|href)="(?!data:)', text), "it needs no network"
