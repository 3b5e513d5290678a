"""The same study files on a model and pairs of one's own."""

import pytest

from truing.studies.ground import Ground
from truing.studies.runner import Request, run_study
from truing.studies.shelf import study_named


@pytest.mark.parametrize("is_scored", [True, False])
def test_a_study_runs_on_another_model_and_pairs(is_scored, shared, tmp_path):
    data = shared / "data"
    lexicon = data / "scorers" / "vader-lexicon" / "lexicon.tsv"
    ground = Ground(
        str(data / "models" / "stories260K"),
        str(data / "preferences" / "imdb-sentiment" / "train.jsonl"),
        f"lexicon(path='{lexicon}')" if is_scored else None,
    )
    request = Request(study_named("ipo"), "smoke", tmp_path, ground, jobs=1, methods=("IPO, sums",))
    result = run_study(request)
    [row] = result.table.rows
    assert not row.fault
    assert ("score" in row.numbers) == is_scored
    assert result.table.best("IPO, sums") == 0.1
    assert "accurate_notes" not in row.numbers
    assert str(ground.data) in result.page.read_text()


def test_what_cannot_be_had_is_left_out_and_said(shared, tmp_path):
    data = shared / "data"
    ground = Ground(
        str(data / "models" / "stories260K"),
        str(data / "preferences" / "imdb-sentiment" / "train.jsonl"),
    )
    request = Request(study_named("dpo"), "smoke", tmp_path, ground, jobs=1)
    result = run_study(request)
    assert [row.method for row in result.table.rows] == ["DPO"]
    assert any("best of n" in limit for limit in result.values["limits"])
