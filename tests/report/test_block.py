"""A labelled block: the page, and the table in a terminal."""

import io
import re

import pytest

from jaxunlearn.errors import InputError
from jaxunlearn.report.block import groups, page, print_table, rows_of, write_page


def block(**changes):
    """Return what show_labels gives for "Zed met Zed Ra" with Zed -> Al and Zed Ra -> Bo, made up by hand."""
    three = {name: [("▁Al", 0.5), ("<b>", 0.25), ("▁x", 0.001)] for name in ("baseline", "reinforced", "generic")}
    return {
        "tokens": ["<s>", "▁Zed", "▁met", "▁Zed", "▁Ra"], "translation": ["<s>", "▁Al", "▁met", "▁Bo"],
        "map": [0, 1, 2, -1, 3], "labels": [5, 6, -100, -100, 7], "label_tokens": ["▁Al", "▁met", None, None, "."],
        "alpha": 5.0, "text": ["<s>", "Zed", " met", " Zed", " Ra"],
        "reason": ["trained", "trained", "repeated anchor", "inside an anchor", "trained"],
        "anchors": [
            {"term": "Zed", "translation": "Al", "first": 1, "last": 1},
            {"term": "Zed Ra", "translation": "Bo", "first": 3, "last": 4},
        ],
        "document": "a.txt", "held_out": False, "block": 2, "blocks": 9, "title": "Small", "notes": [],
        "top": [three] * 5, "departure": [4.0, 0.0, 2.5, None, None],
    } | changes  # fmt: skip


def worn(shown):
    """Return {text: its opening tag} of the running text's tokens, which must be unlike each other."""
    text = page(shown).split('<div class="text">')[1].split("</div>")[0]
    return {core: tag for tag, core in re.findall(r'(<span class="t[ "][^>]*>)([^<]*)', text)}


def test_each_token_wears_what_is_learnt_at_the_position_before_it():
    tags = worn(block(text=["<s>", "Zed", " met", " zed", " Ra"]))
    assert "--d:0.500" in tags["Zed"] and "other" in tags["Zed"]  # 4 of 8 nats, and its label is Al
    assert "--d:0.000" in tags["met"] and "other" not in tags["met"]
    for core in ("zed", "Ra"):  # a departure of 2.5 nats is known, but nothing is trained there
        assert " off" in tags[core] and "--d" not in tags[core]
    assert "tabindex" not in tags["&lt;s&gt;"] and "tabindex" in tags["Zed"]


def test_reasons_show_without_a_pointer_and_translations_stand_above_their_anchors():
    html = page(block())
    assert "Zed<sup>r</sup>" in html and "Ra<sup>i</sup>" in html
    assert "<rt>Al</rt>" in html and "<rt>Bo</rt>" in html
    assert "<dd>not trained (1), repeated anchor: " in html and "log p<sub>baseline</sub>" in html
    assert "prefers-color-scheme: dark" in html and "@media print" in html
    assert not re.search(r"https?://|<script|<link(?! rel=\"icon\" href=\"data:,\")|@import|url\(", html)


def test_the_page_shows_the_text_with_its_spaces_and_line_breaks():
    shown = block(text=["<s>", "Zed", "\n\n", "Zed", " Ra  "])
    text = re.sub(r'<span class="card".*?</span></span></span></span>', "", page(shown), flags=re.S)
    text = re.sub(r"<(rt|sup)>.*?</\1>", "", text.split('<div class="text">')[1].split("</div>")[0])
    assert re.sub("<[^>]*>", "", text).startswith("&lt;s&gt;Zed↵\n\nZed Ra  ")


def test_the_page_escapes_everything():
    evil = "<script>alert(1)</script>"
    three = {name: [(evil, 1.0)] for name in ("baseline", "reinforced", "generic")}
    anchors = [{"term": evil, "translation": evil, "first": 1, "last": 2}]
    html = page(
        block(
            tokens=[evil] * 5, translation=[evil] * 4, label_tokens=[evil] * 5, text=[evil] * 5, title=evil,
            document=evil, notes=[evil], anchors=anchors, top=[three] * 5,
        )
    )  # fmt: skip
    assert "script>" not in html and html.count("&lt;script&gt;") > 20


def test_without_the_models_the_tint_says_which_labels_are_others():
    shown = block(notes=["top tokens and departures are left out"])
    del shown["top"], shown["departure"]
    tags = worn(shown | {"text": ["<s>", "Zed", " met", " zed", " Ra"]})
    assert "--d:0.500" in tags["Zed"] and "--d:0.000" in tags["met"] and "--d" not in tags["zed"]
    assert "Top tokens and departures are left out." in page(shown) and 'class="scale"' not in page(shown)


def test_a_token_that_two_anchors_share_stands_once():
    both = [
        {"term": "Zed", "translation": "Al", "first": 1, "last": 2},
        {"term": "met", "translation": "Bo", "first": 2, "last": 2},
    ]
    found = groups(block(anchors=both), rows_of(block()))
    cores = [(above, [token["core"] for token in tokens]) for above, tokens in found]
    assert cores == [("", ["<s>"]), ("Al Bo", ["Zed", "met"]), ("", ["Zed", "Ra"])]


def test_a_page_that_cannot_be_written_is_the_users_error(tmp_path):
    write_page(block(), tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text() == page(block())
    with pytest.raises(InputError, match="give a file in a folder that exists"):
        write_page(block(), tmp_path / "nowhere" / "a.html")


# ---- the terminal


def printed(shown, **settings):
    from rich.console import Console

    console = Console(file=io.StringIO(), **settings)
    print_table(shown, console)
    return console.file.getvalue()


def test_the_table_is_plain_where_there_is_no_terminal_and_coloured_where_there_is():
    shown = block(notes=["said aside"], title="[bold]Small[/nope]")
    plain = printed(shown)
    assert "\x1b" not in plain and "[bold]Small[/nope]: block 2" in plain and plain.endswith("said aside\n")
    lines = {line.split()[0]: line.split() for line in plain.splitlines()[2:-1]}
    assert lines["0"][1:3] == ["<s>", "<s>"] and lines["0"][-2:] == ["▁Al", "4.0"]
    assert lines["3"][1] == "▁Zed" and lines["3"][-4:] == ["-", "inside", "an", "anchor"]
    assert plain.count("▁x <.01") == 15 and not any(line.endswith(" ") for line in plain.splitlines())
    coloured = printed(shown, force_terminal=True, width=120, color_system="standard")
    assert "\x1b[1;31m▁Al" in coloured and "\x1b[2m" in coloured and "▁x <.01" not in coloured
