"""The README as the package index shows it: no dead links, no commands of a checkout."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK: Final = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)")
"""A picture or a link whose target is a file beside the README."""
_ASIDE: Final = re.compile(r"\s\(\[[^\]]*\]\((?![a-z]+:|#)[^)\s]+\)\)")
"""Nothing but a link, in brackets."""
_PICTURE: Final = re.compile(r":?\s+!\[[^\]]*\]\((?![a-z]+:)[^)\s]+\)")
"""A picture, and the colon that announces it."""
_CHECKOUT: Final = (
    re.compile(r"^## Run the tests\n.*?(?=^## )", re.DOTALL | re.MULTILINE),
    re.compile(r"(?<=\. )In the folder of this source \([^)]*\), "),
)
"""What only a checkout can do, or who has one needs to know."""


class ReadmeHook(MetadataHookInterface):
    """Sets the readme, and the project's addresses where `repository` is set in pyproject.toml."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in what is dynamic."""
        repository = self.config["repository"].rstrip("/")
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": adapt(text, repository)}
        metadata["urls"] = list_addresses(repository)


def adapt(text: str, repository: str) -> str:
    """Return the README for people who have no checkout.

    Args:
        text: The README; its links are relative to the repository's root.
        repository: As in a browser, without a slash at the end. While it is empty, links to files
            become plain text, and pictures are left out.
    """

    def replace(link: re.Match[str]) -> str:
        picture, words, target = link.groups()
        if not repository:
            return words
        return f"{picture}[{words}]({repository}/{'raw' if picture else 'blob'}/main/{target})"

    for part in _CHECKOUT:
        text = part.sub("", text)
    if not repository:
        text = _PICTURE.sub(lambda found: "." * found[0].startswith(":"), _ASIDE.sub("", text))
    text = _LINK.sub(replace, text)
    text = re.sub(r"pip install \.(?=[ `])", "pip install fercli", text)
    text = text.replace("newer. this", "newer. This")
    return text.replace("pip install '.[", "pip install 'fercli[")


def list_addresses(repository: str) -> dict[str, str]:
    """Return the addresses of the project by their titles."""
    if not repository:
        return {}
    return {
        "Source": repository,
        "Issues": f"{repository}/issues",
        "Changelog": f"{repository}/blob/main/CHANGELOG.md",
    }
