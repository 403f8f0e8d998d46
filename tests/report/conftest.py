"""One page that the tests of its parts share."""

import pytest
from support.reports import made_up, rendered


@pytest.fixture(scope="session")
def html(tmp_path_factory):
    """The page of a whole report."""
    return rendered(made_up(), tmp_path_factory.mktemp("run"))
