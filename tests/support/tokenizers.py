"""Tokenizers made for a test."""

import json


def save_bpe(directory, characters, merges=(), config=None, edit=None, byte_fallback=True):
    """Write a BPE tokenizer.json that knows the characters, the merges and every byte."""
    from tokenizers import AddedToken, Tokenizer, models

    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *dict.fromkeys(characters)]
    pieces += ["".join(pair) for pair in merges]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=list(merges), byte_fallback=byte_fallback, unk_token="<unk>"))
    backend.add_special_tokens([AddedToken(piece, special=True) for piece in ("<unk>", "<s>", "</s>")])
    if edit:
        edit(backend)
    backend.save(str(directory / "tokenizer.json"))
    (directory / "config.json").write_text(json.dumps(config or {"bos_token_id": 1, "eos_token_id": 2}))
    return vocab
