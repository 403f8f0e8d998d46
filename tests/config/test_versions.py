"""Versions of libraries, and the commit of a checkout."""

import shutil
import subprocess
from importlib.metadata import PackageNotFoundError

import pytest

from jaxunlearn.config import versions

needs_git = pytest.mark.skipif(not shutil.which("git"), reason="needs git")


def test_a_checkout_that_was_not_installed_says_so(monkeypatch):
    real = versions.version

    def version(name):
        if name == "jaxunlearn":
            raise PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(versions, "version", version)
    found = versions.versions()
    assert found["jaxunlearn"] == "not installed" and found["numpy"] == real("numpy")


def git(folder, *asked):
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", str(folder), *who, *asked], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@needs_git
def test_the_commit_of_a_checkout_and_whether_it_was_changed(tmp_path):
    package = tmp_path / "repo" / "pack"
    package.mkdir(parents=True)
    (package / "a.py").write_text("x = 1\n")
    git(package.parent, "init", "-q")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-q", "-m", "first")
    head = git(package.parent, "rev-parse", "HEAD")
    code = versions.code.__wrapped__
    assert code(package) == {"version": code(package)["version"], "commit": head, "dirty": False}
    (package / "b.py").write_text("x = 1\n")  # untracked: Python could import it, git does not know it
    assert not code(package)["dirty"]
    (package / "a.py").write_text("x = 2\n")
    assert code(package)["dirty"] and code(package)["commit"] == head


@needs_git
def test_somebody_elses_repository_is_not_taken_for_the_packages(tmp_path, monkeypatch):
    installed = tmp_path / "theirs" / ".venv" / "site-packages" / "pack"
    installed.mkdir(parents=True)
    (installed / "a.py").write_text("")  # which they keep in their repository, too
    git(tmp_path / "theirs", "init", "-q")
    git(tmp_path / "theirs", "add", ".")
    git(tmp_path / "theirs", "commit", "-q", "-m", "first")
    code = versions.code.__wrapped__
    assert "commit" not in code(installed)
    beside = tmp_path / "theirs" / "pack"  # a copy in its top folder that it does not track
    beside.mkdir()
    assert "commit" not in code(beside)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code(beside) == {"version": versions.version_of("jaxunlearn")}  # without git
