"""Every link in the pages leads somewhere: to a file, and to a heading of it."""

import re
import unicodedata

import pytest
from support.paths import ROOT

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)|<(?:img|a)[^>]+(?:src|href)=\"([^\"]+)\"")


def prose(path):
    """Return a page without its blocks and spans of code, in which nothing is a link."""
    text = re.sub(r"^(```+|~~~+).*?^\1", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"(?<!\\)(`+)(?!`).+?(?<!`)\1(?!`)", lambda found: f"`{'x' * len(found[0])}`", text)


def anchors(path):
    """Return the anchors of a page's headings as GitHub makes them; of equal ones the second ends in -1."""
    text = re.sub(r"^(```+|~~~+).*?^\1", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    found: list[str] = []
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", text, re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        kept = [c for c in words if c in " -_" or unicodedata.category(c)[0] in "LMN"]
        slug = "".join(kept).replace(" ", "-")
        found.append(slug if slug not in found else f"{slug}-{found.count(slug)}")
    return found


def faults(path, root=ROOT):
    """Return what is wrong with the links of a page: (link, why)."""
    wrong = []
    for link in (a or b for a, b in LINK.findall(prose(path))):
        name, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            wrong += [] if link.startswith(("https://", "mailto:")) else [(link, "expected https:")]
            continue
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or not target.is_relative_to(root):
            wrong.append((link, "no such file"))
        elif anchor and (target.suffix != ".md" or anchor not in anchors(target)):
            wrong.append((link, f"no such heading; there are {anchors(target) if target.suffix == '.md' else 'none'}"))
    return wrong


@pytest.mark.parametrize("path", PAGES, ids=[p.relative_to(ROOT).as_posix() for p in PAGES])
def test_every_link_leads_to_a_file_and_a_heading(path):
    assert not faults(path)


def test_what_a_link_can_have_wrong_is_seen(tmp_path):
    (tmp_path / "b.md").write_text("# A `b`, c & d\n## Once\n## Once\n```\n# no heading\n```\n")
    (tmp_path / "a.md").write_text(
        "[1](b.md) [2](b.md#a-b-c--d) [3](b.md#once-1) [4](#here) ![5](https://example.org/x.png)\n# Here\n"
        "`[code](nowhere.md)` [6](c.md) [7](b.md#no-heading) [8](#once) [9](http://example.org) [10](../b.md)\n"
        "```\n[block](nowhere.md)\n```\n"
    )
    assert anchors(tmp_path / "b.md") == ["a-b-c--d", "once", "once-1"]
    found = [link for link, _ in faults(tmp_path / "a.md", tmp_path)]
    assert found == ["c.md", "b.md#no-heading", "#once", "http://example.org", "../b.md"]


def test_the_site_lists_pages_that_there_are():
    """docs/hooks.py makes three pages, and adds what is not listed to the first group."""
    listed = re.findall(r"^ +- ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    made = {"index.md", "contributing.md", "changelog.md"}
    assert len(listed) > 10 and len(listed) == len(set(listed))
    assert set(listed) - made <= {p.name for p in (ROOT / "docs").glob("*.md")}
