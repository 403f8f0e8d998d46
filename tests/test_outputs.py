"""What a command overwrites: its own files, unchanged, and nothing else unless it is told; locks."""

import errno
import fcntl
import json
import os

import pytest

from jaxunlearn import outputs
from jaxunlearn.errors import InputError


def write(folder, text="new", names=("a.json", "b.txt")):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(text)


def test_a_command_overwrites_its_own_files_and_no_others(tmp_path):
    out = tmp_path / "out"
    for text in ("one", "two"):
        with outputs.taken(out, ["a.json", "b.txt"], by="x"):
            write(out, text)
    assert set(json.loads((out / outputs.LEDGER).read_text())["x"]) == {"a.json", "b.txt"}
    for by, spoil in (("y", lambda: None), ("x", lambda: (out / "a.json").write_text("edited"))):
        spoil()
        with pytest.raises(InputError, match=rf"holds a\.json.*, which `jaxunlearn {by}` did not write"):
            with outputs.taken(out, ["a.json", "b.txt", "c"], by=by):
                write(out)
        assert (out / "b.txt").read_text() == "two"
    with outputs.taken(out, ["a.json"], by="x", force=True):
        write(out, names=["a.json"])
    outputs.refuse_foreign(out, ["a.json", "b.txt"], by="x")  # told once, it is the command's own


def test_links_folders_and_damaged_ledgers_are_not_a_commands_own(tmp_path):
    write(tmp_path / "out")
    outputs.note(tmp_path / "out", ["a.json", "b.txt"], by="x")
    (tmp_path / "out" / "a.json").rename(tmp_path / "kept")
    (tmp_path / "out" / "a.json").symlink_to(tmp_path / "kept")
    with pytest.raises(InputError, match=r"a\.json"):
        outputs.refuse_foreign(tmp_path / "out", ["a.json"], by="x")
    for text in ("", "[1]", '{"x": 3}', "[" * 100_000):
        (tmp_path / "out" / outputs.LEDGER).write_text(text)
        with pytest.raises(InputError, match=r"b\.txt"):
            outputs.refuse_foreign(tmp_path / "out", ["b.txt"], by="x")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="dangling"):
        outputs.refuse_foreign(tmp_path, ["dangling"], by="x")
    with pytest.raises(InputError, match="is a file; give a folder"):
        outputs.refuse_foreign(tmp_path / "kept", [], by="x")


def test_an_edit_of_either_end_of_a_large_file_shows(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "EDGE", 4)
    for text in ("Xbcdefghij", "abcdefghiX", "abcdefghijk"):
        (tmp_path / "f").write_text("abcdefghij")
        outputs.note(tmp_path, ["f"], by="x")
        outputs.refuse_foreign(tmp_path, ["f"], by="x")
        (tmp_path / "f").write_text(text)
        with pytest.raises(InputError):
            outputs.refuse_foreign(tmp_path, ["f"], by="x")


def test_a_folder_is_replaced_where_all_in_it_is_the_commands_own(tmp_path):
    out = tmp_path / "out"
    write(tmp_path / "made", "one")
    outputs.refuse_full(out, by="x")
    outputs.replace_folder(tmp_path / "made", out, by="x")
    outputs.note(out, ["a.json", "b.txt"], by="x")
    outputs.refuse_full(out, by="x")
    write(tmp_path / "made", "two", ["a.json"])
    outputs.replace_folder(tmp_path / "made", out, by="x")
    outputs.note(out, ["a.json"], by="x")
    assert [p.name for p in out.iterdir() if p.name != outputs.LEDGER] == ["a.json"]
    (out / "notes.txt").write_text("mine")
    (out / "model-00001-of-00002.safetensors").write_text("old")
    with pytest.raises(InputError, match=r"holds model-00001-of-00002.safetensors, notes.txt, which `jaxunlearn x`"):
        outputs.refuse_full(out, by="x")
    write(tmp_path / "made", "three")
    outputs.replace_folder(tmp_path / "made", out, by="x")  # as --force does
    assert sorted(p.name for p in out.iterdir() if p.name != outputs.LEDGER) == ["a.json", "b.txt", "notes.txt"]
    assert (out / "a.json").read_text() == "three" and (out / "notes.txt").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_a_folder_around_a_model_is_refused_by_any_link(tmp_path):
    model = tmp_path / "run" / "model"
    model.mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "run")
    for folder, said in ((model, "itself"), (tmp_path / "link", "around"), (tmp_path, "around")):
        with pytest.raises(InputError, match=said):
            outputs.refuse_around(folder, [model])
    outputs.refuse_around(model / "new", [model])
    outputs.refuse_around(tmp_path / "run" / "new", [model])


def test_a_folder_that_refuses_is_bad_input_and_a_full_disk_is_a_failure_after_which_the_command_goes_on(tmp_path):
    with pytest.raises(InputError, match=r"a\.json cannot be written: Read-only file system"):
        with outputs.taken(tmp_path, ["a.json"], by="x"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / "a.json"))
    with pytest.raises(FileNotFoundError):  # of another place: not the folder's fault
        with outputs.taken(tmp_path, ["a.json"], by="x"):
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), "elsewhere")
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            with outputs.taken(tmp_path, ["a.json", "b.json"], by="x"):
                (tmp_path / "a.json").write_text("first")
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "b.json"))


def test_files_below_a_folder_are_a_commands_own_too(tmp_path):
    out, names = tmp_path / "out", ["a.json", "additional_chat_templates/tool.jinja"]
    for text in ("one", "two"):
        (tmp_path / "made" / "additional_chat_templates").mkdir(parents=True)
        for name in names:
            (tmp_path / "made" / name).write_text(text)
        outputs.refuse_full(out, by="x")
        outputs.replace_folder(tmp_path / "made", out, by="x")
        outputs.note(out, names, by="x")
    (out / "additional_chat_templates" / "mine.jinja").write_text("mine")
    with pytest.raises(InputError, match=r"holds additional_chat_templates/mine\.jinja"):
        outputs.refuse_full(out, by="x")
    (tmp_path / "made" / "additional_chat_templates").mkdir(parents=True)
    for name in names:
        (tmp_path / "made" / name).write_text("three")
    outputs.replace_folder(tmp_path / "made", out, by="x")  # as --force does
    assert all((out / name).read_text() == "three" for name in names)
    assert (out / "additional_chat_templates" / "mine.jinja").read_text() == "mine"


def test_a_lock_is_free_again_when_nobody_holds_it_and_follows_its_name(tmp_path):
    path = tmp_path / "lock"
    mine = outputs.lock(path, "it")
    assert outputs.lock(path, "it") is mine
    with path.open() as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        del mine
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(InputError, match=rf"it is in use by process {os.getpid()} on "):
            outputs.lock(path, "it", patience=0)
        path.write_text("")  # a holder that has not yet said who it is
        with pytest.raises(InputError, match="in use by another process"):
            outputs.lock(path, "it", patience=0)
        path.unlink()
        assert outputs.lock(path, "it", patience=0)  # that file has lost its name, and locks nothing


def test_a_file_system_without_locks_locks_nothing(tmp_path, monkeypatch):
    def none(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    assert outputs.lock(tmp_path / "lock", "it")
