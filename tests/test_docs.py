"""What the documentation names exists: tests by which it shows something, rooms, and the places within a page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .conftest import ROOT

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
SECURITY = ROOT / "docs" / "security.md"


def links(path: Path) -> list[tuple[str, str]]:
    """The text and the target of each link that leads to a file of ours or within the page."""
    return [(text, target) for text, target in LINK.findall(path.read_text()) if "://" not in target]


def place(heading: str) -> str:
    """How a heading is linked to, as GitHub does it."""
    return re.sub(r"[^\w\- ]", "", heading.strip("# \n").lower()).replace(" ", "-")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    places = {place(line) for line in path.read_text().splitlines() if line.startswith("#")}

    for text, target in links(path):
        file, _, part = target.partition("#")
        assert (path.parent / file).exists(), f"[{text}]({target})"
        assert file or part in places, f"[{text}]({target})"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_test_that_is_named_exists_where_it_is_said_to_be(path: Path) -> None:
    for text, target in links(path):
        if text.startswith("`test_"):
            assert f"def {text.strip('`')}(" in (path.parent / target).read_text(), text


def test_every_line_of_the_security_page_says_where_and_shows_how() -> None:
    lines = [line for line in SECURITY.read_text().splitlines() if line.startswith("|") and "---" not in line]
    points = [line for line in lines if not line.startswith("| |")]

    assert len(points) >= 12 + 13
    for line in points:
        name, done, where, shown = (part.strip() for part in line.strip("|").split("|"))
        assert name and done.endswith("."), line
        assert re.fullmatch(r"(\[\w+\]\(\.\./\w+/\w+\.py\)(, )?)+", where), line
        assert re.fullmatch(r"(\[`test_\w+`\]\(\.\./tests/[\w/]+\.py\)(, )?)+", shown), line


def test_the_readme_leads_to_the_security_page() -> None:
    assert any(target == "docs/security.md" for _, target in links(ROOT / "README.md"))
