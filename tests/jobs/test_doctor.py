"""The doctor's table of families is what the probe says, family by family."""

from truing.engine.architectures import ARCHITECTURES
from truing.jobs.doctor import architecture_table, as_markdown


def test_every_family_has_a_line_and_gets_the_engine_it_was_tested_with(repository):
    lines = architecture_table()
    assert [line.name for line in lines] == [one.name for one in ARCHITECTURES]
    assert all(line.is_expected for line in lines)
    assert all(bool(line.reason) == (line.engine != "shared") for line in lines)
    # What differs between versions of torch is left out: by how much a family is wrong.
    page = (repository / "docs" / "engine.md").read_text()
    assert all(f"| {line.name} | {line.engine} |" in page for line in lines)
    assert as_markdown(lines).count("\n") == len(lines) + 1
