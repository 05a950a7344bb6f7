"""The pages of docs/how-to have one form and one index. What they say is run by docs/how-to/conftest.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "how-to"
INDEX = FOLDER / "README.md"
PAGES = sorted(page for page in FOLDER.glob("*.md") if page != INDEX)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def test_there_are_forty_recipes_and_the_index_names_each_once_by_its_title() -> None:
    assert len(PAGES) >= 40
    listed = re.findall(r"^- \[(.+)\]\((.+)\)$", INDEX.read_text(encoding="utf-8"), re.MULTILINE)
    titles = [(page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# "), page.name) for page in PAGES]
    assert sorted(listed) == sorted(titles)


@each_page
def test_a_page_says_when_to_use_it_and_where_to_go_on(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "\n\nUse this " in text
    (neighbours,) = re.findall(r"^See also: (?:.|\n)+\.\n\Z", text, re.MULTILINE)
    for name in re.findall(r"\]\(([^)]+)\)", text):
        assert (FOLDER / name).exists(), f"{page.name} links to {name}, which is not there"
    assert page.name not in neighbours


@each_page
def test_a_program_fits_on_a_screen(page: Path) -> None:
    for program in re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        assert program.startswith("# "), "the first line names the file"
        assert program.count("\n") <= 48
        assert max(map(len, program.splitlines())) <= 120
