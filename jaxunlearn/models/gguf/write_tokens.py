"""Write a tokenizer into a GGUF file: its vocabulary, special tokens and chat templates.

llama.cpp has two algorithms that fit the models here: SentencePiece's BPE ("llama": pieces marked with ▁, the best
score merged first) and byte-level BPE ("gpt2"), which cuts a text in one of the ways of `cuts.CUTS`. A tokenizer that
would read an ordinary text otherwise there is refused, by name.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from jaxunlearn.data.added_tokens import named_tokens, read_added
from jaxunlearn.data.chat import DEFAULT, templates
from jaxunlearn.data.tokenizer import Tokenizer, load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.files import json_text, read_json
from jaxunlearn.models.gguf import BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED, library, sentencepiece_format
from jaxunlearn.models.gguf.cuts import CUTS, cut_of, steps

LAST = -1e4  # the score of a token that no merge makes
NFC = "llama.cpp does not compose characters (Unicode's NFC), as this tokenizer does: give it composed text"
SPACE = {"String": " "}


@dataclass
class Vocabulary:
    """A tokenizer as llama.cpp has it; rows: {id: (token, score, kind of token)}."""

    kind: str  # "llama", or a name of CUTS
    rows: dict[int, tuple[str, float, int]]
    merges: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)  # where llama.cpp reads some texts otherwise


def add_tokenizer(writer, directory: Path, V: int) -> list[str]:
    """Add the tokenizer, filled up to V tokens; return warnings where llama.cpp will read text in another way.

    Raises InputError for a tokenizer that llama.cpp lacks, and for one with more tokens than the weights have rows.
    """
    tokenizer = load_tokenizer(directory)
    json_file = directory / "tokenizer.json"
    found = from_json(json_file) if json_file.is_file() else from_sentencepiece(directory)
    if max(found.rows) >= V:
        raise InputError(f"the tokenizer in {directory} has ids up to {max(found.rows)}, the weights only {V} rows")
    rows = [found.rows.get(n, (f"[PAD{n}]", LAST, UNUSED)) for n in range(V)]  # every id has a token there
    llama = found.kind == "llama"
    writer.add_tokenizer_model("llama" if llama else "gpt2")
    writer.add_tokenizer_pre("default" if llama else found.kind)
    writer.add_token_list([token for token, _, _ in rows])
    writer.add_token_types([kind for _, _, kind in rows])
    if llama:
        writer.add_token_scores([score for _, score, _ in rows])
        writer.add_add_space_prefix(_space_first(tokenizer))
    else:
        writer.add_token_merges(found.merges)
    found.said += add_special(writer, directory, tokenizer, rows)
    add_templates(writer, templates(directory))
    if llama and sum(kind == BYTE for _, _, kind in rows) < 256:
        found.said.append("the vocabulary lacks bytes: llama.cpp refuses a text with a character that no token holds")
    return found.said


def add_special(writer, directory: Path, tokenizer: Tokenizer, rows: list) -> list[str]:
    """Add the ids of the special tokens: several ends of text are llama.cpp's EOS, EOT (turn) and EOM (message).

    It stops at each of the three, whatever they are called. Return a warning of the ends that no place is left for.
    """
    ids = {token: n for n, (token, _, _) in reversed(list(enumerate(rows)))}
    if tokenizer.bos_id is not None:
        writer.add_bos_token_id(tokenizer.bos_id)
    writer.add_add_bos_token(bool(tokenizer.start))
    more = tokenizer.eos_ids[1:]
    if tokenizer.eos_id is not None:
        writer.add_eos_token_id(tokenizer.eos_id)
    message = next((n for n in more if "eom" in rows[n][0].lower()), more[1] if len(more) > 1 else None)
    turn = next((n for n in more if n != message), None)
    for add, n in ((writer.add_eot_token_id, turn), (writer.add_eom_token_id, message)):
        if n is not None:
            add(n)
    named = named_tokens(directory, _read)
    unknown = [n for n, row in enumerate(rows) if row[2] == UNKNOWN]
    for name, add in (("unk_token", writer.add_unk_token_id), ("pad_token", writer.add_pad_token_id)):
        if name == "unk_token" and unknown:
            add(unknown[0])
        elif named.get(name) in ids:
            add(ids[named[name]])
    if lost := [rows[n][0] for n in more if n not in (turn, message)]:
        return [f"a GGUF file names three ends of a text at most: llama.cpp may write on after {' '.join(lost)}"]
    return []


def add_templates(writer, found: dict[str, str]) -> None:
    """Add the chat templates: the default one, and others by name."""
    keys = library().Keys.Tokenizer
    named = sorted(name for name in found if name != DEFAULT)
    if DEFAULT in found:
        writer.add_chat_template(found[DEFAULT])
    for name in named:
        writer.add_string(keys.CHAT_TEMPLATE_N.format(name=name), found[name])
    if named:
        writer.add_array(keys.CHAT_TEMPLATES, named)


def _read(path: Path) -> dict:
    return read_json(path, dict) if path.is_file() else {}


def _space_first(tokenizer: Tokenizer) -> bool:
    """Return whether the tokenizer puts a space in front of a text."""
    ids, _ = tokenizer.encode("a")
    return tokenizer.pieces([int(ids[0])])[0].startswith("▁")


# ---- tokenizer.json


def from_json(path: Path) -> Vocabulary:
    """Return the vocabulary of a tokenizer.json; InputError where llama.cpp would read its texts otherwise.

    A piece's score is minus the rank of its merge, so that the same merges come first.
    """
    j = read_json(path, dict)
    m, added = j["model"], {a["id"]: a for a in j.get("added_tokens") or []}
    kind, said = _kind(j, path.parent)
    merges = [pair.split(" ") if isinstance(pair, str) else pair for pair in m["merges"]]
    ranks: dict[str, int] = {}
    for n, pair in enumerate(merges):
        ranks.setdefault("".join(pair), n)
    tokens = {n: token for token, n in m["vocab"].items()} | {n: a["content"] for n, a in added.items()}
    rows = {
        n: (token, -float(ranks.get(token, len(merges) + n)), _type(n, token, m, added)) for n, token in tokens.items()
    }
    free = [a["content"] for n, a in added.items() if rows[n][2] == USER_DEFINED]
    bound = [a["content"] for a in added.values() if a.get("single_word") or a.get("lstrip") or a.get("rstrip")]
    if odd := [token for token in bound if token in free]:
        said.append(f"llama.cpp finds added tokens inside words and keeps the spaces beside them: {' '.join(odd[:5])}")
    return Vocabulary(kind, rows, [" ".join(pair) for pair in merges], said)


def _type(n: int, token: str, m: dict, added: dict) -> int:
    if token == m.get("unk_token"):
        return UNKNOWN
    if n in added:
        return CONTROL if added[n]["special"] else USER_DEFINED
    return BYTE if re.fullmatch(r"<0x[0-9A-F]{2}>", token) and m.get("byte_fallback") else NORMAL


def _kind(j: dict, directory: Path) -> tuple[str, list[str]]:
    """Return llama.cpp's name of a tokenizer ("llama" or one of CUTS), and warnings; InputError names what it lacks."""
    m = j["model"]
    normal = steps(j.get("normalizer"), "normalizers")
    wrong = [] if m.get("type") == "BPE" else [f"a model of type {m.get('type')}"]
    wrong += [f"{key} = {m[key]!r}" for key in ("continuing_subword_prefix", "end_of_word_suffix") if m.get(key)]
    said: list[str] = []
    if m.get("byte_fallback"):
        kind = "llama"
        wrong += _otherwise_than_sentencepiece(normal, steps(j.get("pre_tokenizer"), "pretokenizers"))
        normal = [s for s in normal if s["type"] not in ("Prepend", "Replace")]
    else:
        kind = cut_of(j.get("pre_tokenizer")) or ""
        if not kind:
            wrong.append(f"the pre-tokeniser {json_text(j.get('pre_tokenizer'))[:300]}")
    whole, whole_there = bool(m.get("ignore_merges")), kind in CUTS and CUTS[kind].whole_words
    if kind and whole_there and not whole:
        said.append("llama.cpp takes a word of the vocabulary whole, where this tokenizer follows its merges")
    if kind and whole and not whole_there:
        said.append("llama.cpp follows the merges, where this tokenizer takes a word of the vocabulary whole")
    if [s["type"] for s in normal] == ["NFC"]:
        said.append(NFC)
    elif normal:
        wrong.append(f"the normaliser {', '.join(s['type'] for s in normal)}")
    if wrong:
        lacking(directory, wrong)
    return kind, said


def _otherwise_than_sentencepiece(normal: list[dict], cuts: list[dict]) -> list[str]:
    """Return what keeps a byte-fallback tokenizer.json from reading spaces as SentencePiece does: as ▁."""
    marked = {"type": "Replace", "pattern": SPACE, "content": "▁"}
    spaces = [s for s in normal if s["type"] == "Replace"] + [c for c in cuts if c["type"] == "Metaspace"]
    wrong = [f"the step {json_text(s)}" for s in spaces if s != marked and s.get("replacement") != "▁"]
    wrong += [f"the prefix {s.get('prepend')!r}" for s in normal if s["type"] == "Prepend" and s["prepend"] != "▁"]
    known = [c for c in cuts if c["type"] == "Metaspace" or (c["type"] == "Split" and c.get("pattern") == SPACE)]
    wrong += [f"the pre-tokeniser {c['type']}" for c in cuts if c not in known]
    return wrong if spaces else [*wrong, "spaces that are not written as ▁"]


def lacking(directory: Path, wrong: list[str]) -> None:
    """Raise InputError: llama.cpp has no such tokenizer, for these reasons."""
    raise InputError(
        f"llama.cpp has no tokenizer like the one in {directory}: it reads SentencePiece, BPE with byte fallback, "
        f"and byte-level BPE that cuts text as {', '.join(CUTS)} do; this one has {'; '.join(wrong)}. Use --format hf"
    )


# ---- tokenizer.model


def from_sentencepiece(directory: Path) -> Vocabulary:
    """Return the vocabulary of a tokenizer.model and of the added tokens: above its last piece, or pieces of its own.

    A piece that is added is what the configuration says, as Gemma's turn tokens are: user-defined in tokenizer.model.
    """
    spm = sentencepiece_format()
    model = spm.ModelProto.FromString((directory / "tokenizer.model").read_bytes())
    wrong, rules = [], model.normalizer_spec
    if model.trainer_spec.model_type != spm.TrainerSpec.BPE:
        wrong.append(f"a SentencePiece model of type {spm.TrainerSpec.ModelType.Name(model.trainer_spec.model_type)}")
    if rules.precompiled_charsmap:
        wrong.append(f"the normaliser {rules.name}")
    if rules.remove_extra_whitespaces:
        wrong.append("remove_extra_whitespaces, which joins spaces")
    if wrong:
        lacking(directory, wrong)
    rows = {n: (piece.piece, piece.score, piece.type) for n, piece in enumerate(model.pieces)}
    for n, token in read_added(directory, _read).items():
        _, score, kind = rows.get(n, ("", LAST, NORMAL))
        added = CONTROL if token.special else USER_DEFINED
        rows[n] = (token.content, score, kind if kind in (UNKNOWN, CONTROL, BYTE) else added)
    return Vocabulary("llama", rows)
