import json
import subprocess
import sys

import pytest

from truing.errors import ConfigError
from truing.report import write_report
from truing.report.collect import FILES

NASTY = '</script><script>window.owned = true</script><img src=x onerror="owned=1">\x00\u202e\ud800'


def page_of(folder):
    return write_report(folder).read_text(encoding="utf-8")


def test_the_page_lies_in_the_run_and_nothing_is_left_beside_it(tmp_path, fake_runs):
    run = fake_runs.write_run(tmp_path / "run")
    before = {path.name for path in run.iterdir()}
    assert write_report(run) == run / "report.html"
    assert {path.name for path in run.iterdir()} - before == {"report.html"}


def test_the_page_says_what_it_is_about(tmp_path, fake_runs):
    page = page_of(fake_runs.write_run(tmp_path / "my-run"))
    for expected in (
        "<h1>my-run</h1>",
        "sampo(beta=0.1) + 0.2*sft()",
        "Likelihood displacement",
        "63.1\u202f%",
        "12 rows",
        "never met",
        "learning_rate",
        "2.13.0",
        "truing train runs/sampo-1/run.yaml output=AGAIN",
    ):
        assert expected in page


def test_the_same_run_gives_the_same_page(tmp_path, fake_runs):
    run = fake_runs.write_run(tmp_path / "run")
    assert page_of(run) == page_of(run)


@pytest.mark.parametrize("name", FILES)
def test_a_page_is_written_whichever_file_is_missing(tmp_path, fake_runs, name):
    run = fake_runs.write_run(tmp_path / "run", samples=3)
    (run / name).unlink()
    assert f"<code>{name}</code> is missing" in page_of(run)


@pytest.mark.parametrize("name", FILES)
def test_a_page_is_written_from_any_single_file(tmp_path, fake_runs, name):
    run = fake_runs.write_run(tmp_path / "run", samples=3)
    for other in set(FILES) - {name}:
        (run / other).unlink()
    (run / "finished.json").unlink()
    page = page_of(run)
    assert "truing train --resume" in page
    assert page.count("is missing:") == len(FILES) - 1


def test_no_text_of_any_file_becomes_markup(tmp_path, fake_runs):
    run = tmp_path / "run"
    fake_runs.write_run(run, samples=1)
    sample = {"prompt": [{"role": NASTY, "content": NASTY}], "before": NASTY, "after": NASTY}
    fake_runs.lines(run / "samples.jsonl", [sample])
    fake_runs.lines(
        run / "alarms.jsonl", [{"step": 1, "alarm": NASTY, "what": NASTY, "fix": NASTY}]
    )
    (run / "data.json").write_text(json.dumps({NASTY: [NASTY, {NASTY: NASTY}], "t": [{NASTY: 1}]}))
    (run / "evaluation.json").write_text(json.dumps({NASTY: 1.0, "score": NASTY}))
    (run / "run.yaml").write_text(f"objective: {json.dumps(NASTY)}\nmodel: '<b>x</b>'\n")
    page = page_of(run)
    assert "<script>window.owned" not in page
    assert "<img" not in page
    assert "<b>x" not in page
    assert "\x00" not in page
    assert page.count("⟨U+202E⟩⟨U+D800⟩") > 10


def test_long_texts_are_cut_and_many_samples_left_out_both_said(tmp_path, fake_runs):
    run = tmp_path / "run"
    fake_runs.write_run(run, samples=1)
    sample = {"prompt": "?", "before": "x" * 7001, "after": "y"}
    fake_runs.lines(run / "samples.jsonl", [sample] * 503)
    page = page_of(run)
    assert "1\u202f001 more characters are in samples.jsonl" in page
    assert "3 more samples are in samples.jsonl" in page
    assert page.count('class="card sample"') == 500


def test_the_page_asks_for_nothing_from_outside(tmp_path, fake_runs):
    page = page_of(fake_runs.write_run(tmp_path / "run"))
    head = page.split("<script>")[0]
    assert "default-src 'none'" in head
    assert "http://" not in head
    assert "https://" not in head
    assert "src=" not in head.replace("-src", "")


def test_five_hundred_samples_and_20_000_steps_stay_under_8_mb(tmp_path, fake_runs):
    run = fake_runs.write_run(tmp_path / "run", steps=20_000, samples=500)
    assert write_report(run).stat().st_size < 8e6


def test_a_folder_without_a_run_gets_no_page(tmp_path):
    with pytest.raises(ConfigError):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_reports_are_written_without_torch():
    code = "import sys, truing.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_was_evaluated_later_is_taken_apart_by_length_beside_what_training_found(
    tmp_path, fake_runs
):
    run = fake_runs.write_run(tmp_path / "run")
    found = {**json.loads((run / "evaluation.json").read_text()), "data": "later.jsonl"}
    assert 'id="figure-later-by_length"' not in page_of(run)
    (run / "evaluated").mkdir()
    (run / "evaluated" / "evaluation.json").write_text(json.dumps(found))
    page = page_of(run)
    for name in ("by_length", "by_score_gap", "calibration"):
        assert page.count(f'id="figure-{name}"') == page.count(f'id="figure-later-{name}"') == 1
        assert f'"name":"later-{name}"' in page
    assert "Pairs of later.jsonl" in page


def test_texts_that_were_evaluated_later_are_not_called_pairs(tmp_path, fake_runs):
    run = fake_runs.write_run(tmp_path / "run")
    (run / "evaluated").mkdir()
    numbers = {"data": "later.jsonl", "texts": 3, "nll": 1.5}
    (run / "evaluated" / "evaluation.json").write_text(json.dumps(numbers))
    page = page_of(run)
    assert "Texts of later.jsonl" in page
    assert "Held-out texts" in page
