"""One universe for all tests of it."""

import pytest
import tokenizers

from jaxunlearn.data import universe


@pytest.fixture(scope="session")
def world():
    return universe.build()


@pytest.fixture(scope="session")
def written(world, tmp_path_factory):
    directory = tmp_path_factory.mktemp("universe")
    universe.write(world, directory)
    return directory


@pytest.fixture(scope="session")
def backend(written):
    return tokenizers.Tokenizer.from_file(str(written / "tokenizer" / "tokenizer.json"))
