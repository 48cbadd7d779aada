"""The documentation as a site: what shows without building it, and building it where Sphinx is."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CHECK = ROOT / "scripts" / "check_site.py"
GALLERY_LIMIT = 1_500_000


def load_gallery() -> Any:
    pytest.importorskip("skimage")
    spec = importlib.util.spec_from_file_location("g", ROOT / "scripts" / "picture_gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["g"] = module
    spec.loader.exec_module(module)
    return module


def find_slugs(text: str) -> set[str]:
    """Return the anchors of a page's headings, as repositories' browsers and MyST make them."""
    outside = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    found: set[str] = set()
    for heading in re.findall(r"(?m)^#{1,6} (.+)$", outside):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        number = 0
        while (name := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(name)
    return found


def test_links_lead_to_headings_that_are_there() -> None:
    broken = []
    n_links = 0
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        for target, place in re.findall(r"\]\(([^)#:\s]*)#([^)\s]+)\)", text):
            n_links += 1
            there = (page.parent / target) if target else page
            if place not in find_slugs(there.read_text(encoding="utf-8")):
                broken.append(f"{page.name}: {target}#{place}")

    assert n_links > 10
    assert broken == []


def test_every_page_can_be_reached_from_its_index() -> None:
    lost = []
    for index in DOCS.rglob("index.md"):
        text = index.read_text(encoding="utf-8")
        lost += [
            page.relative_to(DOCS).as_posix()
            for page in index.parent.glob("*.md")
            if page != index and f"({page.name}" not in text
        ]

    assert lost == []


def test_the_gallery_shows_what_its_script_draws() -> None:
    gallery = load_gallery()
    names = {one.name for section in gallery.SECTIONS for one in section.shown}
    pictures = list((DOCS / "gallery").glob("*.webp"))

    assert (DOCS / "gallery" / "index.md").read_text(encoding="utf-8") == gallery.build_page()
    assert {path.stem for path in pictures} == names
    assert sum(path.stat().st_size for path in pictures) < GALLERY_LIMIT


@pytest.mark.parametrize(
    ("page", "wrong"),
    [
        ('<img src="https://example.org/a.png">', "loads https://example.org/a.png"),
        ('<link rel="stylesheet" href="gone.css">', "loads gone.css"),
        ('<a href="other.html">x</a>', "other.html leads nowhere"),
        ('<a href="#there">x</a>', "#there leads nowhere"),
        ('<p style="background: url(//example.org/b.png)">', "loads //example.org/b.png"),
        ('<h1 id="here">x</h1><a href="#here">x</a><a href="https://example.org">y</a>', ""),
    ],
)
def test_a_site_is_looked_through(page: str, wrong: str, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text(page)

    done = subprocess.run(
        [sys.executable, str(CHECK), str(site)], capture_output=True, text=True, check=False
    )

    assert done.returncode == bool(wrong), done.stderr
    assert wrong in done.stderr


def test_styles_that_load_from_elsewhere_are_found(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>x</p>")
    (tmp_path / "site.css").write_text('@import "https://example.org/font.css";')

    done = subprocess.run(
        [sys.executable, str(CHECK), str(tmp_path)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "site.css: loads https://example.org/font.css" in done.stderr


def test_the_site_builds_strictly_and_is_whole(tmp_path: Path) -> None:
    pytest.importorskip("myst_nb", reason="the group `docs` is not installed")
    pytest.importorskip("pydata_sphinx_theme", reason="the group `docs` is not installed")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-n"]

    for step in ([*command, str(DOCS), str(tmp_path)], [sys.executable, str(CHECK), str(tmp_path)]):
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
