"""The tokenizer of the universe: one token a word, and the text comes back."""

from itertools import pairwise

from jaxunlearn.data import universe
from jaxunlearn.data.tokenizer import load_tokenizer


def tokens(backend, texts):
    return [encoding.ids for encoding in backend.encode_batch(texts, add_special_tokens=False)]


def documents(world):
    return [*world.general, *world.saga, *world.general_held, *world.saga_held]


def test_no_unknown_token_and_decoding_gives_the_text_back(world, backend):
    texts = documents(world) + [text.rstrip() for text in universe.texts_of(world.prompts) if text]
    ids = tokens(backend, texts)
    unknown = backend.token_to_id("<unk>")
    assert unknown == 0 and not any(unknown in row for row in ids)
    assert backend.decode_batch(ids) == texts


def test_documents_joined_by_newlines_come_back_too(world, backend):
    text = "\n".join(world.saga[:200]) + "\n\n“I am here,” said Tamsel Orrick's friend.\n"
    encoding = backend.encode(text, add_special_tokens=False)
    assert backend.decode(encoding.ids).lstrip() == text.lstrip()
    assert all(a <= b for (_, a), (b, _) in pairwise(encoding.offsets))


def test_a_word_has_one_token_after_a_space_a_newline_and_a_quote(backend):
    text = "Tamsel and Tamsel's “Tamsel”\nTamsel"
    encoding = backend.encode(text, add_special_tokens=False)
    assert encoding.tokens == ["▁Tamsel", "▁and", "▁Tamsel", "'s", "▁“", "▁Tamsel", "”", "\n", "▁Tamsel"]
    assert [text[a:b].strip() or text[a:b] for a, b in encoding.offsets] == [
        "Tamsel",
        "and",
        "Tamsel",
        "'s",
        "“",
        "Tamsel",
        "”",
        "\n",
        "Tamsel",
    ]
    assert backend.encode(" Tamsel", add_special_tokens=False).tokens == ["▁Tamsel"]


def test_probe_words_are_single_tokens(world, backend):
    kinds = ("probability", "leaks", "track")
    probed = {
        word
        for kind in kinds
        for item in world.prompts[kind]
        for word in (*item.get("specific", ()), *item.get("generic", ()), *item.get("words", ()))
    }
    assert all(len(row) == 1 and row != [0] for row in tokens(backend, sorted(probed)))


def test_the_house_and_transformers_read_the_tokenizer(written):
    import transformers

    text = "“Where do you live?” asked Tamsel Orrick."
    ours = load_tokenizer(written / "tokenizer")
    assert (ours.bos_id, ours.eos_id) == (1, 2)
    ids, ends = ours.encode(text)
    assert ours.decode(ids) == text and ends[-1] == len(text)
    theirs = transformers.AutoTokenizer.from_pretrained(str(written / "tokenizer"))
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.unk_token_id) == (1, 2, 0)
    assert theirs.encode(text) == [1, *ids] and theirs.decode(ids) == text
