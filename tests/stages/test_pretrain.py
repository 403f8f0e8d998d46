"""The baseline of a run that teaches nothing; the rest of the stage is tested by whole runs (test_stages.py)."""

from types import SimpleNamespace

from jaxunlearn.stages.pretrain import pretrain


class Run:
    """A run that has a model and no text to keep."""

    def __init__(self, path):
        self.path = path
        self.config = SimpleNamespace(pretrain=SimpleNamespace(steps=0), model=str(path / "given"))
        self.folder = SimpleNamespace(has=lambda name: (path / name).exists())

    def __truediv__(self, name):
        return self.path / name

    def training(self, name):
        raise AssertionError(f"no block of the text to {name} is needed")


def test_a_given_model_needs_no_text_to_keep(tmp_path):
    (tmp_path / "given").mkdir()
    for _ in range(2):
        pretrain(Run(tmp_path))
    assert (tmp_path / "baseline").resolve() == tmp_path / "given"
