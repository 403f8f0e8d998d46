"""Whose settings labels follow, and what the label pass says of them."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from jaxunlearn.cli import main
from jaxunlearn.stages.label import own_shares, told

# the text: 20, then the term "20 21", 6, the term "30", 7; translated: 20, 50, 6, 60, 7
TOKENS = np.array([[20, 20, 21, 6, 30, 7]], np.int32)
BLOCKS = SimpleNamespace(tokens_NT=TOKENS, valid_NT=np.ones_like(TOKENS, bool), asks_NT=np.zeros_like(TOKENS, bool))
TRANSLATED = SimpleNamespace(
    tokens_NS=np.array([[20, 50, 6, 60, 7]], np.int32), map_NT=np.array([[0, -1, 1, 2, 3, 4]], np.int32)
)


@pytest.mark.parametrize(
    ("labels", "changed", "named"),
    [
        ([50, -100, 6, 60, 7, -100], 0.5, 0.0),  # both terms are replaced
        ([20, -100, 6, 60, 7, -100], 0.25, 0.5),
        ([20, -100, 6, 30, 8, -100], 0.25, 1.0),
    ],
)
def test_labels_that_name_a_term_of_the_text_are_counted(labels, changed, named):
    shares = own_shares(np.array([labels], np.int32), BLOCKS, TRANSLATED)
    assert shares == {"changed_share": changed, "named_share": named}


def test_a_text_without_terms_has_no_such_share_and_no_label_none():
    plain = SimpleNamespace(tokens_NS=TOKENS, map_NT=np.arange(6)[None])
    labels = np.array([[20, 21, 6, 30, 7, -100]], np.int32)
    assert own_shares(labels, BLOCKS, plain) == {"changed_share": 0.0}
    assert own_shares(np.full_like(labels, -100), BLOCKS, plain) == {}


def test_what_is_known_by_heart_is_told():
    few, many = ({"changed_share": 0.5, "named_share": share} for share in (0.05, 0.35))
    plain = "alpha 5: 50% of the labels differ from the text; before its terms 5% still name them"
    assert told(few, 5.0, "contrast") == plain
    too_little = "35% still name them; too little is lowered, as where the text is known by heart: raise whp.alpha"
    assert told(many, 5.0, "contrast").endswith(too_little + ", or set whp.offset=baseline")
    assert told(many, 5.0, "baseline").endswith(too_little)
    assert told(many, 0.0, "contrast").endswith("35% still name them")  # a control, of which nothing else is wanted
    assert told({"changed_share": 0.5}, 2.5, "contrast") == "alpha 2.5: 50% of the labels differ from the text"


def test_the_control_of_the_papers_labels_has_them_whatever_the_method_deviates_in(world, tmp_path):
    def labelled(name, folder, *settings):
        run = tmp_path / name
        for model in ("baseline", "reinforced", "diluted"):
            if (tmp_path / "paper" / model).is_dir():
                shutil.copytree(tmp_path / "paper" / model, run / model)
        assert main(["label", "-q", str(world / "world.py"), f"run.dir={run}", *settings]) == 0
        return np.load(run / "labels" / folder / "alpha_5.npy")

    deviating = ("whp.offset=contrast", "whp.forbid=keys", "whp.seen_from=at")
    papers = labelled("paper", "translated", "controls=", "whp.alpha=5")
    plus = ("unlearn.method=whp_plus", "whp.alpha=5", *deviating)
    assert np.array_equal(labelled("plus", "translated_hard_labels", *plus, "controls=hard_labels"), papers)
    assert [p.name for p in (tmp_path / "plus" / "labels").iterdir()] == ["translated_hard_labels"]
    own = labelled("own", "translated", "controls=hard_labels", "whp.alpha=5", *deviating)
    assert np.array_equal(np.load(tmp_path / "own/labels/translated_hard_labels/alpha_5.npy"), papers)
    assert not np.array_equal(own, papers)
