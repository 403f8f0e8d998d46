"""Seals: any altered, missing or added file of a folder is named, and any altered value of a JSON object is seen."""

import json
import os

import pytest

from jaxunlearn import sealed
from jaxunlearn.errors import RunError
from jaxunlearn.files import sha256


@pytest.fixture
def folder(tmp_path):
    """A sealed folder with three files, one of them below."""
    model = tmp_path / "model"
    (model / "more").mkdir(parents=True)
    (model / "config.json").write_text('{"rope_theta": 10000.0}')
    (model / "model.safetensors").write_bytes(bytes(range(256)))
    (model / "more" / "tokenizer.json").write_text("{}")
    sealed.seal(model)
    return model


def flip(path, place=None):
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if place is None else place] ^= 1
    path.write_bytes(data)


def test_what_was_saved_passes_and_what_has_no_seal_is_taken_as_it_is(folder, tmp_path):
    sealed.check(folder)
    assert sealed.is_sealed(folder) and not sealed.is_sealed(tmp_path)
    sealed.check(tmp_path)
    (folder / "notes.md").write_text("of a person: no loader reads it")
    sealed.check(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "more/tokenizer.json", sealed.FILE])
@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
def test_the_damaged_file_is_named_with_what_to_do(folder, name, how):
    path = folder / name
    if how == "flipped":
        flip(path)
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    if (name, how) == (sealed.FILE, "gone"):
        return sealed.check(folder)  # a person removed the seal
    if (name, how) == (sealed.FILE, "cut"):
        return sealed.check(folder)  # the line break at the end
    with pytest.raises(RunError, match=rf"{path} .*; put the file back, or delete {folder}"):
        sealed.check(folder)


def test_each_bit_of_the_seal_itself_is_guarded(folder):
    path, whole = folder / sealed.FILE, (folder / sealed.FILE).read_bytes()
    for place in range(len(whole)):
        flip(path, place)
        content = sealed.fault(folder)
        same = path.read_bytes().split() == whole.split()
        assert content or same, place
        path.write_bytes(whole)


def test_a_file_that_was_added_is_named(folder):
    (folder / "added_tokens.json").write_text("{}")
    with pytest.raises(RunError, match=r"added_tokens\.json was added"):
        sealed.check(folder)


def test_files_that_no_loader_reads_may_be_added(folder):
    """A ledger of exports, what a file manager leaves, a folder of another export."""
    for name in (".jaxunlearn.json", "._config.json", ".ipynb_checkpoints/config.json", "hf/config.json", "m.gguf"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("{}")
    sealed.check(folder)
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "x.jinja").write_text("")
    with pytest.raises(RunError, match=r"x\.jinja was added"):
        sealed.check(folder)


def test_a_file_is_read_once_by_whatever_way_it_is_reached(folder, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(sealed, "sha256", lambda path: read.append(path) or "hash")
    monkeypatch.setattr(sealed, "_KNOWN", {})
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    for way in (folder, tmp_path / "link"):
        sealed.digest(way / "model.safetensors")
    folder.rename(folder.with_name("moved"))
    sealed.digest(folder.with_name("moved") / "model.safetensors")
    assert len(read) == 1


def test_a_file_that_changed_with_the_same_size_and_time_is_read_again_in_another_process_alone(folder):
    path = folder / "model.safetensors"
    before = sealed.digest(path)
    assert before == sha256(path)
    stat = path.stat()
    flip(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert sealed.digest(path) != before  # its time of change, which no program sets, is another


def test_every_altered_value_of_a_json_object_is_seen_and_its_form_is_not():
    content = {"key": {"b": 1, "a": [1.5, None]}, "found": {"x": "ü", 3: True}}
    whole = json.loads(json.dumps(sealed.sealed(content)))
    assert sealed.intact(whole) and sealed.intact(json.loads(json.dumps(whole, indent=3, sort_keys=True)))
    assert sealed.plain(whole) == json.loads(json.dumps(content)) and sealed.intact(content)
    assert not sealed.intact(whole | {"key": {"b": 1, "a": [1.25, None]}})
    assert not sealed.intact(whole | {"more": 1}) and not sealed.intact({**whole, sealed.SEAL: "0" * 64})
