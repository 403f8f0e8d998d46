"""Rules 2 and 7 of resuming: what binds a configuration, and what an unfinished label pass goes on with."""

import json

import numpy as np
import pytest

from jaxunlearn import sealed
from jaxunlearn.config import Whp, as_dict
from jaxunlearn.errors import InputError
from jaxunlearn.run.resume import LABELLED_BY, labels_begun, labels_done, refuse_another_configuration, row_hashes


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
    refuse_another_configuration({"text": {"prompts": "a"}}, {"text": {"prompts": "b"}}, lambda name: True, tmp_path)
    refuse_another_configuration({"eval": {"b": 1}}, {"eval": {"b": 2}}, lambda name: True, tmp_path)


@pytest.mark.parametrize("changed", [None, "alphas", *LABELLED_BY])
def test_a_label_pass_goes_on_with_the_same_models_texts_and_settings_alone(tmp_path, changed):
    assert set(LABELLED_BY) == {"shape", "whp", "baseline", "reinforced", "diluted", "inputs"}
    provenance = dict.fromkeys(("alphas", *LABELLED_BY), "as it was")
    (tmp_path / "provenance.json").write_text(
        str(provenance | {"blocks_done": 7}).replace("'", '"')  # JSON, for there are texts and a number alone
    )
    now = provenance | ({changed: "another"} if changed else {})
    file = tmp_path / "alpha_5.npy"
    assert labels_begun(tmp_path, now, {file: np.int32}, (8, 4)) == (0 if changed else 7)
    assert file.exists() == bool(changed)


MADE_OF = {name: name for name in LABELLED_BY} | {"whp": as_dict(Whp()), "inputs": {"text.forget": "f"}}


def finished(folder):
    """Write labels of two blocks as a finished pass leaves them."""
    np.save(folder / "alpha_5.npy", np.arange(8, dtype=np.int32).reshape(2, 4))
    (folder / "provenance.json").write_text(json.dumps(MADE_OF | {"alphas": [5.0], "complete": True}))
    sealed.seal(folder)


def test_finished_labels_hold_for_their_alphas_and_what_they_were_made_of(tmp_path, capsys):
    finished(tmp_path)
    assert labels_done(tmp_path, [5.0], MADE_OF) and not labels_done(tmp_path, [5.0, 0.0], MADE_OF)
    later = MADE_OF["inputs"] | {"text.prompts": "new", "model/config.json": "recorded since"}
    assert labels_done(tmp_path, [5.0], MADE_OF | {"inputs": later, "whp": as_dict(Whp(mode="fused"))})
    assert not capsys.readouterr().err
    for name in LABELLED_BY:
        stale = {"whp": as_dict(Whp(repeat="keep")), "inputs": {"text.forget": "g"}}.get(name, "another")
        assert not labels_done(tmp_path, [5.0], MADE_OF | {name: stale})
        assert f"are made again: {name} changed since they were made" in capsys.readouterr().err


def test_damaged_labels_are_made_again_and_that_is_said(tmp_path, capsys):
    finished(tmp_path)
    path = tmp_path / "alpha_5.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert not labels_done(tmp_path, [5.0], MADE_OF)
    assert f"{path} is not what was saved there" in capsys.readouterr().err


def test_an_unfinished_pass_goes_on_only_over_rows_that_are_as_they_were_written(tmp_path, capsys):
    file, now = tmp_path / "alpha_5.npy", MADE_OF | {"alphas": [5.0]}
    assert labels_begun(tmp_path, now, {file: np.int32}, (4, 3)) == 0
    array = np.lib.format.open_memmap(file, "r+")
    array[:2] = 7
    array.flush()
    rows = {name: found.hexdigest() for name, found in row_hashes([file], 2).items()}
    (tmp_path / "provenance.json").write_text(json.dumps(sealed.sealed(now | {"blocks_done": 2, "rows": rows})))
    assert labels_begun(tmp_path, now, {file: np.int32}, (4, 3)) == 2
    array[3] = 9  # a row that is not done yet
    array.flush()
    assert labels_begun(tmp_path, now, {file: np.int32}, (4, 3)) == 2
    array[1, 1] = 8
    array.flush()
    assert labels_begun(tmp_path, now, {file: np.int32}, (4, 3)) == 0
    assert "are damaged: they are made again" in capsys.readouterr().err
