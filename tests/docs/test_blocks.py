"""Every block of Python in the docs runs, in order, and the examples are what the docs show."""

import re
from pathlib import Path

import pytest

from truing.recipes._recipe import SHELF

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# ```python is run; ```py, of another model or machine than this one, is only shown.
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page):
    """Line number and code of each block."""
    text = page.read_text(encoding="utf-8")
    return [(text[: m.start()].count("\n") + 1, m["code"]) for m in BLOCK.finditer(text)]


def following(comment):
    """The block that comes after a comment."""
    text = (ROOT / "docs" / "objectives.md").read_text(encoding="utf-8")
    return BLOCK.search(text, text.index(f"<!-- {comment} -->"))["code"]


@pytest.fixture(autouse=True)
def _shelf_as_it_was():
    before = dict(SHELF)
    yield
    SHELF.clear()
    SHELF.update(before)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda page: page.name)
def test_the_blocks_of_a_page_run_one_after_the_other(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for line, code in blocks(page):
        exec(compile("\n" * line + code, str(page), "exec"), names)


@pytest.mark.parametrize("name", ["bare_loop.py", "inside_another_trainer.py"])
def test_an_example_is_the_block_that_the_docs_show(name):
    example = (ROOT / "examples" / name).read_text(encoding="utf-8")
    assert following(f"examples/{name}") == example, f"put examples/{name} into docs/objectives.md"
