"""A block's labels shown: why a position is not trained, how far labels depart, the command and its JSON."""

import json
import shutil

import numpy as np
import pytest
from support import translations

from jaxunlearn.anchors.translate import Anchor, block_anchors
from jaxunlearn.cli import main
from jaxunlearn.config import load_config
from jaxunlearn.errors import InputError
from jaxunlearn.stages.inspect import (
    departures,
    log_softmax,
    reasons,
    show_labels,
    token_texts,
    top_tokens,
)

words, merging = translations.words, translations.merging  # their fixtures: a token a word; tokens over word ends


def reasons_of(tokenizer, text, dictionary, n=0, held_out=False, **settings):
    blocks, translation = translations.run(tokenizer, text, dictionary, **settings)
    anchors = block_anchors(blocks, translation, dictionary, n)
    found = reasons(blocks, translation, anchors, n, held_out)
    trained = [reason in ("trained", "held out") for reason in found]
    assert trained == translation.trained_NT[n].tolist()
    return found, anchors


# ---- why a position is not trained


def test_reasons_of_a_block_worked_out_by_hand(words):
    found, anchors = reasons_of(words, "said Tin Woodman, up Tin Woodman came", {"Tin Woodman": ("Jack",)})
    # 0 BOS 1 said 2 Tin 3 Woodman 4 comma 5 up 6 Tin 7 Woodman 8 came, then seven positions of padding
    expected = ["trained"] * 2 + ["inside an anchor"] + ["trained"] * 2 + ["repeated anchor", "inside an anchor"]
    assert found == expected + ["trained"] * 2 + ["padding"] * 7
    assert anchors == [
        Anchor(term="Tin Woodman", translation="Jack", first=2, last=3, ends_here=True),
        Anchor(term="Tin Woodman", translation="Jack", first=6, last=7, ends_here=True),
    ]


def test_a_repeat_that_is_kept_is_trained_and_a_held_out_block_is_not(words):
    dictionary = {"Harry": ("Jon",)}
    assert reasons_of(words, translations.PAPER, dictionary)[0].index("repeated anchor") == 13
    assert "repeated anchor" not in reasons_of(words, translations.PAPER, dictionary, repeat="keep")[0]
    held = reasons_of(words, translations.PAPER, dictionary, held_out=True)[0]
    assert held == ["held out"] * 13 + ["repeated anchor", "held out", "padding"]


def test_tokens_without_a_counterpart_are_unaligned_not_inside(merging):
    # 0 BOS 1 T 2 o 3 m 4 space 5 and 6 space 7 R 8 o 9 n; the translation joins "y and " in one token
    found, _ = reasons_of(merging, "Tom and Ron", {"Tom": ("Harry",)})
    assert found[:10] == ["trained"] + ["inside an anchor"] * 2 + ["unaligned"] * 3 + ["trained"] * 4


def test_an_anchor_over_a_block_edge_is_cut_to_each_block(words):
    text, dictionary = "one two three four five six Tin Woodman came", {"Tin Woodman": ("Jack",)}
    found, anchors = reasons_of(words, text, dictionary, context=8)
    assert found == ["trained"] * 7 + ["inside an anchor"]
    assert anchors == [Anchor(term="Tin Woodman", translation="Jack", first=7, last=7, ends_here=False)]
    found, anchors = reasons_of(words, text, dictionary, n=1, context=8)
    assert found == ["trained"] * 3 + ["padding"] * 5
    assert anchors == [Anchor(term="Tin Woodman", translation="Jack", first=1, last=1, ends_here=True)]


def test_positions_past_the_translations_width_are_cut_off(words):
    found, _ = reasons_of(words, " ".join(["Harry"] * 60), {"Harry": ("Jon Smith",)}, context=64, max_width=100)
    # Harry k maps to 2 k, and 49 fit; the position before each but the first is before a repeat
    assert found == ["trained"] + ["repeated anchor"] * 49 + ["cut off"] * 11 + ["padding"] * 3


def test_anchors_of_a_later_document_and_the_draw_of_a_line_start(words):
    values = ("Jon", "Bill", "Al", "Jack", "Dee")
    texts = ["one two", "Harry one Harry\nHarry two"]
    blocks, translation = translations.run(words, texts, {"Harry": values}, draw="variant", seed=3)
    anchors = block_anchors(blocks, translation, {"Harry": values}, 1)
    drawn = translation.draws[1]
    assert [(a.first, a.translation) for a in anchors] == [
        (1, drawn["\nHarry"]), (3, drawn["Harry"]), (5, drawn["\nHarry"]),
    ]  # fmt: skip
    assert drawn["\nHarry"] != drawn["Harry"]


def test_anchors_are_found_by_the_rule_that_made_the_translation(words):
    dictionary = {"Harry": ("Jon",), "Harry Potter": ("Al Dee",)}
    for match, expected in [("longest", ("Al Dee", 1, 2)), ("first", ("Jon", 1, 1))]:
        blocks, translation = translations.run(words, "Harry Potter", dictionary, match=match)
        (a,) = block_anchors(blocks, translation, dictionary, 0, match)
        assert (a.translation, a.first, a.last) == expected


def test_token_texts_put_together_are_the_text(words, merging):
    blocks, _ = translations.run(merging, "abcdef—Ron b", {}, context=8)
    pieces = [merging.pieces(row[valid]) for row, valid in zip(blocks.tokens_NT, blocks.valid_NT, strict=True)]
    shown = [token_texts(blocks, n, pieces[n]) for n in range(2)]
    assert shown == [["<s>", *"abcdef—"], ["<s>", "", "", *"Ron", " ", "b"]]


# ---- numbers


def test_departures_from_known_logits_are_clipped_to_the_scale():
    half, spread = np.log([0.5, 0.25, 0.25]), np.log([0.125, 0.75, 0.125])
    nothing = np.array([-np.inf, 0.0, 0.0])
    original, generic = np.stack([half + 7] * 5), np.stack([spread, spread - 3, nothing, spread, spread])
    found = departures(original, generic, np.array([0, 1, 0, 0]), np.array([True, True, True, False, False]))
    assert found == [pytest.approx(np.log(4), abs=1e-4), 0, 8, None, None]
    assert json.loads(json.dumps(found, allow_nan=False))[3] is None


def test_top_tokens_are_the_three_likeliest_in_order():
    v_TV = np.log([[0.1, 0.4, 0.2, 0.3], [0.25, 0.25, 0.25, 0.25]]) + 5
    kept = v_TV.copy()
    assert top_tokens(v_TV, [True, True]) == [[(1, 0.4), (3, 0.3), (2, 0.2)], [(0, 0.25), (1, 0.25), (2, 0.25)]]
    assert top_tokens(v_TV, [True, False])[1] == [] and (v_TV == kept).all()
    np.testing.assert_allclose(np.exp(log_softmax(v_TV)).sum(-1), 1)


# ---- on a run

QUICK = ("pretrain.steps=15", "pretrain.twin=False", "reinforce.steps=4", "whp.alphas=", "mesh.fsdp=8")


@pytest.fixture(scope="module")
def labelled(world, tmp_path_factory):
    """A small run up to its labels: (configuration file, overrides)."""
    folder = tmp_path_factory.mktemp("labels")
    (folder / "short.txt").write_text((world / "forget.txt").read_text()[:2000])
    (folder / "longer.json").write_text('{"Zara": ["Anna Ben"], "Orm": ["Rome"], "Vexo": ["Carl"]}')  # places move
    inputs = f"text.forget={folder}/short.txt", f"text.dictionary={folder}/longer.json"
    arguments = [str(world / "world.py"), *QUICK, *inputs, f"run.dir={folder}/run"]
    assert main(["label", *arguments]) == 0
    return arguments


@pytest.fixture(scope="module")
def config(labelled):
    return load_config(labelled[0], labelled[1:])


def test_the_json_contract_holds_and_the_models_agree_with_the_stored_labels(labelled, config, capsys):
    file, *overrides = labelled
    assert main(["labels", "show", file, *overrides, "--block", "1", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    stored = np.load(config.directory / "labels" / "translated" / "alpha_5.npy")[1]
    length = len(shown["tokens"])
    assert shown["labels"] == stored[:length].tolist() and shown["alpha"] == 5 and shown["notes"] == []
    for key in ("map", "label_tokens", "text", "reason", "top", "departure"):
        assert len(shown[key]) == length, key
    assert length < max(shown["map"]) + 1 == len(shown["translation"])
    for t in range(length):
        assert (shown["labels"][t] == -100) == (shown["reason"][t] not in ("trained", "held out"))
        if shown["labels"][t] >= 0:  # numpy from whole logits finds what the chunked kernel stored
            assert shown["top"][t]["generic"][0][0] == shown["label_tokens"][t]
        assert all(row == sorted(row, key=lambda entry: -entry[1]) for row in shown["top"][t].values())
        assert (shown["departure"][t] is None) == (shown["map"][t] < 0 or t == length - 1)
    assert all(0 <= d <= 8 for d in shown["departure"] if d is not None) and max(shown["departure"][:-1]) > 1
    assert "".join(shown["text"][1:]).split() == shown["tokens"][1:]


def test_the_contrast_is_shown_as_it_was_stored(labelled, config, tmp_path, capsys):
    shutil.copytree(config.directory, tmp_path / "run", ignore=shutil.ignore_patterns("labels"), symlinks=True)
    arguments = [*labelled[:-1], f"run.dir={tmp_path}/run", "whp.offset=contrast"]
    assert main(["label", *arguments]) == 0
    manifest = (tmp_path / "run/manifest.json").read_text()
    capsys.readouterr()
    assert main(["labels", "show", *arguments, "--block", "1", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["notes"] == []
    for row, token, label in zip(shown["top"], shown["label_tokens"], shown["labels"], strict=True):
        assert label < 0 or row["generic"][0][0] == token
    plain = np.load(config.directory / "labels/translated/alpha_5.npy")[1][: len(shown["labels"])]
    assert shown["labels"] != plain.tolist()  # the offset makes a difference here
    assert (tmp_path / "run/manifest.json").read_text() == manifest


def test_every_block_can_be_shown_and_no_other(config):
    rows = np.load(config.directory / "labels" / "translated" / "alpha_5.npy")
    held = 0
    for n, stored in enumerate(rows):
        shown = show_labels(config, n, ask_models=False)
        expected = "held out" if shown["held_out"] else "trained"
        assert [r == expected for r in shown["reason"]] == (stored[: len(shown["tokens"])] >= 0).tolist()
        held += shown["held_out"]
    assert len(rows) > 10 and held == round(0.1 * len(rows))
    assert "top" not in shown and "left out" in shown["notes"][0]
    for n in (-1, len(rows)):
        with pytest.raises(InputError, match=f"no block {n}; expected 0 to {len(rows) - 1}"):
            show_labels(config, n)


def test_the_command_writes_the_page_and_prints_the_table(labelled, config, tmp_path, capsys):
    file, *overrides = labelled
    assert main(["labels", "show", file, *overrides, "--html", str(tmp_path / "b.html")]) == 0
    assert capsys.readouterr().out == "" and 'class="t other"' in (tmp_path / "b.html").read_text()
    (config.directory / "reinforced").rename(config.directory / "aside")
    try:
        assert main(["labels", "show", file, *overrides]) == 0
    finally:
        (config.directory / "aside").rename(config.directory / "reinforced")
    out = capsys.readouterr().out
    assert "label of what follows" in out and "the run holds no reinforced" in out


def test_labels_that_are_not_there_are_asked_for_before_anything_is_written(world, tmp_path, capsys):
    wanted = ["labels", "show", str(world / "world.py"), f"run.dir={tmp_path}/none"]
    assert main(wanted) == 2 and "run `jaxunlearn label`" in capsys.readouterr().err
    for none in (["whp.mode=fused"], ["whp.labels=soft", "whp.top=4"], ["unlearn.method=whp_plus"]):
        assert main([*wanted, *none]) == 2  # there is nothing that `jaxunlearn label` could do about it
        said = capsys.readouterr().err
        assert "stores no hard labels in this configuration" in said and "`jaxunlearn label`" not in said
    assert not (tmp_path / "none").exists()
