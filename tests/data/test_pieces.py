"""What pieces of a vocabulary stand for, put together to the text that they were cut from."""

from support.tokenizers import byte_level_tokenizer, save_bpe, save_sentencepiece
from tokenizers import decoders, pre_tokenizers

from jaxunlearn.data.pieces import byte_alphabet, spelled, spelled_in_bytes
from jaxunlearn.data.tokenizer import load_tokenizer

TEXT = "naïve\n中 🦄\tЗоя"


def test_the_alphabet_of_bytes_is_that_of_transformers():
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    assert byte_alphabet() == {character: byte for byte, character in bytes_to_unicode().items()}


def test_the_bytes_of_byte_level_pieces_are_those_of_the_text(tmp_path):
    byte_level_tokenizer(tmp_path, text=TEXT, size=400)
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.byte_level and b"".join(tokenizer.spelled(tokenizer.encode(TEXT)[0])) == TEXT.encode()
    assert spelled_in_bytes("<｜end▁of▁text｜>") == "<｜end▁of▁text｜>".encode()


def test_the_bytes_of_sentencepiece_are_bytes_and_its_spaces_spaces(tmp_path):
    save_sentencepiece(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    ids_N, _ = tokenizer.encode(TEXT)
    assert b"".join(tokenizer.spelled(ids_N)) == f" {TEXT}".encode() and not tokenizer.byte_level
    assert spelled("<0xC3>") == b"\xc3" and spelled("<0xc3>") == b"<0xc3>" and spelled("▁Ã") == " Ã".encode()


def test_a_tokenizer_is_byte_level_by_its_decoder_or_without_one_by_its_cuts(tmp_path):
    def edit(decoder, cuts):
        return lambda backend: (setattr(backend, "decoder", decoder), setattr(backend, "pre_tokenizer", cuts))

    in_bytes, in_words = pre_tokenizers.ByteLevel(), pre_tokenizers.Metaspace()
    both = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    for decoder, cuts, expected in (
        (decoders.ByteLevel(), None, True), (both, in_bytes, True), (None, in_bytes, True), (None, None, False),
        (None, in_words, False), (decoders.Metaspace(), in_words, False), (decoders.ByteFallback(), None, False),
    ):  # fmt: skip
        save_bpe(tmp_path, "ab", edit=edit(decoder, cuts))
        assert load_tokenizer(tmp_path).byte_level == expected
