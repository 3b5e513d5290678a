"""Each row of the table of faults names a test that there is."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(
    r"^\| (?P<fault>.+?) \| .+ \| `(?P<file>[\w/]+\.py)::(?P<test>\w+)`(?P<soak> \(soak\))? \|$"
)
LINES = [
    line
    for line in (ROOT / "docs" / "faults.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| fault |")
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.split("|")[1].strip())
def test_a_fault_names_its_test(line):
    row = ROW.match(line)
    assert row, "the last cell is `FILE::TEST`, and (soak) behind it where it is one"
    code = (ROOT / row["file"]).read_text(encoding="utf-8")
    found = re.search(rf"^(?P<marks>(?:@.*\n|[ )].*\n)*)def {row['test']}\(", code, re.MULTILINE)
    assert found, f"{row['file']} has no {row['test']}"
    is_soak = "@pytest.mark.soak\n" in found["marks"]
    assert is_soak == bool(row["soak"]), "make test runs it, or make soak does"


def test_no_fault_stands_twice():
    faults = [line.split("|")[1] for line in LINES]
    assert len(faults) == len(set(faults)) > 40


def test_the_counts_are_those_of_the_table():
    text = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    soak = sum(line.endswith("(soak) |") for line in LINES)
    counts = f"{len(LINES)} faults: {len(LINES) - soak} are provoked by `make test`, {soak} by"
    assert counts in " ".join(text.split())
