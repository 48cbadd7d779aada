"""How Sphinx makes a site of these pages, which stay plain Markdown with relative links.

`nox -s site` builds it, strictly and without a network. Which page stands where is said here and
not in the pages, so that they read well in a repository's browser too.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT: Final = Path(__file__).parents[1]
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
REPOSITORY: Final = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"].rstrip(
    "/"
)
"""As in a browser; empty while the project has no public address."""
CONTENTS: Final = {
    "index": ("quickstart", "tutorials/index", "how-to/index", "reference/index",
              "explanation/index", "gallery/index"),
    "tutorials/index": ("course-project", "clip-to-chart", "improve-a-class", "own-labels",
                        "web-app", "*", "../notebooks/*"),
    "how-to/index": ("predict", "video", "serve", "lite", "download", "prepare", "check",
                     "own-faces", "train", "evaluate", "compare", "explain", "export", "models",
                     "*"),
    "reference/index": ("cli", "configuration", "python", "json", "files", "*"),
    "explanation/index": ("design", "protocol", "results", "reliability", "scale", "*"),
}  # fmt: skip
"""The pages under each page, in their order, where they exist; `*` takes what is left."""
_OUTSIDE: Final = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+)([A-Za-z_.-]+(?:/[^)\s]*)?)\)")
"""A link that goes up; whether it leaves the documentation depends on the page's place."""

project = "fercli"
author = "The fercli authors"
project_copyright = author
version = re.findall(
    r'__version__.* = "([^"]+)"', (ROOT / "src/fercli/__init__.py").read_text(encoding="utf-8")
)[0]
release = version

extensions = ["myst_nb"]
exclude_patterns = ["_build"]
nitpicky = True
# Blocks of a terminal's text have no language, and JSON with `…` in it is none.
suppress_warnings = ["misc.highlighting_failure"]
myst_heading_anchors = 4
myst_enable_extensions: list[str] = []
# Notebooks come with their results; `tests/contract/test_notebooks.py` runs them.
nb_execution_mode = "off"
linkcheck_anchors = True

html_theme = "pydata_sphinx_theme"
html_title = f"fercli {version}"
html_favicon = "../src/fercli/serve/page/icon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "fercli"},
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 6,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "search_bar_text": "Search…",
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "icon_links": (
        [{"name": "Source", "url": REPOSITORY, "icon": "fa-brands fa-git-alt"}]
        if REPOSITORY
        else []
    ),
}
html_sidebars: dict[str, list[str]] = {"index": [], "quickstart": [], "gallery/index": []}
html_context = {"default_mode": "auto"}


def setup(app: Sphinx) -> None:
    """Add what turns plain pages into pages of a site."""
    app.connect("source-read", prepare)


def prepare(_app: Sphinx, page: str, source: list[str]) -> None:
    """Add the contents of a page, and mend links to what is no page of the site."""

    def replace(link: re.Match[str]) -> str:
        words, ups, target = link.groups()
        if len(ups) // 3 <= page.count("/"):
            return link[0]
        return f"[{words}]({REPOSITORY}/blob/main/{target})" if REPOSITORY else words

    source[0] = _OUTSIDE.sub(replace, source[0])
    if page in CONTENTS:
        entries = "\n".join(list_pages(ROOT / "docs" / page, CONTENTS[page]))
        source[0] += f"\n\n```{{toctree}}\n:hidden:\n\n{entries}\n```\n"


def list_pages(page: Path, wanted: tuple[str, ...]) -> list[str]:
    """Return the names of the pages under a page, relative to it."""
    found: dict[str, None] = {}
    for name in wanted:
        pattern = f"{name}.[mi][dp]*"
        for path in sorted(page.parent.joinpath(name).parent.glob(Path(pattern).name)):
            relative = Path(name).parent / path.stem
            if path.name != "index.md" or page.parent != path.parent:
                found[relative.as_posix()] = None
    return list(found)
