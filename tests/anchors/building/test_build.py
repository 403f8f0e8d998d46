"""A dictionary from a language model: passages, replies of every form, resuming, and what it took."""

import contextlib
import json
import subprocess
import sys

import pytest
from support.server import Server, Waits, without_endpoint

from jaxunlearn.anchors.building import build as module
from jaxunlearn.anchors.building.build import (
    Llm,
    build_with_llm,
    cut_passages,
    draw_passages,
    make_endpoint,
    reply_schema,
)
from jaxunlearn.anchors.dictionary import load_dictionary
from jaxunlearn.data.documents import Document
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.llm.replies import find_values, read_reply

PLACES = ("Orm", "Drall", "Vex", "Quill", "Zarn", "Moorle")


def story(places=PLACES):
    """A chapter of 200 to 250 characters for each place, each its own passage at 250 characters."""
    filler = "The rain fell on the roofs all night and nobody slept well until the morning came. "
    return "\n\n".join(f"They came to {place}. " + (filler * 2).strip() for place in places) + "\n"


def place_of(body):
    return next(p for p in PLACES if p in body["messages"][1]["content"])


def entry(term, *generic):
    return {"term": term, "generic": list(generic)}


def reply(*entries):
    return json.dumps({"translations": list(entries)})


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    without_endpoint(monkeypatch)


@pytest.fixture
def build(tmp_path):
    """Build from the story with a server that answers by place; returns what was built, its server and the lines."""
    with contextlib.ExitStack() as stack:

        def run(answer, text=None, **settings):
            server = Server(lambda question, nth, body: answer(place_of(body), nth, body))
            stack.callback(server.close)
            settings = {"model": "m", "passages": 0, "passage_characters": 250, "attempts": 2, "timeout": 60} | settings
            lines = []
            documents = [Document(name="a", text=text or story())]
            try:
                built = build_with_llm(documents, Llm(base_url=server.url, **settings), tmp_path, lines.append, Waits())
            except RunError as error:
                built = error
            return built, server, lines

        yield run


def written(folder):
    return json.loads((folder / "dictionary.json").read_text())


# ---- passages


def test_passages_cover_the_text_and_end_with_paragraphs_where_they_can():
    passages = cut_passages(story(), 250)
    assert len(passages) == 6 and max(map(len, passages)) <= 250
    assert [p.split(". ")[0] for p in passages] == [f"They came to {place}" for place in PLACES]
    assert "\n\n".join(passages) == story().strip()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One two. Three four! Five six.", ["One two.", "Three four!", "Five six."]),
        ('He said "no." Then he left us', ['He said "no."', "Then he left", "us"]),
        ("aaaa bbbb cccc dddd", ["aaaa bbbb", "cccc dddd"]),
        ("x" * 25, ["x" * 13, "x" * 12]),
        ("One. Two\n\nThree. Four", ["One. Two", "Three. Four"]),
        ("short", ["short"]),
        (" \n ", []),
    ],
)
def test_a_passage_ends_with_a_paragraph_else_a_sentence_else_a_word(text, expected):
    assert cut_passages(text, 13 if text != "aaaa bbbb cccc dddd" else 12) == expected


def test_the_seed_draws_the_passages_and_a_higher_count_adds_to_them():
    def draw(count, seed=0):
        settings = Llm(passages=count, passage_characters=250, seed=seed)
        return draw_passages([story(), story(("Harbour", "Abbey"))], settings)

    assert draw(3) == draw(3) and draw(5)[:3] == draw(3)
    assert draw(3, seed=1) != draw(3) and draw(0)[:5] == draw(5)
    assert len(draw(0)) == len(set(draw(0))) == len(draw(99)) == 8
    assert draw(8) != cut_passages(story(), 250) + cut_passages(story(("Harbour", "Abbey")), 250)


# ---- the build


def test_replies_become_one_dictionary_in_the_order_of_the_passages(build, tmp_path):
    """By hand: Orm gets both translations once; Orm's and the two-word name go, for their parts are terms."""
    answers = {
        "Orm": reply(entry("Orm", "Rome", "Paris"), entry("Orm's", "Rome's")),
        "Drall": reply(entry("Drall", "Lyon"), entry("Orm Drall", "Big City"), entry("Orm", "Paris", "Bonn")),
        "Vex": reply(entry("Vex", "Vex"), entry("", "x")),
        "Quill": reply(),
        "Zarn": reply(entry("Old Zarn", "the old man")),
        "Moorle": reply(entry("moorle", "bird")),
    }
    built, *_ = build(lambda place, nth, body: {"text": answers[place], "delay": 0.02 * len(place)})
    order = [
        place_of({"messages": [{}, {"content": p}]}) for p in draw_passages([story()], Llm(passage_characters=250))
    ]
    orm = ["Rome", "Paris", "Bonn"] if order.index("Orm") < order.index("Drall") else ["Paris", "Bonn", "Rome"]
    assert written(tmp_path) == {"Orm": orm, "Drall": ["Lyon"], "Old Zarn": ["the old man"], "moorle": ["bird"]}
    terms = [t for place in order for t in {"Orm": ["Orm"], "Drall": ["Drall", "Orm"]}.get(place, [])]
    assert [t for t in written(tmp_path) if t in terms] == list(dict.fromkeys(terms))
    assert load_dictionary(built.path)["Drall"] == ("Lyon",)
    assert (built.passages, built.terms, built.translations, built.absent) == (6, 4, 6, 1)
    assert (built.requests, built.retries, built.malformed, built.unanswered) == (6, 0, 0, 0)


FORMS = {
    "the schema": '{"translations": [{"term": "Orm", "generic": ["Rome", "Bonn"]}]}',
    "the authors'": "Here it is.\n\ntranslations = {\n  'Orm': ['Rome', 'Bonn'],  # a city\n}\n\nThat's the list.",
    "fenced Python": "```python\ntranslations = {'Orm': ('Rome', 'Bonn')}\n```",
    "a mapping": '{"Orm": ["Rome", "Bonn"]}',
    "a mapping inside": '{"translations": {"Orm": ["Rome", "Bonn"]}}',
    "a bare list": '[{"term": "Orm", "generic": ["Rome", "Bonn"]}]',
    "more fields": '[{"term": "Orm", "kind": "place", "generic": ["Rome", "Bonn"]}]',
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_reply_is_read(build, tmp_path, form):
    built, *_ = build(lambda place, nth, body: FORMS[form], text=story(("Orm",)))
    assert written(tmp_path) == {"Orm": ["Rome", "Bonn"]} and built.retries == 0


def test_a_translation_may_stand_without_a_list():
    for text in ("translations = {'Orm': 'Rome'}", '{"Orm": "Rome"}', '[{"term": "Orm", "generic": "Rome"}]'):
        (found,) = read_reply(text, reply_schema())[0].translations
        assert (found.term, found.generic) == ("Orm", ["Rome"])


@pytest.mark.parametrize(
    "text",
    [
        '{"answer": 42}',
        '{"translations": [{"term": "Orm", "generic": ["Rome"]}, {"term": "Drall", "gen',
        '{"translations": [{"term": "Orm"}]}',
        '{"translations": "none"}',
        '["Orm", "Drall"]',
        "translations = {'Orm': __import__('os').name}",
    ],
)
def test_other_replies_are_refused(text):
    assert read_reply(text, reply_schema())[0] is None


def test_the_prompt_shows_the_form_and_the_schema_is_one_that_strict_endpoints_take():
    (example,) = find_values(module.PROMPT)
    assert reply_schema().model_validate(example)
    schema = reply_schema().model_json_schema()
    for part in (schema, schema["$defs"]["Entry"]):
        assert part["additionalProperties"] is False and part["required"] == list(part["properties"])


def test_one_malformed_passage_is_counted_and_the_others_make_the_dictionary(build, tmp_path):
    built, *_ = build(lambda place, nth, body: "Sorry." if place == "Orm" else reply(entry(place, "town")))
    assert (built.malformed, built.passages, built.requests, built.retries) == (1, 5, 7, 1)
    assert set(written(tmp_path)) == set(PLACES) - {"Orm"}


def test_without_a_usable_reply_the_build_fails_and_says_what_to_do(build, tmp_path):
    error, *_ = build(lambda *_: "Sorry.")
    assert isinstance(error, RunError) and "none of 6 passages" in str(error)
    assert "malformed.jsonl" in str(error) and "delete it to ask again" in str(error)
    error, *_ = build(lambda *_: reply(), model="other")
    assert isinstance(error, RunError) and "names a term" in str(error)
    assert not (tmp_path / "dictionary.json").exists()


def test_stopped_in_the_middle_and_resumed_no_passage_is_paid_for_twice(build, tmp_path):
    whole = {}

    def answer(place, nth, body):
        return reply(entry(place, "town")) if place in whole or len(whole) == 6 else {"status": 500}

    order = [p for text in draw_passages([story()], Llm(passage_characters=250)) for p in PLACES if p in text]
    whole.update(dict.fromkeys(order[:2]))
    error, *_ = build(answer, concurrency=1)
    assert isinstance(error, RunError) and "2 of 6 questions are settled" in str(error)
    whole.update(dict.fromkeys(PLACES))
    built, second, lines = build(answer, concurrency=1)
    assert "6 passages, 2 of them settled before" in lines[0] and "to ask: 4 requests, about" in lines[1]
    assert [place_of(body) for body in second.bodies] == order[2:]
    assert built.resumed == 2 and list(written(tmp_path)) == order
    again, third, _ = build(answer)
    assert third.bodies == [] and (again.requests, again.terms, again.resumed) == (0, 6, 6)


def test_more_passages_ask_only_for_the_new_ones(build, tmp_path):
    _, first, _ = build(lambda place, nth, body: reply(entry(place, "town")), passages=2)
    built, second, _ = build(lambda place, nth, body: reply(entry(place, "town")), passages=5)
    asked = [place_of(body) for body in first.bodies + second.bodies]
    assert (len(first.bodies), len(second.bodies), len(set(asked)), built.terms) == (2, 3, 5, 5)


def test_the_cost_is_said_before_and_after_and_a_price_only_where_prices_are_given(build):
    def answer(place, nth, body):
        usage = {"prompt_tokens": 1000, "completion_tokens": 200}
        return {"text": reply(entry(place, "town")), "usage": usage}

    built, server, lines = build(answer, price_in=2.0, price_out=10.0)
    sent = sum(len(m["content"]) for body in server.bodies for m in body["messages"]) // 4
    cost = (sent * 2 + 3000 * 10) / 1e6
    before = next(n for n, line in enumerate(lines) if f"6 requests, about {sent:,} + 3,000 tokens" in line)
    after = next(n for n, line in enumerate(lines) if "6,000 + 1,200 tokens in all calls, cost 0.02" in line)
    assert before < after and f"cost about {cost:.2f}" in lines[before]
    assert built.cost == pytest.approx((6000 * 2 + 1200 * 10) / 1e6) and not built.estimated
    free, _, lines = build(answer, model="other")
    assert free.cost is None and not any(", cost" in line for line in lines)
    estimated, _, lines = build(lambda place, nth, body: reply(entry(place, "town")), model="third")
    assert estimated.estimated and any("(estimated)" in line for line in lines)


def test_settings_that_cannot_work_are_named_before_anything_is_asked():
    with pytest.raises(InputError, match=r"passage_characters(.|\n)*price_in"):
        make_endpoint(Llm(passage_characters=10, price_in=-1.0, base_url="http://h/v1", model="m"))
    with pytest.raises(InputError, match="OPENAI_BASE_URL"):
        make_endpoint(Llm(model="m"))
    settings = Llm(base_url="http://h/v1", model="m", key_variable="K", temperature=0.1, seed=4, concurrency=7)
    endpoint = make_endpoint(settings)
    for name in ("base_url", "model", "key_variable", "temperature", "seed", "concurrency", "attempts", "timeout"):
        assert getattr(endpoint, name) == getattr(settings, name)


def test_the_settings_are_imported_without_anything_heavy():
    code = "import sys, jaxunlearn.anchors.building.build\n"
    code += "print([m for m in ('numpy', 'httpx', 'pydantic') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
