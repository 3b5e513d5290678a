"""The doctor's table of families is what the probe says, family by family."""

import truing
from truing.engine.architectures import ARCHITECTURES
from truing.jobs.doctor import architecture_table, as_markdown, surroundings


def test_a_report_of_a_bug_holds_versions_and_machine(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = surroundings()
    assert found["truing"] == truing.__version__
    assert {"python", "torch", "transformers", "datasets", "system", "cores", "memory"} <= set(
        found
    )
    assert found["memory"].endswith(" GiB")
    assert found["OMP_NUM_THREADS"] == "3"


def test_every_family_has_a_line_and_gets_the_engine_it_was_tested_with(repository):
    lines = architecture_table()
    assert [line.name for line in lines] == [one.name for one in ARCHITECTURES]
    assert all(line.is_expected for line in lines)
    assert all(bool(line.reason) == (line.engine != "shared") for line in lines)
    # What differs between versions of torch is left out: by how much a family is wrong.
    page = (repository / "docs" / "engine.md").read_text()
    assert all(f"| {line.name} | {line.engine} |" in page for line in lines)
    assert as_markdown(lines).count("\n") == len(lines) + 1
