"""Each room has its own words: a line that could stand in two rooms is in the wrong one."""

import re
from pathlib import Path

import pytest

# A word, and the rooms whose code may say it (comments and docstrings count as code here).
ROOMS = {
    r"\bbeta\b": {"objectives", "recipes", "report", "jobs", "studies", "cli", "config", "core"},
    r"\bpad(ded|ding)?_token": {"engine", "data", "responses", "world"},
    r"\blogits\b": {"engine", "responses", "world", "objectives", "core"},
    r"\boptimizer\.step\(": {"training", "world"},
    r"(?<![\w.])print\(": {"cli"},
    r"\bplotly\b": {"report", "jobs"},
}
# Tables of other tools' arguments, which have names of their own.
FOREIGN = {"jobs/migrate_trl.py"}
MOST_LINES, MOST_FUNCTION_LINES = 400, 60
PACKAGE = Path(__file__).parents[2] / "truing"
FILES = sorted(path for path in PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


@pytest.mark.parametrize("word", ROOMS)
def test_a_word_is_said_in_its_rooms_only(word):
    strangers = [
        f"{path.relative_to(PACKAGE)}:{number}"
        for path in FILES
        if room_of(path) not in ROOMS[word] and str(path.relative_to(PACKAGE)) not in FOREIGN
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if re.search(word, line)
    ]
    assert not strangers


def test_no_file_is_longer_than_a_newcomer_reads():
    long = {str(p): n for p in FILES if (n := len(p.read_text().splitlines())) > MOST_LINES}
    assert not long


def test_no_file_is_named_for_having_no_subject():
    nameless = {"utils", "helpers", "misc", "common", "base"}
    assert not [p for p in FILES if p.stem in nameless]
