"""Project Gutenberg's header and trailer: old and new forms go, quotations and other texts stay."""

import pytest

from jaxunlearn.data.documents import read_documents
from jaxunlearn.data.gutenberg import without_licence

LINE = "The lamp stood on the hill, and nobody lit it.\n\n"
STORY = "THE LOST LAMP\n\nby Ann Example\n\n" + LINE * 400 + "THE END\n"
LICENCE = "Updated editions will replace the previous one.\n\n" + "Copying Project Gutenberg-tm.\n" * 500
NEW = "The Project Gutenberg eBook of The Lost Lamp\n\nThis ebook is for the use of anyone anywhere.\n\nTitle: X\n\n"
SMALL = (
    "*****The Project Gutenberg Etext of The Lost Lamp*****\n\n**Welcome To The World of Free Plain Vanilla Texts**\n\n"
    "***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN ETEXTS**START***\n" + "Why is this here? You know: lawyers.\n" * 200
)
HEADERS = {
    "new": NEW + "*** START OF THE PROJECT GUTENBERG EBOOK THE LOST LAMP ***\n\n\n",
    "this": NEW + "***START OF THIS PROJECT GUTENBERG EBOOK THE LAMP***\n\n\nProduced by A. Reader and B. Typist\n\n\n",
    "wrapped": NEW
    + "*** START OF THIS PROJECT GUTENBERG EBOOK THE\nLOST LAMP ***\n\nE-text prepared by A. Reader\nand "
    "the Online Distributed Proofreading Team (https://www.pgdp.net)\n\n",
    "small print": SMALL + "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*\n\n\n\n",
    "both": SMALL
    + "*END THE SMALL PRINT! FOR PUBLIC DOMAIN EBOOKS*Ver.02/11/02*END*\n\nThe Project Gutenberg Etext of "
    "X\n\n*** START OF THE PROJECT GUTENBERG EBOOK, THE LOST LAMP ***\n\nThis etext was prepared by A. Reader.\n\n",
    "no marker": "\n\nProduced by A. Reader and the Online Distributed\nProofreading Team\n\n\n",
    "none": "",
}
TRAILERS = {
    "new": "\n\n*** END OF THE PROJECT GUTENBERG EBOOK THE LOST LAMP ***\n\n" + LICENCE,
    "both": "\n\nEnd of Project Gutenberg's The Lost Lamp, by Ann Example\n\n"
    "*** END OF THIS PROJECT GUTENBERG EBOOK THE LOST LAMP ***\n\n***** This file should be named 1.txt\n" + LICENCE,
    "etext": "\n\n\nEnd of The Project Gutenberg Etext of The Lost Lamp\n\n",
    "wrapped": "\n\nEnd of the Project Gutenberg EBook of The Lost Lamp, by\nAnn Example\n\n***\n",
    "french": "\n\nFin du Project Gutenberg Etext de La Lampe\n",
    "small print": "\n\n***START**THE SMALL PRINT!**FOR ETEXTS**START***\n\nWhy is this Small Print?\n",
    "none": "",
}


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("trailer", TRAILERS)
def test_the_book_alone_is_left(header, trailer):
    assert without_licence(HEADERS[header] + STORY + TRAILERS[trailer]) == STORY


@pytest.mark.parametrize(
    "quoted",
    [
        "*** START OF THE PROJECT GUTENBERG EBOOK THE LAMP ***",
        "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*",
        "End of Project Gutenberg's The Lamp, by A. Writer",
        "*** END OF THE PROJECT GUTENBERG EBOOK THE LAMP ***",
        "Produced by a man of the name of Green",
        "He had read of Project Gutenberg.",
    ],
)
@pytest.mark.parametrize("lines", [4, 200, 2000])
def test_a_book_that_quotes_a_line_is_untouched(quoted, lines):
    half = LINE * lines
    for text in (half + quoted + "\n\n" + half, half + "He read:\n" + quoted + "\nand so on.\n\n" + half):
        assert without_licence(text) == text
        assert without_licence(HEADERS["new"] + text + TRAILERS["new"]) == text.rstrip() + "\n"


def test_texts_without_a_licence_stay_and_a_licence_alone_is_not_emptied():
    text = LINE * 9 + "He read:\nEnd of Project Gutenberg's lamp, and wept.\n"
    assert without_licence(text) == text
    for text in ("", "  \n\n  Two\n lines  \n\n", "Produced by her own hand, the cake was large.\n\nIt fell.\n"):
        assert without_licence(text) == text
    assert without_licence(HEADERS["new"] + TRAILERS["new"]) == HEADERS["new"] + TRAILERS["new"]


def test_files_are_read_without_it_and_one_line_says_so(tmp_path):
    path, said = tmp_path / "lamp.txt", []
    whole = HEADERS["this"] + STORY + TRAILERS["both"]
    path.write_bytes(whole.replace("\n", "\r\n").encode("utf-8-sig"))
    assert read_documents([str(path)], say=said.append)[0].text == STORY
    left, all_ = len(whole) - len(STORY), len(whole)
    assert said == [f"  {path}: Project Gutenberg's licence is left out, {left:,} of {all_:,} characters"]
    path.write_text(STORY)
    assert read_documents([str(path)], say=said.append)[0].text == STORY and len(said) == 1
