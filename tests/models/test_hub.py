"""What is a local directory, what is a name on the hub, and what a failed download says."""

from pathlib import Path

import pytest
from huggingface_hub.utils import filter_repo_objects

from jaxunlearn.errors import InputError
from jaxunlearn.models.hub import find_model


def test_only_a_name_of_two_parts_that_is_not_here_is_asked_of_the_hub(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: asked.append(name) or str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "here").mkdir(parents=True)
    for name in ("owner/here", "a/b/c", "model", "./owner/name", "/owner/name", "~/name"):
        assert find_model(name) == Path(name)
    assert not asked and find_model("owner/name") == tmp_path and asked == ["owner/name"]


def test_weights_and_tokenizer_files_are_fetched_once_and_no_code(monkeypatch):
    found = {}
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **given: found.update(given) or "there")
    find_model("owner/name")
    files = [
        "config.json", "model-00001-of-00002.safetensors", "model.safetensors.index.json", "tokenizer.model",
        "chat_template.jinja", "modeling.py", "pytorch_model.bin", "consolidated.safetensors",
        "consolidated.00.pth", "original/params.json", "original/tokenizer.model", "original/model.safetensors",
    ]  # fmt: skip
    assert list(filter_repo_objects(files, **found)) == files[:5]


def test_a_failed_download_says_so_in_one_line(monkeypatch):
    def fail(name, **_):
        raise OSError("no such name\nand a long story")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(InputError) as error:
        find_model("owner/name")
    assert str(error.value) == ("owner/name is no local directory and could not be fetched from the hub (no such name)")


def test_names_that_no_file_can_have_are_refused_shortly():
    for name in ("n" * 5000, "a/" + "n" * 300, "a\0b", "é" * 200):
        with pytest.raises(InputError, match="is no name of a model") as error:
            find_model(name)
        assert len(str(error.value)) < 200 and str(error.value).isascii()
