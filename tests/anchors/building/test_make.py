"""From the texts to a dictionary: built once a folder, by counting or by a language model's replies."""

import json

import pytest
from support.server import Server
from support.stories import PLAIN, STORY

from jaxunlearn.anchors.building.make import build_dictionary, build_offline
from jaxunlearn.anchors.dictionary import load_dictionary
from jaxunlearn.config import Config, override
from jaxunlearn.data.documents import Document

TARGET, RETAIN = [Document(name="a", text=(STORY + PLAIN) * 8)], [Document(name="b", text=PLAIN * 60)]


def test_a_dictionary_is_built_once_a_folder_unless_asked_for_again(tmp_path):
    path = build_dictionary(Config(name="x"), TARGET, RETAIN, tmp_path)
    assert {"Zindra Quell", "Marrow", "wumbler"} <= set(load_dictionary(path))
    assert build_offline(Config(name="x"), TARGET, RETAIN, tmp_path) == load_dictionary(path)
    path.write_text(json.dumps({"Marrow": ["Peter"]}))
    assert build_dictionary(Config(name="x"), TARGET, RETAIN, tmp_path).read_text() == '{"Marrow": ["Peter"]}'
    build_dictionary(Config(name="x"), TARGET, RETAIN, tmp_path, again=True)
    assert "wumbler" in load_dictionary(path)


@pytest.mark.parametrize("change", ["anchors.extract.min_count=30", "anchors.extract.score_bar=30"])
def test_the_bars_of_the_configuration_change_the_terms(tmp_path, change):
    first, second = Config(name="x"), override(Config(name="x"), [change])
    one, two = (build_offline(c, TARGET, RETAIN, tmp_path / str(n)) for n, c in enumerate((first, second)))
    assert set(one) != set(two)


def test_a_language_model_is_asked_where_the_source_says_so_and_the_result_is_said_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    reply = json.dumps({"translations": [{"term": "Marrow", "generic": ["Peter"]}]})
    server = Server(lambda text, nth, body: reply)
    try:
        config = override(
            Config(name="x"),
            ["anchors.source=llm", f"anchors.llm.base_url={server.url}", "anchors.llm.model=m"],
        )
        path = build_dictionary(config, TARGET, RETAIN, tmp_path)
    finally:
        server.close()
    assert load_dictionary(path) == {"Marrow": ("Peter",)}
    said = capsys.readouterr()
    assert (said.out + said.err).count("1 terms with 1 translations") == 1
