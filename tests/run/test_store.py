"""What a measurement depends on, and which stored labels a variant learns."""

import dataclasses

import pytest

from jaxunlearn.config import Config, Eval, override
from jaxunlearn.run.store import measured_by, stored_parts
from jaxunlearn.run.variants import variants


def test_when_a_model_is_measured_changes_no_measurement():
    e = Eval()
    elsewhere = dataclasses.replace(e, every=7, at=(3,), relearn_steps=(0, 9))
    assert measured_by(e) == measured_by(elsewhere)
    assert measured_by(e) != measured_by(dataclasses.replace(e, temperature=0.5))


def test_a_setting_that_came_later_is_in_the_key_only_where_it_is_set():
    assert "chat" not in measured_by(Eval()) and measured_by(Eval(chat=True))["chat"] is True
    assert measured_by(Eval(context=512))["context"] == 512


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ([], ("labels",)),
        (["whp.mode=fused"], ()),
        (["whp.labels=soft"], ()),
        (["whp.labels=soft", "whp.top=4"], ("soft",)),
        (["unlearn.method=npo"], ()),
    ],
)
def test_stored_labels_are_those_that_the_method_reads(changes, parts):
    assert stored_parts(variants(override(Config(name="x"), changes))[0]) == parts
