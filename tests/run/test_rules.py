"""Rules 2 and 7 of resuming: what binds a configuration, and what an unfinished label pass goes on with."""

import numpy as np
import pytest

from jaxunlearn.errors import InputError
from jaxunlearn.run.resume import LABELLED_BY, labels_begun, refuse_another_configuration


@pytest.mark.parametrize(
    ("section", "made"),
    [("whp", "labels"), ("unlearn", "unlearned"), ("reinforce", "reinforced"), ("reset", "unlearned"), ("text", None)],
)
def test_a_section_may_change_until_a_result_depends_on_it(tmp_path, section, made):
    before, now = {section: {"a": 1}, "eval": {"b": 1}}, {section: {"a": 2}, "eval": {"b": 2}}
    with pytest.raises(InputError, match=f"{section}.a: 1 -> 2"):
        refuse_another_configuration(before, now, lambda name: name == made, tmp_path)
    if made:
        refuse_another_configuration(before, now, lambda name: False, tmp_path)
    refuse_another_configuration({"eval": {"b": 1}}, {"eval": {"b": 2}}, lambda name: True, tmp_path)


@pytest.mark.parametrize("changed", [None, *LABELLED_BY])
def test_a_label_pass_goes_on_with_the_same_models_texts_and_settings_alone(tmp_path, changed):
    assert set(LABELLED_BY) == {"alphas", "shape", "whp", "baseline", "reinforced", "inputs"}
    provenance = dict.fromkeys(("alphas", "shape", "whp", "baseline", "reinforced", "inputs"), "as it was")
    (tmp_path / "provenance.json").write_text(
        str(provenance | {"blocks_done": 7}).replace("'", '"')  # JSON, for there are texts and a number alone
    )
    now = provenance | ({changed: "another"} if changed else {})
    file = tmp_path / "alpha_5.npy"
    assert labels_begun(tmp_path, now, {file: np.int32}, (8, 4)) == (0 if changed else 7)
    assert file.exists() == bool(changed)
