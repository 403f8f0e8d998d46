"""Bring what lies outside docs/ into the site: README, CONTRIBUTING, CHANGELOG as pages, what they link to as files."""

import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(?=[)#])")


def on_config(config):
    """List the pages that mkdocs.yml does not name at the end of its first group."""
    groups = [pages for entry in config.nav if isinstance(entry, dict) for pages in entry.values()]
    named = {page for pages in groups for page in pages}
    groups[0] += sorted(path.name for path in (ROOT / "docs").glob("*.md") if path.name not in named)
    return config


def on_files(files, config):
    """Add the pages of the root, and each file outside docs/ that a page links to."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=_moved(ROOT / name, (ROOT / name).read_text("utf-8"))))
    texts = [(ROOT / "docs" / f.src_uri, (ROOT / "docs" / f.src_uri).read_text("utf-8")) for f in files
             if f.is_documentation_page() and f.src_uri not in PAGES.values()]  # fmt: skip
    texts += [(ROOT / name, (ROOT / name).read_text("utf-8")) for name in PAGES]
    wanted = {_inside(page, link) for page, text in texts for link in LINK.findall(text)}
    for path in sorted(p for p in wanted if p and p.is_file()):
        uri = f"files/{path.relative_to(ROOT).as_posix()}"
        files.append(File.generated(config, uri, content=path.read_bytes()))
    return files


def on_page_markdown(markdown, page, config, files):
    """Point a page's links to where the site has what they name."""
    source = ROOT / "docs" / page.file.src_uri
    return markdown if page.file.src_uri in PAGES.values() else _moved(source, markdown)


def _inside(page: Path, link: str) -> Path | None:
    """Return the file that a link of a page names, where it lies in the project and outside docs/ and is no page."""
    path = (page.parent / link).resolve()
    outside = path.is_relative_to(ROOT) and not path.is_relative_to(ROOT / "docs")
    return path if outside and path.name not in PAGES else None


def _moved(page: Path, text: str) -> str:
    """Return a page's text with its links as they are from the site's own folder of pages."""

    def there(found: re.Match) -> str:
        path = (page.parent / found[1]).resolve()
        if path.parent == ROOT and path.name in PAGES:
            return PAGES[path.name]
        if path.is_relative_to(ROOT / "docs"):
            return path.relative_to(ROOT / "docs").as_posix()
        return f"files/{path.relative_to(ROOT).as_posix()}" if path.is_relative_to(ROOT) and path.exists() else found[1]

    return LINK.sub(there, text)
