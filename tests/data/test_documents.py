"""Reading texts, folders, TFDS and questions; unwrapping lines."""

import json

import numpy as np
import pytest

from jaxunlearn.data.documents import FEATURES, read_documents, refuse_foreign_classes, unwrap_lines
from jaxunlearn.errors import InputError


def test_files_folders_and_globs_are_read_in_order_and_normalised(tmp_path):
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbftwo\r\nlines\r")
    (tmp_path / "a.txt").write_text("first")
    (tmp_path / "c.md").write_text("not text")
    assert [d.text for d in read_documents([str(tmp_path)])] == ["first", "two\nlines\n"]
    both = read_documents([str(tmp_path / "[b]*"), str(tmp_path / "a.txt")])
    assert [d.text for d in both] == ["two\nlines\n", "first"]
    assert read_documents([str(tmp_path / "a.txt")])[0].name == str(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", b"", "is empty"),
        ("a.txt", b" \n", "is empty"),
        ("a.txt", b"caf\xe9", "byte 0xe9 at offset 3"),
        ("a.txt", b"ab\0c", "zero byte at offset 2"),
        ("a.md", b"x", "holds no .txt file"),
    ],
)
def test_files_that_are_not_text_are_refused(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=expected):
        read_documents([str(tmp_path)])


def test_texts_are_composed_and_positions_are_those_of_the_composed_text(tmp_path):
    (tmp_path / "a.txt").write_text("Zoe\u0308 and cafe\u0301")
    assert read_documents([str(tmp_path / "a.txt")])[0].text == "Zo\u00eb and caf\u00e9"
    (tmp_path / "q.jsonl").write_text('{"question": "Zoe\u0308?", "answer": "No."}', encoding="utf-8-sig")
    assert read_documents([str(tmp_path / "q.jsonl")])[0].text == "Question: Zo\u00eb?\nAnswer: No."


def test_missing_sources_are_refused(tmp_path):
    for source, expected in [("none.txt", "does not exist"), ("*.txt", "no file matches")]:
        with pytest.raises(InputError, match=expected):
            read_documents([str(tmp_path / source)])
    with pytest.raises(InputError, match="no text was given"):
        read_documents([])


def test_tfds_sources_are_understood_or_refused(tmp_path):
    for source in ("tfds:name", "tfds:/train", "tfds:name/train?fild=text"):
        with pytest.raises(InputError, match="not understood"):
            read_documents([source])
    pytest.importorskip("tensorflow_datasets")
    with pytest.raises(InputError, match="not prepared on disk"):
        read_documents([f"tfds:ai2_arc/train?data_dir={tmp_path}"])


@pytest.mark.parametrize(
    ("most", "kept"),
    [
        (0, "one two\n\nthree four\nfive\n\nsix\n"),
        (99, "one two\n\nthree four\nfive\n\nsix\n"),
        (24, "one two\n\nthree four\nfive\n"),
        (23, "one two\n"),
        (7, "one two\n"),
    ],
)
def test_a_text_is_cut_after_the_last_whole_paragraph(tmp_path, most, kept):
    (tmp_path / "a.txt").write_text("one two\n\nthree four\nfive\n\nsix\n")
    assert read_documents([str(tmp_path)], most=most)[0].text == kept


def test_a_text_without_paragraphs_is_cut_after_a_line_and_questions_stay_whole(tmp_path):
    (tmp_path / "a.txt").write_text("one two\nthree\nfour\n")
    (tmp_path / "q.json").write_text(json.dumps([{"question": "Who sees?", "answer": "Nobody at all."}]))
    found = read_documents([str(tmp_path / "a.txt"), str(tmp_path / "q.json")], most=14)
    assert found[0].text == "one two\nthree\n" and found[1].text.endswith("Nobody at all.")
    with pytest.raises(
        InputError, match=r"a.txt: its first paragraph is longer than 6 characters; raise text.most_characters"
    ):
        read_documents([str(tmp_path / "a.txt")], most=6)


def test_a_prepared_tfds_set_is_read(tmp_path, capfd):
    pytest.importorskip("array_record")
    pytest.importorskip("importlib_resources")
    tfds = pytest.importorskip("tensorflow_datasets")

    class JaxunlearnTiny(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {"text": tfds.features.Text(), "n": tfds.features.Scalar(np.int32)}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            yield from enumerate([{"text": "héllo\r\n", "n": 0}, {"text": "", "n": 1}])

    JaxunlearnTiny(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    source = f"tfds:jaxunlearn_tiny/train?data_dir={tmp_path}"
    assert [d.text for d in read_documents([source])] == ["héllo\n"]
    for wrong, expected in [
        (source + "&field=body", "no field 'body'; it has n, text"),
        (source + "&field=n", "expected text"),
        (source.replace("/train", "/test"), "not prepared on disk"),
    ]:
        with pytest.raises(InputError, match=expected):
            read_documents([wrong])


@pytest.mark.parametrize(
    "content",
    [
        {"pythonClassName": "evil.module.Feature"},
        {"pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
         "featuresDict": {"features": {"text": {"pythonClassName": "os.path.Text"}}}},
        {"python_class_name": "evil.Feature"},
        {"type": "evil.Feature", "content": {}},
        {"pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
         "jsonFeature": {"json": json.dumps({"x": {"type": "evil.Feature", "content": ""}})}},
        {"pythonClassName": "tensorflow_datasets.core.features.evil.Feature"},
    ],
)  # fmt: skip
def test_a_class_that_features_json_names_is_not_imported(tmp_path, content):
    folder = tmp_path / "mine" / "plain" / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "features.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"names the class '.*', which would be imported"):
        refuse_foreign_classes("mine/plain", [tmp_path], "tfds:mine/plain/train")
    with pytest.raises(InputError, match="no plain name"):
        refuse_foreign_classes("huggingface:mine", [tmp_path], "tfds:huggingface:mine/train")
    (folder / "features.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"is not valid JSON.*prepare the data set again"):
        refuse_foreign_classes("mine", [tmp_path], "tfds:mine/train")
    (folder / "features.json").write_text(json.dumps({"pythonClassName": FEATURES + "text_feature.Text"}))
    refuse_foreign_classes("mine:1.0.0", [tmp_path], "tfds:mine/train")


WRAPPED = """The Book

 Contents

   1.  The Storm
   2.  The Road


CHAPTER IV

The Road

The tall old man went slowly down to the sea-
side, laughed, and there he met the lazy Tin
Woodman, who was waiting there for a ship--a
big one, for the king had promised him one--
and said so.


  Sing, sing,
    all day long

Yours truly,
Ann

IV.

12.

I went home alone in the rain and the dark of
night.
"""


def test_wrapped_lines_join_and_verse_letters_and_titles_keep_theirs():
    assert unwrap_lines(WRAPPED).split("\n\n") == [
        "The Book",
        "The Road",
        "The tall old man went slowly down to the sea-side, laughed, and there he met the lazy Tin Woodman, who was "
        "waiting there for a ship--a big one, for the king had promised him one--and said so.",
        "  Sing, sing,\n    all day long",
        "Yours truly,\nAnn",
        "I went home alone in the rain and the dark of night.\n",
    ]


@pytest.mark.parametrize("blank", ["", " \t", "\f", "\xa0", "\r", "\u2003\u3000", "\x1c", "\f\n\n\xa0"])
def test_a_line_of_any_white_space_ends_a_paragraph(blank):
    text = "  A form feed ends\nthe page.\nAnd a new one\nbegins.\n"
    pages = text.replace("page.\n", f"page.\n{blank}\n")
    assert unwrap_lines(pages) == "  A form feed ends the page.\n\nAnd a new one begins.\n"
    assert unwrap_lines(f"{blank}\n{pages}{blank}") == unwrap_lines(pages)


def test_text_without_hard_breaks_stays(tmp_path):
    text = "A long line that goes on and on and on.\n\nCivil words.\n\nI am.\n"
    assert unwrap_lines(text) == text
    assert unwrap_lines("\n \n") == ""
    (tmp_path / "a.txt").write_text("one two three four five\nsix\n")
    assert read_documents([str(tmp_path)], unwrap=True)[0].text == "one two three four five six\n"
