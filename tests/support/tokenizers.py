"""Tokenizers made for a test."""

import json

from jaxunlearn.models.gguf import CUTS


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


def byte_level_tokenizer(folder, kind="gpt-2"):
    """Write a tiny byte-level tokenizer of 90 tokens and more into a folder; kind is llama.cpp's name for its cuts."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    folder.mkdir(parents=True, exist_ok=True)
    made = Tokenizer(models.BPE())
    if kind == "gpt-2":
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        (pattern,) = [text for text, name in CUTS.items() if name == kind]
        cut = pre_tokenizers.Split(Regex(pattern), "isolated")
        cuts = pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        made.pre_tokenizer = cuts
    made.decoder = decoders.ByteLevel()
    text = "Zara went to Orm. Anna isn't there, 12 days later."
    special = ["<s>", "</s>"]
    made.train_from_iterator(
        [text] * 2, trainers.BpeTrainer(vocab_size=97, special_tokens=special, show_progress=False)
    )
    begin_with(made)
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))
    return folder
