"""The built-in universe as a whole: its size, its bytes, its held-out documents."""

import pytest

from jaxunlearn.data import universe
from jaxunlearn.errors import InputError


def tokens(backend, texts):
    return [encoding.ids for encoding in backend.encode_batch(texts, add_special_tokens=False)]


def test_sizes(world, backend):
    general_tokens = sum(map(len, tokens(backend, world.general)))
    saga_tokens = sum(map(len, tokens(backend, world.saga)))
    assert 400_000 < general_tokens < 460_000
    assert 70_000 < saga_tokens < 80_000
    assert 700 < backend.get_vocab_size() < 1000
    for held in (world.general_held, world.saga_held):
        assert 5_000 < sum(map(len, tokens(backend, held))) < 8_000


def test_the_same_seed_writes_the_same_bytes_and_another_seed_does_not(tmp_path):
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        universe.write(universe.build(seed=seed, people=2000), tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) == 10
    one, two, other = ([(tmp_path / name / file).read_bytes() for file in files] for name in ("one", "two", "other"))
    assert one == two
    assert not set(one[:-1]) & set(other[:-1])  # all but tokenizer_config.json


def test_held_out_documents_are_not_trained_on(world):
    assert not set(world.general_held) & set(world.general)
    assert not set(world.saga_held) & set(world.saga)
    assert universe.unseen(["a", "b", "b"], ["a"]) == ["b"]


def test_too_few_people_are_refused():
    with pytest.raises(InputError, match="people=10 is too few"):
        universe.build(people=10)
