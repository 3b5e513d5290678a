"""Every study runs from its file to its page, keeps its numbers, and is judged from them again."""

import json
import re
from dataclasses import replace

import pytest

from truing.errors import ConfigError
from truing.studies.kept import keep, verify
from truing.studies.runner import Request, plan_cells, run_study
from truing.studies.shelf import shelf


@pytest.mark.parametrize("name", list(shelf()))
def test_a_study_runs_from_its_file_to_its_page(name, smoked):
    output, results = smoked
    result, study = results[name], shelf()[name]
    assert len(result.table.rows) == len(study.plans["smoke"].settings)
    for row in result.table.rows:
        assert not row.fault, row
        assert {"score", "win_rate", "kl", "length", "tuning_score", "broken"} <= row.numbers.keys()
    assert [one.text for one in result.verdicts] == [one.text for one in study.claims]
    # One seed decides nothing.
    assert {one.word for one in result.verdicts} == {"undecided at this scale"}
    page = (output / name / "report.html").read_text()
    assert study.claim.split("'")[0] in page
    assert result.values["command"] in page
    assert len(re.findall(r'<figure class="card"', page)) >= 3


def test_the_index_leads_to_every_study(smoked):
    output, _ = smoked
    page = (output / "index.html").read_text()
    assert all(f'href="{name}/report.html"' in page for name in shelf())


def test_what_is_there_is_not_made_again(smoked):
    output, results = smoked
    cells = {path: path.stat().st_mtime_ns for path in output.glob("cells/*.json")}
    # Studies share what they have in common.
    assert len(cells) < sum(len(one.table.rows) for one in results.values())
    again = run_study(Request(shelf()["sampo"], "smoke", output, jobs=1))
    assert {path: path.stat().st_mtime_ns for path in output.glob("cells/*.json")} == cells
    assert again.values["cells"] == results["sampo"].values["cells"]
    assert not list(output.glob("work/*"))


def test_a_lost_cell_is_made_again_with_the_same_numbers(smoked):
    output, results = smoked
    result = results["minor_dpo"]
    path = output / "cells" / f"{result.values['keys'][0]}.json"
    before = json.loads(path.read_text())["numbers"]
    path.unlink()
    run_study(Request(shelf()["minor_dpo"], "smoke", output, jobs=1))
    after = json.loads(path.read_text())["numbers"]
    timed = {name for name in before if name.endswith("seconds")}
    assert {k: v for k, v in before.items() if k not in timed} == {
        k: v for k, v in after.items() if k not in timed
    }


def test_every_policy_is_asked_with_the_same_noise(smoked):
    output, _ = smoked
    asked = {}
    for path in output.glob("cells/*.json"):
        cell = json.loads(path.read_text())
        for sample in cell["samples"]:
            key = (cell["content"]["test"], cell["content"]["max_new_tokens"], sample["prompt"])
            asked.setdefault(key, set()).add(sample["start"])
    assert asked
    assert all(len(starts) == 1 for starts in asked.values())


def test_kept_results_are_judged_again_and_a_changed_number_is_found(smoked, tmp_path):
    _, results = smoked
    for name in ("ipo", "noise"):
        keep(results[name].values, tmp_path)
    assert [one.faults for one in verify(tmp_path)] == [(), ()]
    path = tmp_path / "ipo.json"
    values = json.loads(path.read_text())
    values["claims"][0]["verdict"] = "holds"
    path.write_text(json.dumps(values))
    [ipo, noise] = verify(tmp_path)
    assert not noise.faults
    assert any("was “holds”" in fault for fault in ipo.faults)
    assert "| claim | verdict |" in (tmp_path / "noise.md").read_text()


def test_results_of_settings_that_are_no_longer_declared_are_told(smoked, tmp_path):
    _, results = smoked
    keep(results["rpo"].values, tmp_path)
    path = tmp_path / "rpo.json"
    values = json.loads(path.read_text())
    values["cells"][0]["value"] = 123.0
    path.write_text(json.dumps(values))
    [found] = verify(tmp_path)
    assert {fault.split(" ", 1)[1] for fault in found.faults} >= {
        "settings are no longer declared",
        "declared settings were not measured",
    }


def test_an_empty_folder_has_nothing_to_verify(tmp_path):
    with pytest.raises(ConfigError, match="no kept results"):
        verify(tmp_path)


def test_a_run_that_falls_apart_is_a_finding_and_a_half_made_one_is_made_anew(tmp_path):
    study = shelf()["minor_dpo"]
    plan = study.plans["smoke"]
    mad = replace(plan, settings=(replace(plan.settings[0], rate=1e30), plan.settings[2]))
    request = Request(replace(study, plans={"smoke": mad}), "smoke", tmp_path, jobs=1)
    [_, other] = plan_cells(request)[0]
    # A kill before the run wrote down what it is.
    (tmp_path / "work" / other.job.key / "run").mkdir(parents=True)
    (tmp_path / "work" / other.job.key / "run" / ".run.yaml.writing").write_text("half")
    result = run_study(request)
    [bad, good] = result.table.rows
    assert "nan" in bad.fault or "finite" in bad.fault or "inf" in bad.fault
    assert not bad.numbers
    assert good.numbers["kl"] >= 0
    assert "1 runs stopped themselves" in result.page.read_text()
