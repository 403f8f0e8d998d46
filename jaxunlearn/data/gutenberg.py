"""Leave out what Project Gutenberg puts around a book: its licence header, its credits and its licence trailer.

A header is cut at its last marker ("*** START OF THE PROJECT GUTENBERG EBOOK", or "*END*THE SMALL PRINT!" until 2003)
where the file begins with Project Gutenberg's own lines. A trailer is cut from its first marker ("End of Project
Gutenberg's ...", "*** END OF THE PROJECT GUTENBERG EBOOK") where its licence follows or the file ends. A book that
quotes such a line therefore keeps its text.
"""

import itertools
import re

_PG = r"project\s+gutenberg"
_BOOK = r"(?:e-?books?|e-?texts?)"
_START = re.compile(
    rf"^[ \t]*(?:\*{{3}}[ \t]*start of th(?:e|is) {_PG} {_BOOK}(?:[^*\n]*\n){{0,4}}?[^\n]*\*{{3}}"  # it may be wrapped
    rf"|\*{{3}}[ \t]*start of th(?:e|is) {_PG} {_BOOK}"
    r"|\*end\*?[ \t]*the small print)[^\n]*(?:\n|\Z)",
    re.I | re.M,
)
_END = re.compile(
    rf"^[ \t]*(?:\*{{3}}[ \t]*end of th(?:e|is) {_PG} {_BOOK}"
    rf"|\*{{3}}[ \t]*start: full license|\*{{3}}start\*\*the small print"
    rf"|\W*(?:this is )?(?:the )?(?:end|ende|fin|fine|einde)\b[^\n]{{0,24}}\b{_PG})",
    re.I | re.M,
)
_LICENCE = re.compile(
    rf"{_PG}\S* license|updated editions will replace|this file should be named|general terms of use|small print"
    rf"|^[ \t]*\*{{3}}[ \t]*end of th(?:e|is) {_PG} {_BOOK}",
    re.I | re.M,
)
_CREDIT = re.compile(
    r"\W*(?:produced|prepared|transcribed|scanned|proofed|(?:this )?(?:html|e-?text|e-?book|file)[^.\n]{0,40}"
    r"(?:produced|prepared|transcribed|scanned))\b[^.]{0,60}\b(?:by|from)\b",
    re.I,
)
_VOLUNTEERS = re.compile(rf"{_PG}|proofread(?:ers|ing)|pgdp\.net|internet archive", re.I)
_PARAGRAPH = re.compile(r"\s*?^[ \t]*\S[^\n]*(?:\n[ \t]*\S[^\n]*)*(?:\n|\Z)", re.M)
_FIRST, _HEADER, _TRAILER = 1000, 30_000, 40_000  # characters, at most: a header's first lines, a header, a trailer
_LINES = 12  # of a credit


def without_licence(text: str) -> str:
    """Return a text without Project Gutenberg's header, credits and trailer; one that has none is returned as it is.

    Line breaks must be "\\n". Blank lines that stood around the parts left out go with them.
    """
    begin = _body_begins(text)
    end = _body_ends(text, begin)
    if not text[begin:end].strip() or (begin, end) == (0, len(text)):
        return text
    body = text[begin:end]
    body = re.sub(r"\A(?:[ \t]*\n)+", "", body) if begin else body
    return body.rstrip() + "\n" if end < len(text) else body


def _body_begins(text: str) -> int:
    """Return the character at which the book begins, 0 without a header."""
    begin = 0
    for marker in _START.finditer(text, 0, _HEADER):
        before = text[begin : marker.start()]
        if before.strip() and not re.search(_PG, before[:_FIRST], re.I):
            break  # the marker is quoted in the book
        begin = marker.end()
    while (paragraph := _PARAGRAPH.match(text, begin)) and _is_credit(paragraph.group(), begin > 0):
        begin = paragraph.end()
    return begin


def _is_credit(paragraph: str, after_header: bool) -> bool:
    """Return whether a paragraph names who made the file; without a header before it, only if it is surely that."""
    if paragraph.strip().count("\n") >= _LINES or not _CREDIT.match(paragraph):
        return False
    return after_header or bool(_VOLUNTEERS.search(paragraph))


def _body_ends(text: str, begin: int) -> int:
    """Return the character at which the book ends, the text's length without a trailer."""
    for marker in _END.finditer(text, max(begin, len(text) - _TRAILER)):
        first = text.rfind("\n\n", 0, marker.start() + 1)
        starred = marker.group().lstrip().startswith("*")
        if not starred and text[max(first, 0) : marker.start()].strip():
            continue  # inside a paragraph of the book
        last = _PARAGRAPH.match(text, marker.start())
        after = text[last.end() if last else marker.end() :]
        if not after.strip(" \t\n*") or any(map(_LICENCE.search, _first_paragraphs(after, 2))):
            return marker.start()
    return len(text)


def _first_paragraphs(text: str, count: int) -> list[str]:
    return [match.group() for match in itertools.islice(_PARAGRAPH.finditer(text), count)]
