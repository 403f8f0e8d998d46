"""Files: shipped data, whole writes, hashes."""

import ast
import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from support.paths import ROOT

import jaxunlearn
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.files import (
    JSON_BYTES,
    cache_folder,
    find_data,
    finite,
    json_text,
    markdown_text,
    nfc,
    parse_json,
    read_json,
    read_text,
    sha256,
    sha256_text,
    shared,
    write_whole,
)


def test_a_shipped_file_is_found_by_its_name_and_a_file_that_exists_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_data("oz/dictionary.json").is_file()
    (tmp_path / "oz").mkdir()
    (tmp_path / "oz/dictionary.json").write_text("{}")
    assert find_data("oz/dictionary.json").read_text() == "{}"
    assert not find_data("oz/nosuch.json").exists()


def test_hashes_cover_names_contents_and_order(tmp_path):
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text("x")
    (tmp_path / "two/a").write_text("y")
    (tmp_path / "three/a").rename(tmp_path / "three/b")
    assert len({sha256(tmp_path / name) for name in ("one", "two", "three")}) == 3
    assert sha256(tmp_path / "one") == sha256(tmp_path / "one/a") == hashlib.sha256(b"ax").hexdigest()
    assert sha256_text("a", "b") == hashlib.sha256(b"ab").hexdigest() != sha256_text("b", "a")


def test_a_write_that_is_stopped_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_whole(path, "old")

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    write_whole(path, "new")
    assert path.read_text() == "new" and [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_byte_order_mark_is_left_out_and_other_bytes_are_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf{}\xef\xbb\xbf")
    assert read_text(tmp_path / "a") == "{}\ufeff" and read_text(str(tmp_path / "a")) == "{}\ufeff"
    (tmp_path / "b").write_bytes(b"\xe9")
    with pytest.raises(UnicodeDecodeError):
        read_text(tmp_path / "b")


def test_every_module_reads_text_here():
    """So that no input is refused for its byte-order mark, and none is read in the encoding of the machine."""
    found = {
        path.name
        for path in Path(jaxunlearn.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "read_text"
    }
    assert found == {"files.py"}


WITH_JSON = {  # who else may import json, and what for; none of them reads a file
    "files.py": "the reader and the writer of all others",
    "parallel/processes.py": "messages between the processes of one run",
    "llm/replies.py": "objects that stand somewhere in the text of a reply",
    "anchors/auditing/reading.py": "the places of terms in a text that parse_json took",
    "data/chat.py": "the filter `tojson` of chat templates",
}


def test_every_module_reads_and_writes_json_here():
    """So that a file cut short, nested, with NaN or half a character is one sentence wherever it is read."""
    package, found = Path(jaxunlearn.__file__).parent, set()
    for path in package.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        named = {a.name.split(".")[0] for n in nodes if isinstance(n, ast.Import) for a in n.names}
        named |= {(n.module or "").split(".")[0] for n in nodes if isinstance(n, ast.ImportFrom)}
        found |= {path.relative_to(package).as_posix()} if named & {"json", "simplejson", "orjson", "ujson"} else set()
    assert found == WITH_JSON.keys()


def test_every_text_of_a_value_is_composed():
    assert nfc({"Zoe\u0308": ["e\u0301", ("a", 1)], "n": None}) == {"Zo\u00eb": ["\u00e9", ("a", 1)], "n": None}


def test_the_cache_lies_where_the_user_keeps_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "jaxunlearn"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "jaxunlearn"


def test_markdown_text_holds_neither_html_nor_new_lines_nor_cells():
    assert markdown_text("<script>x</script>|a\n# b & c") == "&lt;script&gt;x&lt;/script&gt;\\|a # b &amp; c"
    assert markdown_text(3) == "3"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"a": 1', "is not valid JSON: line 1, column 8: Expecting ',' delimiter"),
        (b"", "is not valid JSON: line 1, column 1: Expecting value"),
        (b"\xff", "is not valid JSON: byte 0 is not UTF-8"),
        (b'"\\uD83D"', "half of a surrogate pair"),
        (b'{"\\udc00": 1}', "half of a surrogate pair"),
        (b"[" * 101 + b"]" * 101, "nested deeper than 100 levels"),
        (b"[" * 200_000 + b"]" * 200_000, "nested deeper than 100 levels"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "nested deeper than 100 levels"),
        (b"[NaN]", "it holds NaN, which is no number of JSON"),
        (b"-Infinity", "it holds -Infinity"),
        (b"1e999", "it holds 1e999"),
        (b"1" * 5_000, "is not valid JSON: Exceeds the limit"),
        (b"[1]", "holds a list, expected a JSON object"),
        (b"null", "holds a NoneType, expected a JSON object"),
    ],
)
def test_bad_json_is_refused_with_its_file_and_one_sentence(tmp_path, content, said):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError) as error:
        read_json(tmp_path / "a.json", dict)
    assert str(error.value).startswith(f"{tmp_path}/a.json ") and said in str(error.value)
    assert "\n" not in str(error.value)


def test_json_that_cannot_be_read_is_an_input_error_as_well(tmp_path):
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(JSON_BYTES + 1)
    for name, said in (("large.json", "67,108,865 bytes"), ("none.json", "No such file"), ("", "Is a directory"),
                       ("n" * 300, "File name too long")):  # fmt: skip
        with pytest.raises(InputError, match=said):
            read_json(tmp_path / name)


def test_json_that_is_whole_comes_back_as_it_is(tmp_path):
    (tmp_path / "a").write_bytes(b'\xef\xbb\xbf{"a": [1, 2.5e3, "\\ud83d\\ude00", "\\\\ud83d"]}')
    assert read_json(tmp_path / "a", dict) == {"a": [1, 2500.0, "😀", "\\ud83d"]}
    deep = "[" * 100 + "]" * 100
    assert json_text(parse_json(deep, "here")) == deep
    assert parse_json('{"a": 1, "a": 2}', "here", list, pairs=list) == [("a", 1), ("a", 2)]


def test_no_number_is_written_that_json_does_not_have():
    for value, place in ((float("nan"), "the value = nan"), ({"a": [0.5, {"b": -float("inf")}]}, "a.1.b = -inf")):
        with pytest.raises(RunError, match=place):
            json_text(value)
    assert json_text({"b": 0.5, "a": "é"}, sort_keys=True, ensure_ascii=False) == '{"a": "é", "b": 0.5}'
    for form in ({}, {"ensure_ascii": False}):
        text = json_text({"a\ud83d": ["\ude00", "😀"]}, **form)
        assert parse_json(text, "here") == {"a?": ["?", "😀"]} and text.encode()
    assert finite({"a": (float("nan"), 1.0), "b": [float("inf"), None, "x"]}) == {
        "a": [None, 1.0],
        "b": [None, None, "x"],
    }


def test_a_user_without_a_home_has_a_cache_folder_that_no_other_user_can_fill(tmp_path, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mine = cache_folder()
    assert mine.parent == tmp_path and mine.stat().st_mode & 0o777 == 0o700 and cache_folder() == mine
    mine.chmod(0o777)
    other = cache_folder()
    assert other != mine and other.stat().st_mode & 0o777 == 0o700


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text("old")
    monkeypatch.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "a.json", "new")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"] and (tmp_path / "a.json").read_text() == "old"


def test_files_that_a_library_writes_for_its_owner_alone_get_the_rights_that_umask_leaves(tmp_path):
    from safetensors.numpy import save_file

    before = os.umask(0o027)
    try:
        save_file({"a": np.zeros(2)}, tmp_path / "a.safetensors")
        shared(tmp_path / "a.safetensors")
        write_whole(tmp_path / "b.json", "{}")
    finally:
        os.umask(before)
    assert {p.name: p.stat().st_mode & 0o777 for p in tmp_path.iterdir()} == {"a.safetensors": 0o640, "b.json": 0o640}
    for path in (ROOT / "jaxunlearn").rglob("*.py"):
        text = path.read_text()
        saved = text.count(" save_file(")
        assert not saved or text.count(" shared(") == saved, f"{path} saves tensors with rights of 0600"
