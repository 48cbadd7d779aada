"""What the page's files must keep to, without a browser; tests/e2e/test_page.py has one."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

PAGE = Path(str(files("fercli.serve"))) / "page"
HTML = (PAGE / "index.html").read_text(encoding="utf-8")
MODULES = sorted(PAGE.glob("*.js"))
IDS = set(re.findall(r'\bid="([^"]+)"', HTML))


@pytest.mark.parametrize("path", sorted(PAGE.iterdir()), ids=lambda path: path.name)
def test_nothing_is_asked_of_elsewhere(path: Path) -> None:
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"')]*", path.read_text("utf-8")))

    assert addresses <= {"http://www.w3.org/2000/svg"}


def test_the_policy_forbids_nothing_of_the_page() -> None:
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", HTML)


def test_every_file_that_is_named_is_there() -> None:
    named = re.findall(r'(?:href|src)="assets/([^"]+)"', HTML)
    for path in MODULES:
        named += re.findall(r'from "\./([^"]+)"', path.read_text("utf-8"))

    assert {*named} | {"index.html"} == {path.name for path in PAGE.iterdir()}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_modules_put_in_text_only_and_find_what_they_look_for(path: Path) -> None:
    code = path.read_text("utf-8")
    wanted = set(re.findall(r'(?:byId|listen)\("([^"]+)"', code))
    for names in re.findall(r"for \(const id of \[([^\]]+)\]", code):
        wanted |= set(re.findall(r'"([^"]+)"', names))

    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", code)
    assert wanted <= IDS
