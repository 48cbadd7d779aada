"""Look whether the built site is whole and asks nobody else: `check_site.py FOLDER [--external]`.

Every link within the site must lead to a file, and to a place that is there; nothing that a
browser loads by itself may come from elsewhere. With --external what is outside is listed.
"""

from __future__ import annotations

import argparse
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

LOADED: Final = {
    "audio": ("src",), "embed": ("src",), "iframe": ("src",), "img": ("src", "srcset"),
    "input": ("src",), "link": ("href",), "object": ("data",), "script": ("src",),
    "source": ("src", "srcset"), "track": ("src",), "use": ("href",), "video": ("src", "poster"),
}  # fmt: skip
"""What a browser fetches without being asked."""
IN_STYLES: Final = re.compile(r"""(?:url\(\s*|@import\s+)['"]?((?:https?:)?//[^'")\s]+)""")
IN_SCRIPTS: Final = re.compile(
    r"""(?:fetch|import|src\s*=|importScripts)\(?\s*['"](https?://[^'"]+)"""
)


class Page(HTMLParser):
    """Gathers what a page loads, where its links lead, and the places on it."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.places: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of a tag."""
        values = {name: value for name, value in attrs if value is not None}
        self.places |= {values[name] for name in ("id", "name") if name in values}
        self.loads += [values[name] for name in LOADED.get(tag, ()) if name in values]
        self.loads += IN_STYLES.findall(values.get("style", ""))
        if tag == "a" and "href" in values:
            self.links.append(values["href"])


def main() -> None:
    """Print what is wrong; exit 1 where something is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path, metavar="FOLDER")
    parser.add_argument("--external", action="store_true", help="list the addresses outside")
    options = parser.parse_args()
    pages = read_pages(options.site)
    if not pages:
        sys.exit(f"{options.site}: there are no pages")
    wrong = [*find_loads(options.site, pages), *find_dead_links(options.site, pages)]
    outside = sorted({link for page in pages.values() for link in page.links if is_external(link)})
    if options.external:
        print("\n".join(outside))
    n_links = sum(len(page.links) for page in pages.values())
    print(f"{len(pages)} pages, {n_links:,} links, {len(outside)} addresses outside")
    if wrong:
        sys.exit("\n".join(wrong))


def read_pages(site: Path) -> dict[Path, Page]:
    """Return every page of the site."""
    pages: dict[Path, Page] = {}
    for path in sorted(site.rglob("*.html")):
        if path.name == "webpack-macros.html":
            # A template that the theme leaves behind.
            continue
        pages[path] = Page()
        pages[path].feed(path.read_text(encoding="utf-8"))
    return pages


def is_external(address: str) -> bool:
    """Return whether an address leaves the site."""
    return bool(urlsplit(address).netloc)


def find_loads(site: Path, pages: dict[Path, Page]) -> list[str]:
    """Return a line for each thing that would be fetched from elsewhere, or that is not there."""
    wrong = []
    for path, page in pages.items():
        for address in page.loads:
            parts = urlsplit(address)
            if parts.scheme == "data":
                continue
            target = path.parent / unquote(parts.path)
            if is_external(address) or not target.exists():
                wrong.append(f"{path.relative_to(site)}: loads {address}")
    for suffix, pattern in (("css", IN_STYLES), ("js", IN_SCRIPTS)):
        for path in sorted(site.rglob(f"*.{suffix}")):
            found = pattern.findall(path.read_text(encoding="utf-8"))
            wrong += [f"{path.relative_to(site)}: loads {address}" for address in found]
    return wrong


def find_dead_links(site: Path, pages: dict[Path, Page]) -> list[str]:
    """Return a line for each link within the site that leads nowhere."""
    wrong = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = pages.get(site / target.relative_to(site.resolve())) if parts.path else page
            place = unquote(parts.fragment)
            if not target.is_file() or (place and known and place not in known.places):
                wrong.append(f"{path.relative_to(site)}: {link} leads nowhere")
    return wrong


if __name__ == "__main__":
    main()
