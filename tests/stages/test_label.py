"""What the label pass says of its labels."""

from types import SimpleNamespace

import numpy as np
import pytest

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
