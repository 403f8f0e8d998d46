"""Tokenizers made for a test."""

import json

from jaxunlearn.models.gguf.cuts import CUTS


def begin_with(backend, token="<s>"):
    """Make a tokenizer of the tokenizers library put a token before every text, as Llama's does."""
    from tokenizers import processors

    pair = token, backend.token_to_id(token)
    backend.post_processor = processors.TemplateProcessing(single=f"{token} $A", special_tokens=[pair])


def save_bpe(directory, characters, merges=(), config=None, edit=None, byte_fallback=True):
    """Write a BPE tokenizer.json that knows the characters, the merges and every byte."""
    from tokenizers import AddedToken, Tokenizer, models

    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *dict.fromkeys(characters)]
    pieces += ["".join(pair) for pair in merges]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=list(merges), byte_fallback=byte_fallback, unk_token="<unk>"))
    backend.add_special_tokens([AddedToken(piece, special=True) for piece in ("<unk>", "<s>", "</s>")])
    begin_with(backend)
    if edit:
        edit(backend)
    backend.save(str(directory / "tokenizer.json"))
    (directory / "config.json").write_text(json.dumps(config or {"bos_token_id": 1, "eos_token_id": 2}))
    return vocab


TEXT = "Zara went to Orm. Anna isn't there, 12 days later."


def byte_level_tokenizer(folder, kind="gpt-2", edit=None, text=TEXT, size=97):
    """Write a tiny byte-level tokenizer of at most `size` tokens into a folder; kind is llama.cpp's name for its cuts.

    edit: changes the content of tokenizer.json in place. From 353 tokens on it knows every byte.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    folder.mkdir(parents=True, exist_ok=True)
    made = Tokenizer(models.BPE(ignore_merges=CUTS[kind].whole_words))
    made.decoder = decoders.ByteLevel()
    j = json.loads(made.to_str())
    j["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": list(CUTS[kind].steps)}
    made = Tokenizer.from_str(json.dumps(j))
    every = pre_tokenizers.ByteLevel.alphabet() if size > 352 else []
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<s>", "</s>"], show_progress=False, initial_alphabet=every
    )
    made.train_from_iterator([text] * 2, trainer)
    begin_with(made)
    j = json.loads(made.to_str())
    if edit:
        edit(j)
    (folder / "tokenizer.json").write_text(json.dumps(j))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))
    return folder


def save_sentencepiece(directory):
    """Train a small SentencePiece model with bytes for what it does not know."""
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat on the mat", "a cat and a hat", "the hat sat"] * 20),
        model_prefix=str(directory / "tokenizer"),
        vocab_size=290,
        model_type="bpe",
        byte_fallback=True,
        minloglevel=2,
        add_dummy_prefix=True,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
    )


def no_post_processor(backend):
    backend.post_processor = None
