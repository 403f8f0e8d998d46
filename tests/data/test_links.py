"""Files of a model directory are files that lie in it, or blobs of the same cache."""

import os

import pytest

from jaxunlearn.data.links import inside, refuse_links
from jaxunlearn.errors import InputError


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "secret").write_text("{}")
    (tmp_path / "model" / "config.json").write_text("{}")
    return tmp_path / "model"


@pytest.mark.parametrize("to", ["../secret", "{top}/secret", "nowhere", "tokenizer.json", "/dev/null"])
@pytest.mark.parametrize("name", ["tokenizer.json", "chat_template.jinja"])
def test_a_link_that_leaves_the_directory_is_refused(model, tmp_path, to, name):
    refuse_links(model)
    (model / name).symlink_to(to.format(top=tmp_path))
    with pytest.raises(InputError, match=name):
        refuse_links(model)
    with pytest.raises(InputError, match=name):
        inside(model, name)


def test_a_link_through_a_folder_is_refused_as_well(model, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.jinja").write_text("")
    (model / "additional_chat_templates").symlink_to("../elsewhere", target_is_directory=True)
    with pytest.raises(InputError, match="outside of the model's directory"):
        refuse_links(model)


def test_links_within_the_directory_and_links_to_it_are_taken(model, tmp_path):
    (model / "tokenizer.json").symlink_to("config.json")
    (tmp_path / "baseline").symlink_to(model, target_is_directory=True)
    for folder in (model, tmp_path / "baseline"):
        refuse_links(folder)
        assert inside(folder, "tokenizer.json").is_file() and not inside(folder, "none.json").exists()


def test_snapshots_of_a_hub_cache_may_link_to_their_blobs_alone(tmp_path):
    for name in ("models--a--b", "models--c--d"):
        (tmp_path / name / "blobs").mkdir(parents=True)
        (tmp_path / name / "blobs" / "0f").write_text("{}")
    snapshot = tmp_path / "models--a--b" / "snapshots" / "1"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").symlink_to("../../blobs/0f")
    refuse_links(snapshot)
    (snapshot / "a.json").symlink_to("../../../models--c--d/blobs/0f")
    with pytest.raises(InputError, match=r"a\.json"):
        refuse_links(snapshot)
    (snapshot / "a.json").unlink()
    (tmp_path / "secret").write_text("{}")
    (tmp_path / "models--a--b" / "blobs" / "0f").unlink()
    (tmp_path / "models--a--b" / "blobs" / "0f").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match=r"config\.json"):
        refuse_links(snapshot)


@pytest.mark.parametrize("name", ["", "..", "../secret", "a/../../secret", "/etc/passwd", "a/b/c", "a\0b", "n" * 300])
def test_names_that_lead_elsewhere_are_refused(model, name):
    with pytest.raises(InputError):
        inside(model, name)


def test_what_is_no_file_is_refused_without_being_opened(model):
    os.mkfifo(model / "tokenizer.json")
    (model / "x.json").mkdir()
    for name in ("tokenizer.json", "x.json"):
        with pytest.raises(InputError, match="is not a file"):
            inside(model, name)
