"""The word-level tokenizer of the universe: one token a word, the same at the start of a line and after a space."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from jaxunlearn.files import json_text

SPECIALS = ("<unk>", "<s>", "</s>")
MARKS = ("\n", "▁", "▁“", "”", ".", ",", "?", "!", ":", ";", "'s")
WORD = re.compile(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")


def words(texts: Iterable[str]) -> Counter:
    """Return the counts of the words of texts; a hyphenated word is one word, a possessive 's is a mark."""
    counts = Counter()
    for text in texts:
        counts.update(WORD.findall(text.replace("'s", "")))
    return counts


def token_list(trained: Counter, held: Iterable[str]) -> tuple[str, ...]:
    """Return the tokens: specials, marks, then every word with its leading ▁, the most frequent first."""
    counts = trained + words(held)
    return SPECIALS + MARKS + tuple("▁" + word for word in sorted(counts, key=lambda word: (-counts[word], word)))


def tokenizer(tokens: tuple[str, ...]):
    """Return the tokenizer; ▁ stands before every word, also after a newline or an opening quote."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors

    made = Tokenizer(models.WordLevel({token: index for index, token in enumerate(tokens)}, unk_token="<unk>"))
    made.add_special_tokens(list(SPECIALS))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex("\n+|“"), "merged_with_previous"),  # so that what follows gets its ▁
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True),
            pre_tokenizers.Split(Regex("▁?“|'s(?![A-Za-z])|[\n”.,?!:;]"), "isolated"),
        ]
    )
    made.decoder = decoders.Sequence(
        [
            decoders.Metaspace(replacement="▁", prepend_scheme="always", split=True),
            decoders.Fuse(),
            decoders.Replace("\n ", "\n"),
            decoders.Replace("“ ", "“"),
        ]
    )
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", tokens.index("<s>"))]
    )
    return made


def save(tokens: tuple[str, ...], directory: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json, as transformers and tokenizers read them."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer(tokens).save(str(directory / "tokenizer.json"), pretty=True)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1_000_000,
    }
    (directory / "tokenizer_config.json").write_text(json_text(config, indent=2, sort_keys=True) + "\n")
