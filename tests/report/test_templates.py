"""The environment of the templates: what is not known is an error, what is written is escaped."""

import pytest
from jinja2 import UndefinedError

from jaxunlearn.report.templates import environment, whole


def test_values_are_escaped_and_an_unknown_name_is_an_error():
    assert environment().from_string("{{ a }}").render(a="<b>") == "&lt;b&gt;"
    with pytest.raises(UndefinedError, match="'b' is undefined"):
        environment().from_string("{{ b }}").render(a=1)


def test_all_pages_are_there():
    assert environment().list_templates(extensions=["j2"]) == [
        "certificate.html.j2",
        "labels.html.j2",
        "report.html.j2",
        "review.html.j2",
        "serve.html.j2",
    ]


def test_a_number_is_not_broken_at_its_exponent():
    assert whole("from 1e-05 to 2e-4, the-one") == "from 1e\u201105 to 2e\u20114, the-one"
