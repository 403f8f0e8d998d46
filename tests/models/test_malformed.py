"""Whatever is wrong with a model directory: exit code 2, one message, no traceback, bounded memory."""

import resource
import shutil
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.malformed import faults, spm
from support.model_files import tiny, write_model

from jaxunlearn.cli import main
from jaxunlearn.data.tokenizer import has_tokenizer, load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.models.directory import INDEX, check_model, check_numbers

SECONDS, MEMORY = 20.0, 1 << 29  # of one case; of all, in bytes


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The files of a whole directory, as bytes."""
    folder = write_model(tmp_path_factory.mktemp("good") / "m")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    where = ", ".join(f'"{name}": "model.safetensors"' for name in tiny())
    return files | {INDEX: f'{{"weight_map": {{{where}}}}}'.encode()}


def tried(folder, files):
    """Read a model directory as every command does; return what is said of it, "" where nothing is wrong."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        if content is not None:
            (folder / name).write_bytes(content)
    try:
        shape = check_model(folder)
        if has_tokenizer(folder):
            tokenizer = load_tokenizer(folder)
            ids, ends = tokenizer.encode("a b é 😀 </s>\n")
            assert len(ids) == len(ends) and all(0 <= i < shape.V for i in ids)
            tokenizer.decode(ids)
        check_numbers(folder, shape)
    except InputError as error:
        return str(error)
    return ""


def holds(folder, good, wrong, capsys):
    began = time.monotonic()
    said = tried(folder, good | wrong)
    assert time.monotonic() - began < SECONDS
    if said:
        assert (20 < len(said) < 6000 and str(folder) in said) or "holds" in said
        capsys.readouterr()
        (folder / "a.txt").write_text("a b")
        assert main(["score", "--model", str(folder), "--text", str(folder / "a.txt")]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("jaxunlearn: ") and "Traceback" not in err


def many(cases):
    return settings(
        max_examples=cases, derandomize=True, deadline=None, database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip


def grown(before):
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def property_of(cases):
    """Return the test over so many drawn directories."""

    @pytest.mark.filterwarnings("ignore")  # of numpy, on the bytes that a case holds
    def test(good, tmp_path, capsys):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        @many(cases)
        @given(st.data())
        def over(data):
            holds(tmp_path / "m", good, data.draw(faults(good)), capsys)

        over()
        assert grown(before) < MEMORY

    return test


test_a_hundred_malformed_directories_are_one_sentence_each = property_of(100)
test_a_thousand_malformed_directories_are_one_sentence_each = pytest.mark.nightly(property_of(1000))


def test_a_piece_that_is_no_text_is_refused(good, tmp_path):
    """Found by the thousand: the library gives such a piece only when it is asked for."""
    assert b"<unk>" in spm()
    said = tried(
        tmp_path / "m", good | {"tokenizer.json": None, "tokenizer.model": spm().replace(b"<unk>", b"\xbcunk>", 1)}
    )
    assert "tokenizer.model is not a SentencePiece model" in said


def test_the_whole_directory_is_not_refused(good, tmp_path):
    assert tried(tmp_path / "m", good) == ""
