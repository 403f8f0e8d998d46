"""Files: shipped data, whole writes, hashes."""

import ast
import hashlib
import os
from pathlib import Path

import pytest

import jaxunlearn
from jaxunlearn.files import cache_folder, find_data, markdown_text, nfc, read_text, sha256, sha256_text, write_whole


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
