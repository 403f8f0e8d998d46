"""Two small tokenizers, and texts translated with them."""

import pytest

from jaxunlearn.anchors.translate import translate
from jaxunlearn.data.blocks import make_blocks
from jaxunlearn.data.documents import Document
from jaxunlearn.data.tokenizer import load_tokenizer
from support.tokenizers import begin_with, save_bpe

PAPER = "Harry went up to him and said, Hi, my name is Harry"


def cells(line):
    return line.split("|")


WORDS = cells(
    "Harry|Jon|Smith|Ron|Potter|Bill|Al|Dee|Tin|Woodman|Iron|Lumber|Jack|one|two|three|four|five|six|came|home|went|up"
    "|to|him|and|said|Hi|my|name|is|a"
)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """One token a word, the space before it included: " Harry" and "Harry" differ."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    pieces = ["<unk>", "<s>", "</s>", "\n", ",", ".", " ", *WORDS, *(" " + word for word in WORDS)]
    backend = Tokenizer(models.WordLevel(vocab={piece: i for i, piece in enumerate(pieces)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?\w+|[^\w]"), "isolated")
    directory = tmp_path_factory.mktemp("words")
    begin_with(backend)
    backend.save(str(directory / "tokenizer.json"))
    (directory / "config.json").write_text('{"bos_token_id": 1, "eos_token_id": 2}')
    return load_tokenizer(directory)


@pytest.fixture(scope="module")
def merging(tmp_path_factory):
    """One token a letter, but "y and " is one token, and what is not a plain letter is bytes."""
    directory = tmp_path_factory.mktemp("merging")
    merges = [("a", "n"), ("an", "d"), ("y", " "), ("y ", "and"), ("y and", " ")]
    save_bpe(directory, "abcdefghijklmnopqrstuvwxyzABHJRTZ \n", merges)
    return load_tokenizer(directory)


def run(tokenizer, text, dictionary, context=16, block_bos="every", **switches):
    documents = [Document(name="d", text=t) for t in ([text] if isinstance(text, str) else text)]
    blocks = make_blocks(documents, tokenizer, context, block_bos)
    return blocks, translate(blocks, documents, tokenizer, dictionary, **switches)
