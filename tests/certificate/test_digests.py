"""Digests as sha256sum prints them, and its list of files."""

import hashlib
import subprocess

import pytest

from jaxunlearn.certificate.digests import SUMS, files_of, read_sums, sha256_of, write_sums
from jaxunlearn.errors import InputError


def test_a_digest_is_that_of_the_content_alone(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a.bin") == hashlib.sha256(b"abc").hexdigest()


def test_the_files_of_a_model_are_all_but_seals_and_hidden_ones(tmp_path):
    for name in ("model.safetensors", "sealed.json", ".jaxunlearn.json", "deep/x.json", ".git/y"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    found = files_of(tmp_path, "unlearned/")
    assert [f["name"] for f in found] == ["unlearned/deep/x.json", "unlearned/model.safetensors"]
    assert found[1]["digest"] == {"sha256": hashlib.sha256(b"model.safetensors").hexdigest()}
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="nosuch does not exist; give a model's folder"):
        files_of(tmp_path / "nosuch")
    with pytest.raises(InputError, match="empty holds no file"):
        files_of(tmp_path / "empty")


def test_the_list_is_read_by_sha256sum(tmp_path):
    for name in ("a.json", "b c.html"):
        (tmp_path / name).write_text(name)
    write_sums(tmp_path, ["a.json", "b c.html"])
    assert subprocess.run(["sha256sum", "-c", SUMS], cwd=tmp_path, capture_output=True).returncode == 0
    assert read_sums(tmp_path) == {n: hashlib.sha256(n.encode()).hexdigest() for n in ("a.json", "b c.html")}
    (tmp_path / SUMS).write_text("no list")
    with pytest.raises(InputError, match="SHA256SUMS is damaged"):
        read_sums(tmp_path)
    (tmp_path / SUMS).unlink()
    with pytest.raises(InputError, match="is no certificate"):
        read_sums(tmp_path)
