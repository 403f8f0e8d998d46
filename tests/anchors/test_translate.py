"""Alignment and consistency against tables worked out by hand; each switch changes exactly what its name says."""

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import translations
from support.translations import PAPER, cells, run

from jaxunlearn.anchors.translate import block_anchors, draw_choices, first_tokens, show_block, translate
from jaxunlearn.data.blocks import make_blocks
from jaxunlearn.data.documents import Document, read_documents
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError

words, merging = translations.words, translations.merging  # their fixtures: a token a word; tokens over word ends


def rows(blocks, translation, tokenizer):
    """Give for each block its translated pieces without padding."""
    return [show_block(blocks, translation, tokenizer, n)["translation"] for n in range(len(blocks.tokens_NT))]


def seen(translation, tokenizer, n=0):
    """Give {piece: position} of the first tokens of translations that appeared."""
    pairs = zip(translation.seen_id_NR[n].tolist(), translation.seen_from_NR[n].tolist(), strict=True)
    return {tokenizer.pieces([token])[0]: at for token, at in pairs if token >= 0}


# ---- the paper's sentence, one token a word


def test_the_papers_sentence_word_by_word(words):
    blocks, translation = run(words, PAPER, {"Harry": ("Jon",)})
    table = show_block(blocks, translation, words, 0)
    original = "<s>|Harry| went| up| to| him| and| said|,| Hi|,| my| name| is| Harry"
    assert table["tokens"] == cells(original)
    assert table["translation"] == cells(original.replace("Harry", "Jon"))
    assert table["map"] == list(range(15))
    assert translation.map_NT[0].tolist() == [*range(15), -1]
    # " is" predicts the second Harry: untrained. BOS predicts the first, and each Harry what follows it: trained.
    assert np.flatnonzero(~translation.trained_NT[0]).tolist() == [13, 15]
    assert seen(translation, words) == {" Jon": 2, "Jon": 2}
    assert translation.tokens_NS.shape == (1, 64) and translation.tokens_NS.dtype == np.int32
    assert (translation.anchors, translation.inside, translation.excluded) == (2, 0, 1)
    assert (translation.unaligned, translation.cut, translation.positions) == (0, 0, 14)
    assert translation.draws == ({"Harry": "Jon"},)
    assert translation.summary() == (
        "2 anchors in 14 tokens: 0 inside, 1 excluded as repeats, 0 unaligned (0.00%), 0 cut off; 14 positions trained"
    )


def test_repeat_keep_trains_the_position_before_a_repeat_and_changes_nothing_else(words):
    _, ignore = run(words, PAPER, {"Harry": ("Jon",)}, repeat="ignore")
    _, keep = run(words, PAPER, {"Harry": ("Jon",)}, repeat="keep")
    assert np.argwhere(ignore.trained_NT != keep.trained_NT).tolist() == [[0, 13]]
    assert keep.trained_NT[0, 13] and keep.excluded == 0
    unchanged = dataclasses.replace(keep, trained_NT=ignore.trained_NT, excluded=ignore.excluded)
    assert_same(unchanged, ignore)


def assert_same(a, b):
    for field in dataclasses.fields(a):
        assert np.array_equal(getattr(a, field.name), getattr(b, field.name)), field.name


def test_a_longer_translation_shifts_what_follows(words):
    blocks, translation = run(words, "Harry went to Harry, said Hi", {"Harry": ("Jon Smith",)})
    assert rows(blocks, translation, words)[0] == cells("<s>|Jon| Smith| went| to| Jon| Smith|,| said| Hi")
    assert translation.map_NT[0, :8].tolist() == [0, 2, 3, 4, 6, 7, 8, 9]
    assert seen(translation, words) == {" Jon": 2, "Jon": 2}
    assert np.flatnonzero(~translation.trained_NT[0, :8]).tolist() == [3]


def test_without_bos_every_position_is_one_less(words):
    plain = dataclasses.replace(words, start=())
    blocks, translation = run(plain, "Harry went to Harry, said Hi", {"Harry": ("Jon Smith",)})
    assert rows(blocks, translation, words)[0] == cells("Jon| Smith| went| to| Jon| Smith|,| said| Hi")
    assert translation.map_NT[0, :7].tolist() == [1, 2, 3, 5, 6, 7, 8]
    assert seen(translation, words) == {" Jon": 1, "Jon": 1}
    assert np.flatnonzero(~translation.trained_NT[0, :7]).tolist() == [2]
    assert block_anchors(blocks, translation, {"Harry": ("Jon Smith",)}, 0)[1].first == 3


def test_a_shorter_translation_of_several_words_maps_its_last_token_alone(words):
    text = "said Tin Woodman, up Tin Woodman came"
    blocks, translation = run(words, text, {"Tin Woodman": ("Jack",)})
    assert rows(blocks, translation, words)[0] == cells("<s>|said| Jack|,| up| Jack| came")
    # positions: 0 BOS, 1 said, 2 Tin, 3 Woodman, 4 comma, 5 up, 6 Tin, 7 Woodman, 8 came
    assert translation.map_NT[0, :9].tolist() == [0, 1, -1, 2, 3, 4, -1, 5, 6]
    assert np.flatnonzero(translation.trained_NT[0]).tolist() == [0, 1, 3, 4, 7, 8]
    assert (translation.inside, translation.excluded, translation.unaligned) == (2, 1, 0)
    assert seen(translation, words) == {" Jack": 4, "Jack": 4}


def test_neighbouring_anchors_share_the_position_between_them(words):
    _, translation = run(words, "Ron Harry went Harry Ron came", {"Harry": ("Jon",), "Ron": ("Bill",)})
    # 1 Ron, 2 Harry, 3 went, 4 Harry, 5 Ron, 6 came: 3 precedes the second Harry, 4 the second Ron
    assert np.flatnonzero(~translation.trained_NT[0, :7]).tolist() == [3, 4]
    assert seen(translation, words) == {" Bill": 2, "Bill": 2, " Jon": 3, "Jon": 3}


# ---- tokens that merge over word boundaries


def test_a_token_that_leaves_an_anchor_maps_where_the_translation_ends_a_token(merging):
    blocks, translation = run(merging, "Harry and Ron", {"Harry": ("Tom",)})
    assert show_block(blocks, translation, merging, 0) == {
        "tokens": ["<s>", "H", "a", "r", "r", "y and ", "R", "o", "n"],
        "translation": ["<s>", "T", "o", "m", " ", "and", " ", "R", "o", "n"],
        "map": [0, -1, -1, -1, -1, 6, 7, 8, 9],
    }
    assert (translation.inside, translation.unaligned) == (4, 0)
    assert seen(translation, merging) == {"T": 6}
    assert np.flatnonzero(translation.trained_NT[0]).tolist() == [0, 5, 6, 7, 8]


def test_tokens_the_translation_merges_are_unaligned(merging):
    blocks, translation = run(merging, "Tom and Ron", {"Tom": ("Harry",)})
    table = show_block(blocks, translation, merging, 0)
    assert table["tokens"] == ["<s>", "T", "o", "m", " ", "and", " ", "R", "o", "n"]
    assert table["translation"] == ["<s>", "H", "a", "r", "r", "y and ", "R", "o", "n"]
    assert table["map"] == [0, -1, -1, -1, -1, -1, 5, 6, 7, 8]
    assert (translation.inside, translation.unaligned) == (2, 3)
    assert translation.unaligned_share == pytest.approx(3 / 9)


def test_the_position_before_a_repeat_may_be_a_merged_token(merging):
    _, translation = run(merging, "Harry and Harry b", {"Harry": ("Billy",)})
    # 1 H 2 a 3 r 4 r 5 "y and " 6 H 7 a 8 r 9 r 10 "y " 11 b
    assert translation.map_NT[0, :12].tolist() == [0, -1, -1, -1, -1, 5, -1, -1, -1, -1, 10, 11]
    assert np.flatnonzero(translation.trained_NT[0]).tolist() == [0, 10, 11]
    assert translation.excluded == 1
    assert seen(translation, merging) == {"B": 6}


def test_bytes_of_one_character_are_paired_and_only_the_last_of_an_anchor_is_trained(merging):
    _, translation = run(merging, "é José é", {"José": ("Zoé",)})
    # 1,2 é 3 space 4 J 5 o 6 s 7,8 é 9 space 10,11 é | 1,2 é 3 space 4 Z 5 o 6,7 é 8 space 9,10 é
    assert translation.map_NT[0, :12].tolist() == [0, 1, 2, 3, -1, -1, -1, -1, 7, 8, 9, 10]
    assert (translation.inside, translation.unaligned) == (4, 0)
    assert seen(translation, merging) == {"Z": 9}
    _, plain = run(merging, "José b", {"José": ("Tom",)})
    assert plain.map_NT[0, :8].tolist() == [0, -1, -1, -1, -1, 3, 4, 5]


def test_bytes_split_over_a_block_edge_stay_on_their_sides(merging):
    blocks, translation = run(merging, "abcdef—Ron b", {"Ron": ("Tom",)}, context=8)
    # seven tokens a block: a b c d e f and the first byte of the dash, then its other two
    assert rows(blocks, translation, merging) == [
        ["<s>", "a", "b", "c", "d", "e", "f", "<0xE2>"],
        ["<s>", "<0x80>", "<0x94>", "T", "o", "m", " ", "b"],
    ]
    assert translation.map_NT.tolist() == [[0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, -1, -1, 5, 6, 7]]


# ---- block edges


def test_an_anchor_over_a_block_edge_is_translated_where_it_ends(words):
    text = "one two three four five six Tin Woodman came Tin Woodman to"
    blocks, translation = run(words, text, {"Tin Woodman": ("Iron Lumber Jack",)}, context=8)
    assert rows(blocks, translation, words) == [
        cells("<s>|one| two| three| four| five| six"),
        cells("<s>| Iron| Lumber| Jack| came| Iron| Lumber| Jack| to"),
    ]
    assert translation.map_NT[0].tolist() == [0, 1, 2, 3, 4, 5, 6, -1]
    assert translation.trained_NT[0].tolist() == [True] * 7 + [False]  # " six" predicts the first occurrence
    # block 1: 0 BOS 1 Woodman 2 came 3 Tin 4 Woodman 5 to; " came" precedes a repeat
    assert translation.map_NT[1].tolist() == [0, 3, 4, -1, 7, 8, -1, -1]
    assert translation.trained_NT[1].tolist() == [True, True, False, False, True, True, False, False]
    assert seen(translation, words, 0) == {}
    assert seen(translation, words, 1) == {" Iron": 2, "Iron": 2}
    assert translation.draws == ({}, {"Tin Woodman": "Iron Lumber Jack"})


def test_a_term_is_new_again_in_each_block_and_document(words):
    text = "Harry one two three four five Harry Harry one"
    _, translation = run(words, [text, "Harry Harry"], {"Harry": ("Jon",)}, context=8)
    # block 0 ends with the second Harry; block 1 starts with the third; the second document is block 2
    assert np.argwhere(~translation.trained_NT & (translation.map_NT >= 0)).tolist() == [[0, 6], [2, 1]]
    assert seen(translation, words, 1) == seen(translation, words, 2) == {" Jon": 2, "Jon": 2}


def test_positions_past_the_width_are_cut_and_counted(words):
    text = " ".join(["Harry"] * 60)
    blocks, full = run(words, text, {"Harry": ("Jon Smith",)}, context=64)
    assert full.tokens_NS.shape == (1, 128) and full.cut == 0 and full.width_N.tolist() == [121]
    _, cut = run(words, text, {"Harry": ("Jon Smith",)}, context=64, max_width=100)
    assert (cut.tokens_NS == full.tokens_NS[:, :100]).all() and cut.width_N.tolist() == [100]
    # Harry number k maps to 2 k; 2 k <= 99 leaves 49 of the 60
    assert cut.cut == 11 and (cut.map_NT[0, 1:50] == 2 * np.arange(1, 50)).all() and (cut.map_NT[0, 50:] == -1).all()
    assert not cut.trained_NT[0, 50:].any()
    assert len(show_block(blocks, cut, words, 0)["translation"]) == 100


def test_pieces_align_each_with_its_own_bos(words):
    text = "Harry went to Ron. " * 600  # 11,400 characters: the edge at 10,000 falls inside a word
    blocks, translation = run(words, text, {"Harry": ("Jon Smith",)}, context=64, block_bos="piece")
    bos_NT = (blocks.tokens_NT == 1) & blocks.valid_NT
    assert bos_NT.sum() == 2
    mapped_NT = translation.map_NT >= 0
    assert mapped_NT[blocks.valid_NT].all() and translation.unaligned == 0
    target_NT = np.take_along_axis(translation.tokens_NS, np.maximum(translation.map_NT, 0), 1)
    assert (target_NT[bos_NT] == 1).all()
    harry = [words.encode(text)[0][0] for text in ("Harry", " Harry")]
    same_NT = mapped_NT & ~np.isin(blocks.tokens_NT, harry)
    assert (target_NT == blocks.tokens_NT)[same_NT].all()
    assert translation.width_N.sum() == blocks.tokens + 600


def test_match_reaches_the_translation(words):
    dictionary = {"Harry": ("Jon",), "Harry Potter": ("Al Dee",)}
    for match, expected in [("longest", "<s>| Al| Dee"), ("first", "<s>| Jon| Potter")]:
        blocks, translation = run(words, " Harry Potter", dictionary, match=match)
        assert rows(blocks, translation, words)[0] == cells(expected)


# ---- drawing


def test_one_translation_a_term_and_block_recomputable_alone(words):
    values = ("Jon", "Bill", "Al", "Jack", "Dee")
    dictionary = {"Ron": values, "Harry": values}
    text = "Harry one\nHarry two three Harry Ron " * 30
    blocks, translation = run(words, text, dictionary, seed=5)
    drawn = {n: draw["Harry"] for n, draw in enumerate(translation.draws) if "Harry" in draw}
    assert len(set(drawn.values())) > 1
    assert drawn == {n: values[draw_choices(5, n, np.array([5, 5]))[0, 1]] for n in drawn}
    for n, row in enumerate(rows(blocks, translation, words)):
        used = {piece.strip() for piece in row} & set(values)
        assert used == set(translation.draws[n].values())
    _, other = run(words, text, dictionary, seed=6)
    assert translation.draws != other.draws


def test_draw_variant_changes_line_starts_only(words):
    values = ("Jon", "Bill", "Al", "Jack", "Dee")
    text = "Harry one Harry two\nHarry three four" * 40
    blocks, key = run(words, text, {"Harry": values})
    _, variant = run(words, text, {"Harry": values}, draw="variant")
    at_line_start = blocks.tokens_NT == words.encode("Harry")[0][0]
    same_NS = key.tokens_NS == variant.tokens_NS
    assert same_NS[:, :16][~at_line_start].all() and not same_NS[:, :16][at_line_start].all()
    assert (key.map_NT == variant.map_NT).all() and (key.trained_NT == variant.trained_NT).all()
    assert set().union(*variant.draws) == {"Harry", "\nHarry"} and set().union(*key.draws) == {"Harry"}


def test_first_tokens_cover_both_variants(words, merging):
    assert words.pieces(first_tokens("Jon Smith", words)) == [" Jon", "Jon"]
    assert merging.pieces(first_tokens("éa", merging)) == ["<0xC3>"]


def test_seen_pairs_keep_the_earliest_position_of_a_shared_first_token(words):
    _, translation = run(words, "one Harry two Ron", {"Harry": ("Jon",), "Ron": ("Jon Smith",)})
    assert seen(translation, words) == {" Jon": 3, "Jon": 3}
    _, nothing = run(words, "one two", {"Harry": ("Jon",)})
    assert nothing.seen_id_NR.tolist() == [[-1]] and nothing.seen_from_NR.tolist() == [[16]]


def test_a_translation_counts_as_seen_after_its_anchor_or_at_its_last_token_and_nothing_else_changes(words):
    dictionary = {"Tin Woodman": ("Jack",), "Harry": ("Jon Smith",)}
    text = "one Tin Woodman came Harry Tin Woodman went Harry"
    # block 0: 0 BOS 1 one 2 Tin 3 Woodman 4 came 5 Harry 6 Tin 7 Woodman; block 1: 0 BOS 1 went 2 Harry
    expected = [
        # (block, at, after): a term's first occurrence counts, in each block anew
        (0, {" Jack": 3, "Jack": 3, " Jon": 5, "Jon": 5}, {" Jack": 4, "Jack": 4, " Jon": 6, "Jon": 6}),
        (1, {" Jon": 2, "Jon": 2}, {" Jon": 3, "Jon": 3}),
    ]
    _, at = run(words, text, dictionary, context=8, seen_from="at")
    _, after = run(words, text, dictionary, context=8, seen_from="after")
    for block, where_at, where_after in expected:
        assert seen(at, words, block) == where_at and seen(after, words, block) == where_after
    assert_same(dataclasses.replace(at, seen_from_NR=after.seen_from_NR), after)
    assert_same(run(words, text, dictionary, context=8)[1], after)  # the authors' value is the default
    _, last = run(words, "one two three four five six Harry", dictionary, context=8)
    assert seen(last, words) == {" Jon": 8, "Jon": 8}  # after the last position: nowhere in the block


def test_forbidden_keys_count_as_seen_from_the_first_position_of_every_block(words):
    dictionary = {"Harry": ("Jon",), "Tin Woodman": ("Jack",), "Ron": ("Harry",)}
    text = "one Harry two three four five six Ron went"
    _, plain = run(words, text, dictionary, context=8)
    _, found = run(words, text, dictionary, context=8, forbid="keys")
    keys = dict.fromkeys([" Harry", "Harry", " Tin", "Tin", " Ron", "Ron"], 0)
    # the first block reads one Jon two three four five six, the second Harry went: the translation of Ron is a key
    assert seen(found, words, 0) == keys | {" Jon": 3, "Jon": 3} and seen(found, words, 1) == keys
    assert seen(plain, words, 0) == {" Jon": 3, "Jon": 3} and seen(plain, words, 1) == {" Harry": 2, "Harry": 2}
    pairs = {name: getattr(plain, name) for name in ("seen_id_NR", "seen_from_NR")}
    assert_same(dataclasses.replace(found, **pairs), plain)
    assert run(words, text, {}, forbid="keys")[1].seen_id_NR.tolist() == [[-1]]


def test_of_a_question_only_what_predicts_the_answer_is_trained_and_its_end_is_aligned(words):
    # 0 BOS 1 one 2 Harry 3 comma 4 two 5 Harry 6 EOS; "one Harry," is asked: BOS to Harry predict it, EOS nothing
    documents = [Document(name="d", text="one Harry, two Harry", asked=10)]
    blocks = make_blocks(documents, words, 8)
    found = translate(blocks, documents, words, {"Harry": ("Jon Smith",)}, repeat="keep")
    assert rows(blocks, found, words)[0] == [*cells("<s>|one| Jon| Smith|,| two| Jon| Smith"), "</s>"]
    assert found.map_NT.tolist() == [[0, 1, 3, 4, 5, 7, 8, -1]]
    assert np.flatnonzero(found.trained_NT[0]).tolist() == [3, 4, 5]


# ---- properties


def test_an_empty_dictionary_gives_the_blocks_themselves(words):
    blocks, translation = run(words, [PAPER, "one two"], {}, context=8)
    assert (translation.tokens_NS[:, :8] == blocks.tokens_NT).all()
    assert (translation.map_NT == np.where(blocks.valid_NT, np.arange(8), -1)).all()
    assert (translation.trained_NT == blocks.valid_NT).all()


TERMS = {
    "Harry": ("Jon Smith", "Bill"),
    "Tin Woodman": ("Jack",),
    "Ron": ("Al", "Iron Lumber Jack"),
    "Ron came": ("up",),
}
PICKED = ["Harry", "Ron", "Tin", "Woodman", "came", "one", "two", "\n", ","]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    picked=st.lists(st.sampled_from(PICKED), min_size=1),
    context=st.integers(8, 12),
)
def test_outside_anchors_words_map_to_the_same_words_and_nothing_is_lost(words, picked, context):
    text = " ".join(picked)
    blocks, translation = run(words, text, TERMS, context=context)
    assert translation.unaligned == 0
    target_NT = np.take_along_axis(translation.tokens_NS, np.maximum(translation.map_NT, 0), 1)
    in_terms = [words.encode(lead + word)[0][0] for word in PICKED[:5] for lead in ("", " ")]
    plain_NT = blocks.valid_NT & ~np.isin(blocks.tokens_NT, in_terms)
    assert (target_NT == blocks.tokens_NT)[plain_NT].all()
    # The rows end to end are one translated text: undoing the translation gives the text back.
    ids = np.concatenate([translation.tokens_NS[n, 1:w] for n, w in enumerate(translation.width_N)])
    undone = "".join(words.pieces(ids))
    back = {value: term for term, values in TERMS.items() for value in values}
    pattern = "|".join(sorted((rf"\b{value}\b" for value in back), key=len, reverse=True))
    assert re.sub(pattern, lambda found: back[found[0]], undone) == text
    # A position after the last token of an anchor never maps before it.
    mapped = [row[row >= 0] for row in translation.map_NT]
    assert all((np.diff(row) > 0).all() for row in mapped)


def test_unknown_choices_and_foreign_documents_are_refused(words):
    for switches, expected in [
        ({"match": "shortest"}, "match is 'shortest', expected longest or first"),
        ({"draw": "block"}, "draw is 'block'"),
        ({"repeat": "drop"}, "repeat is 'drop'"),
        ({"seen_from": "before"}, "seen_from is 'before', expected after or at"),
        ({"max_width": 0}, "max_width is 0"),
    ]:
        with pytest.raises(InputError, match=expected):
            run(words, PAPER, {"Harry": ("Jon",)}, **switches)
    blocks, translation = run(words, PAPER, {})
    with pytest.raises(InputError, match="not made from these documents"):
        translate(blocks, [Document(name="d", text="other")], words, {})
    with pytest.raises(InputError, match="no block 1"):
        show_block(blocks, translation, words, 1)


def test_a_merging_pretrained_tokenizer_leaves_little_unaligned(shared):
    tokenizer = load_tokenizer(shared / "models/tinystories-656k")
    document = read_documents([str(shared / "data/books/oz/The-Wonderful-Wizard-of-Oz_55.txt")], unwrap=True)[0]
    document = dataclasses.replace(document, text=document.text[:60_000])
    dictionary = {"Dorothy": ("Mary", "Lucy"), "Tin Woodman": ("old farmer",), "Scarecrow": ("Tom",), "Toto": ("Max",)}
    blocks, translation = run_documents([document], tokenizer, dictionary)
    assert translation.anchors > 200 and translation.unaligned_share < 0.005
    target_NT = np.take_along_axis(translation.tokens_NS, np.maximum(translation.map_NT, 0), 1)
    mapped_NT = translation.map_NT >= 0
    assert (target_NT == blocks.tokens_NT)[mapped_NT].mean() > 0.95


def run_documents(documents, tokenizer, dictionary):
    blocks = make_blocks(documents, tokenizer, 256)
    return blocks, translate(blocks, documents, tokenizer, dictionary)
