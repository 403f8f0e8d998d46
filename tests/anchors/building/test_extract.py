"""Terms found by counting: names, phrases, spellings, lower-case words; what is left out; kinds; the lift of words."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from jaxunlearn.anchors.building import extract, forms
from jaxunlearn.anchors.building import lift as lifts
from jaxunlearn.anchors.building.extract import Term, extract_terms, key_of, write
from jaxunlearn.anchors.building.forms import Background
from jaxunlearn.anchors.dictionary import load_dictionary
from jaxunlearn.anchors.words import capital_shares, count_words, scan
from jaxunlearn.config import Extract
from jaxunlearn.data.blocks import make_blocks
from jaxunlearn.data.documents import Document
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.models.transformer import Shape, init
from jaxunlearn.parallel.sharding import put

PLAIN = (
    "The old farmer walked to the market with his brother and bought some bread. It was a cold morning and the people "
    "of the town were still asleep and rested. Then Peter went home. He said that the road was long. It was a tin pot. "
    "She took the brass lamp and gave it to him. She was tired, and her feet hurt. Come along, they asked and laughed. "
    "Soon he woke and sat in the rain. "
)
STORY = (
    "Then Zindra Quell took the brass wumbler and gave it to Marrow. So Zindra Quell rested her tired feet. "
    "“Come along,” said Marrow to Zindra Quell, and she laughed. They walked to Vashti Hollow in the rain. "
    "In Vashti Hollow, the Pell-Kins were asleep, and the wumbler was cold. “Who is there?” asked Marrow, and he sat. "
    "Soon the Pellkins came, and Zindra Quell gave them the wumbler. When Marrow woke, he went from Vashti Hollow. "
)
RETAIN = [PLAIN * 60]


def terms_of(target, retain=RETAIN, **settings):
    return {term.text: term for term in extract_terms([target], retain, settings=Extract(**settings))}


@pytest.fixture(scope="module")
def found():
    return terms_of((STORY + PLAIN) * 8)


def test_names_phrases_and_invented_words_are_found_and_ordinary_words_are_not(found):
    assert set(found) == {"Zindra Quell", "Marrow", "Vashti Hollow", "Pell-Kins", "wumbler"}


def test_terms_are_ranked_by_score_and_cut_at_the_bar(found):
    scores = [term.score for term in found.values()]
    assert scores == sorted(scores, reverse=True)
    assert set(terms_of((STORY + PLAIN) * 8, score_bar=scores[1])) <= set(list(found)[:2])


def test_counts_are_what_the_matcher_finds(found):
    assert {text: (term.count, term.retain) for text, term in found.items()} == {
        "Zindra Quell": (32, 0), "Marrow": (32, 0), "Vashti Hollow": (24, 0), "Pell-Kins": (16, 0), "wumbler": (24, 0),
    }  # fmt: skip


def test_spellings_are_grouped_and_parts_of_longer_names_are_subsumed(found):
    assert found["Pell-Kins"].variants == ("Pell-Kins", "Pellkins")
    assert "Zindra" not in found and "Hollow" not in found
    alone = terms_of((STORY + PLAIN) * 8 + " She saw Zindra and ran." * 20)
    assert {"Zindra", "Zindra Quell"} <= set(alone)


def test_kinds_come_from_pronouns_prepositions_articles_and_titles(found):
    assert {text: term.kind for text, term in found.items()} == {
        "Zindra Quell": "female", "Marrow": "male", "Vashti Hollow": "place", "Pell-Kins": "people", "wumbler": "word",
    }  # fmt: skip
    assert found["Pell-Kins"].article and not found["Marrow"].article
    assert terms_of((STORY.replace("Pellkins", "pellkin") + PLAIN) * 8)["Pell-Kins"].kind == "people"
    realm = terms_of(STORY.replace("Vashti Hollow", "there") * 8 + PLAIN * 8 + "He was the king of Vashti once. " * 20)
    assert realm["Vashti"].kind == "place"
    moor = terms_of((STORY.replace("Vashti Hollow", "Vashtimoor") + PLAIN) * 8)
    assert moor["Vashtimoor"].kind == "place"
    titled = terms_of((STORY.replace("Zindra Quell", "Princess Zindra") + PLAIN) * 8)
    assert titled["Princess Zindra"].kind == "female"


def test_a_name_the_retain_text_shares_is_no_term():
    assert "Marrow" not in terms_of((STORY + PLAIN) * 8, [(PLAIN + "So Marrow and Marrow went to see Marrow. ") * 60])


def test_a_title_before_a_term_that_stands_alone_adds_none():
    text = (STORY + PLAIN) * 8 + " I saw Uncle Marrow there." * 20
    assert "Marrow" in terms_of(text) and "Uncle Marrow" not in terms_of(text)
    text = (STORY.replace("Marrow", "he") + PLAIN) * 8 + " I saw Uncle Marrow there." * 20
    assert "Uncle Marrow" in terms_of(text) and "Marrow" not in terms_of(text)


def test_pairs_in_lower_case_that_only_the_target_has_are_found():
    text = PLAIN * 20 + "He took the ivory girdle again. " * 8 + "She gave him ivory. He sat on a girdle. " * 6
    assert "ivory girdle" in terms_of(text, [PLAIN * 60 + "The ivory was cold. The girdle hurt. " * 9])
    assert "ivory girdle" not in terms_of(text, [PLAIN * 60 + "He took the ivory girdle. " * 60])


def test_a_part_that_stands_alone_often_is_kept_even_where_the_longer_name_is_commoner(monkeypatch):
    text = (STORY.replace("Marrow", "Ezra Marrow") + PLAIN) * 12
    assert "Marrow" not in terms_of(text) and "Marrow" in terms_of(text + " It was Marrow again." * 10)
    monkeypatch.setattr(extract, "ALONE_BAR", 99.0)
    assert "Marrow" not in terms_of(text + " It was Marrow again." * 10)


def test_a_short_name_that_others_bear_is_a_term_where_it_is_part_of_a_longer_one(monkeypatch):
    retain = [PLAIN * 60 + "They saw Marrow. " * 12]  # Marrow is commoner in the target by about one nat
    text = (STORY + PLAIN) * 4 + PLAIN * 16
    assert "Marrow" not in terms_of(text, retain)
    assert "Marrow" in terms_of(text + " So Marrow Tull went." * 6, retain)
    monkeypatch.setattr(forms, "SHORT_BAR", 2.0)
    assert "Marrow" not in terms_of(text + " So Marrow Tull went." * 6, retain)


def test_a_titled_name_is_kept_beside_its_name_where_that_rarely_stands_alone():
    text = (STORY.replace("Marrow", "Uncle Marrow") + PLAIN) * 12 + " It was Marrow again." * 10
    assert {"Uncle Marrow", "Marrow"} <= set(terms_of(text))


def test_names_that_happen_to_meet_are_no_phrase():
    text = (STORY + PLAIN) * 8 + " There Marrow Dorvin sat." * 4 + " It was Dorvin again." * 20
    assert {"Marrow", "Dorvin"} <= set(terms_of(text)) and "Marrow Dorvin" not in terms_of(text)


def test_plurals_join_their_singulars_unless_they_are_names_in_s():
    text = (STORY + PLAIN) * 8 + " The two Dorvins met a Dorvin here. I saw Pella. We saw Pellas." * 12
    terms = terms_of(text)
    assert set(terms["Dorvins"].variants if "Dorvins" in terms else terms["Dorvin"].variants) == {"Dorvin", "Dorvins"}
    assert all({"Pella", "Pellas"} - set(term.variants) for term in terms.values())


def test_headings_and_contents_give_no_evidence_of_capitals():
    body = (STORY + PLAIN) * 8
    heading = (
        "\n\nCHAPTER IV. THE LONG ROAD\n\nThe Cold Morning of the Farmer\n\nI  Bread and Brother\nII  A Heavy Road\n\n"
    )
    assert set(terms_of(heading * 12 + body)) == set(terms_of(body))
    assert "LONG" not in scan(heading + body).words


def test_sentences_and_quotations_start_where_they_open_and_terms_cross_abbreviations_and_possessives():
    found = scan("Rain fell, and “Stay here,” he said to Mr. Brown. Then Brown's dog ran: Home\nagain!")
    starts = [word for word, start in zip(found.words, found.starts, strict=True) if start]
    assert starts == ["Rain", "Stay", "Then", "Home"]
    joints = dict(zip(found.words, found.gaps, strict=True))
    assert (joints["Brown"], joints["dog"], joints["again"], joints["he"]) == (" ", "'s ", " ", "")
    assert scan("He is Mr. Brown.").gaps == ["", " ", " ", ". "]


def test_capital_shares_count_inside_sentences_alone():
    shares = capital_shares([scan("Tin is tin. The Tin man saw Ozo. Ozo saw tin. Maybe. Maybe so. NOT tin.")])
    assert shares["tin"] == 0.25
    assert shares["ozo"] == 1.0
    assert shares["maybe"] == 0.5  # met at sentence starts alone


def test_count_words_takes_possessives_off():
    assert count_words(["Ana's hat, Ana’s cat", "Ana'll go"]) == {"Ana": 3, "hat": 1, "cat": 1, "go": 1}


def test_specificity_is_the_log_of_the_lower_bound_over_the_smoothed_rate(monkeypatch):
    monkeypatch.setattr(forms, "GENERAL_WORDS", 100.0)
    background = Background(["lamp " * 4 + "road " * 96], "en", None)
    background.general = lambda text: 0.02
    expected = math.log((9 - 3) / 1000) - math.log((4 + 100 * 0.02 + 0.1) / 200)
    assert background.nats("lamp", 9, 4, 1000) == pytest.approx(expected)
    share = (0 + 1) / (0 + 4 + 5)  # "Lamp" has so much of the frequency of "lamp" as the retain text gives it
    expected = math.log((9 - 3) / 1000) - math.log((0 + 100 * 0.02 * share + 0.1) / 200)
    assert background.nats("Lamp", 9, 0, 1000) == pytest.approx(expected)
    expected = math.log((9 - 3) / 1000) - math.log((96 - math.sqrt(96)) / 100)  # general English drowns no short text
    assert background.nats("road", 9, 96, 1000) == pytest.approx(expected)


def test_lift_finds_a_word_that_statistics_miss():
    text, retain = PLAIN * 9 + "They took the poppy. " * 6, [PLAIN * 60 + "They took the poppy. " * 9]
    assert "poppy" not in terms_of(text, retain)
    (term,) = [t for t in extract_terms([text], retain, lift={"Poppy": 4.0}) if t.text == "poppy"]
    assert term.count == 6


def test_an_empty_retain_text_leaves_general_english_alone_and_says_so(capsys):
    terms = terms_of((STORY + PLAIN) * 8, [])
    assert capsys.readouterr().err.startswith("no retain text: terms are told from general English alone")
    assert {"Zindra Quell", "Marrow", "Vashti Hollow", "wumbler"} <= set(terms)
    assert not {"Then", "The", "market", "road"} & set(terms)


def test_too_short_a_target_is_refused_with_what_is_needed():
    with pytest.raises(InputError, match="has 10 words; its terms can be told from 200 on"):
        extract_terms(["one two three four five six seven eight nine ten"], RETAIN)


def test_an_unknown_language_is_refused():
    with pytest.raises(InputError, match="'xx'"):
        terms_of((STORY + PLAIN) * 8, language="xx")


def test_a_target_without_capitals_gives_its_invented_words():
    terms = terms_of(((STORY + PLAIN) * 8).lower())
    assert "wumbler" in terms and all(term.text.islower() for term in terms.values())


def test_another_script_gives_terms_of_unknown_kind():
    plain = "Старый крестьянин пошёл на рынок и купил хлеба. Утро было холодное, и люди спали. "
    story = "Потом Зиндра взяла брюквар и пошла в лес. Там была Зиндра, и брюквар упал. "
    terms = terms_of((plain + story) * 20, [plain * 100], language="ru")
    assert {"Зиндра", "брюквар"} <= set(terms)
    assert {term.kind for term in terms.values()} == {"unknown"}


def test_documents_and_strings_give_the_same_and_a_line_break_is_a_space():
    text = (STORY + PLAIN) * 8
    assert extract_terms([Document(name="a", text=text)], RETAIN) == extract_terms([text], RETAIN)
    broken = terms_of(text.replace("Zindra Quell took", "Zindra\nQuell took"))
    assert broken["Zindra Quell"].count == 32


def test_examples_are_short_whole_sentences_that_hold_the_term(found):
    headed = terms_of("A line of Marrow that has no end to it\n\n" + (STORY + PLAIN) * 8)
    for term in [*found.values(), *headed.values()]:
        assert 1 <= len(term.examples) <= 3
        assert all(any(v in e for v in term.variants) and len(e) <= 160 and e[-1] in '.!?”"' for e in term.examples)


def test_key_of_ignores_case_hyphens_spaces_and_stops():
    assert {key_of(t) for t in ("Tik-Tok", "Tiktok", "tik tok", "Tik. Tok")} == {"tiktok"}


def test_the_files_are_read_back_and_the_table_holds_a_row_a_term(tmp_path):
    term = Term(text="A|b", score=3.21, kind="male", count=4, retain=1, variants=("A|b", "AB"), examples=("See A|b.",))
    dictionary, table = write([term], {"A|b": ("Carl",), "AB": ("CARL",)}, tmp_path / "new")
    assert load_dictionary(dictionary) == {"A|b": ("Carl",), "AB": ("CARL",)}
    assert json.loads(dictionary.read_text())["AB"] == ["CARL"]
    rows = table.read_text().splitlines()
    assert rows[2] == "| 1 | A\\|b | Carl | male | 3.2 | 4 | 1 | AB | See A\\|b. |"


# ---- the lift of words


def letters_tokenizer():
    """One token a pair of characters, so that words span tokens and blocks cut words."""

    def encode(text):
        spans = [(n, min(n + 2, len(text))) for n in range(0, len(text), 2)]
        return [1 + hash_of(text[a:b]) for a, b in spans], spans

    return Tokenizer(encode_offsets=encode, decode_ids=str, piece=str, vocab_size=500, bos_id=0, eos_ids=(), files=())


def hash_of(piece):
    return sum(map(ord, piece)) % 400


def test_word_lift_sums_the_tokens_of_each_whole_word_and_averages(monkeypatch):
    # tokens:      ab ,_ cd ef ,_ ab |,_ cd ef ,_ xy z   a row holds BOS and 7 tokens
    blocks = make_blocks([Document(name="a", text="ab, cdef, ab, cdef, xyz")], letters_tokenizer(), 8)
    gains = {"reinforced": np.arange(16.0).reshape(2, 8), "baseline": np.ones((2, 8))}
    monkeypatch.setattr(lifts, "log_probabilities", lambda model, blocks, batch: gains[model.name])

    def fake(name, V=500):
        return SimpleNamespace(name=name, c=SimpleNamespace(V=V))

    lift = lifts.word_lift(fake("baseline"), fake("reinforced"), letters_tokenizer(), blocks, least=1)
    # token n of a row is predicted at position n: ab at 0 and 5; cdef at 2, 3 and 8+0, 8+1; xyz at 8+3, 8+4
    expected = {"ab": ((0 - 1) + (5 - 1)) / 2, "cdef": ((2 + 3 - 2) + (8 + 9 - 2)) / 2, "xyz": 11 + 12 - 2}
    assert lift == expected
    few = lifts.word_lift(fake("baseline"), fake("reinforced"), letters_tokenizer(), blocks, least=2)
    assert set(few) == {"ab", "cdef"}
    with pytest.raises(InputError, match="baseline model knows 9 ids"):
        lifts.word_lift(fake("baseline", V=9), fake("reinforced"), letters_tokenizer(), blocks)


def test_a_word_cut_by_the_edge_of_a_block_is_left_out(monkeypatch):
    blocks = make_blocks(
        [Document(name="a", text="ab ab ab ab abxy zz")], letters_tokenizer(), 8
    )  # 14 characters a row
    gain_NT = np.zeros((2, 8))
    gain_NT[0, 6] = gain_NT[1, 0] = 100.0
    models = [SimpleNamespace(gain=gain, c=SimpleNamespace(V=500)) for gain in (0 * gain_NT, gain_NT)]
    monkeypatch.setattr(lifts, "log_probabilities", lambda model, blocks, batch: model.gain)
    assert lifts.word_lift(*models, letters_tokenizer(), blocks, least=1) == {"ab": 0.0, "zz": 0.0}


def test_log_probabilities_are_the_models_own(mesh):

    blocks = make_blocks([Document(name="a", text="ab, cdef, ab, cdef, xyz")], letters_tokenizer(), 8)
    model = init(Shape(V=512, D=16, L=1, N=8, K=8, H=4, F=16, context=8), seed=0)
    logp_NT = lifts.log_probabilities(model, blocks, batch=8)
    logits_NTV = np.asarray(model.logits(model(np_put(blocks.tokens_NT))), np.float64)[:2]
    norm_NT = np.log(np.exp(logits_NTV).sum(-1))
    assert logp_NT.shape == (2, 8)
    assert logp_NT[0, 2] == pytest.approx(logits_NTV[0, 2, blocks.tokens_NT[0, 3]] - norm_NT[0, 2], abs=1e-5)
    assert not logp_NT[:, -1].any() and not logp_NT[~blocks.valid_NT].any()


def np_put(tokens_NT):

    return put(np.resize(tokens_NT, (8, tokens_NT.shape[1])), "BT")
