"""A study's page says its verdicts, draws what it is given, and shows texts of models as texts."""

import pytest

from truing.report.compare_page import as_json
from truing.report.study_figures import study_figures
from truing.report.study_page import index_page, study_page

NASTY = '</script><script>window.owned = true</script><img src=x onerror="owned=1">'


@pytest.fixture
def values():
    part = {"words": "difference", "above": 0.0, "verdict": "holds", "mean": 0.4, "low": 0.2,
            "high": 0.6, "seeds": 3}  # fmt: skip
    series = [{"label": "DPO", "x": [0.1, 1.0], "y": [0.5, 0.7], "low": [0.4, None],
               "high": [0.6, None]}]  # fmt: skip
    figure = {"name": "one", "title": "Which?", "caption": "So.", "x_title": "beta",
              "y_title": "score", "series": series, "is_log": True, "level": 0.5,
              "has_lines": True, "ticks": []}  # fmt: skip
    cell = {"mean": 0.5, "low": 0.4, "high": 0.6, "seeds": 3}
    reply = {"method": "DPO", "value": 0.1, "score": 1.5, "finished": False,
             "pieces": ["It", NASTY, ""], "log_ratios": [0.5, -9.0, 0.0]}  # fmt: skip
    return {
        "name": "some", "claim": "It is so", "scale": "small", "date": "2026-11-21",
        "paper": {"title": "T", "source": "S", "figure": "F", "certainty": "by hearsay"},
        "command": "truing study some", "machine": {"system": "Linux", "cores": "2"},
        "versions": {"torch": "2"}, "budget": "Equal.", "knob": "beta", "limits": [NASTY],
        "ground": {"model": "world()", "data": "the embedded world", "score": "its true score"},
        "plan": {"pairs": 8, "epochs": 1, "seeds": [0, 1, 2], "test_prompts": 6,
                 "tuning_prompts": 4},
        "cost": {"cells": 6, "cell_seconds": 120.0, "cell_cpu_seconds": 60.0,
                 "mean_cell_cpu_seconds": 10.0, "at_once": 2},
        "claims": [
            {"claim": "It is so", "verdict": "does not hold", "is_papers": True, "parts": [part]},
            {"claim": "And so", "verdict": "holds", "is_papers": False, "parts": [part]},
        ],
        "figures": [figure],
        "best": [{"method": "DPO", "arm": "fair", "objective": "dpo()", "value": 0.1, "stopped": 2,
                  "cells": {"score": cell, "win_rate": cell}}],
        "samples": [{"prompt": NASTY, "start": NASTY, "score_start": None, "replies": [reply]}],
    }  # fmt: skip


def test_the_verdict_stands_first_whatever_it_is(values):
    page = study_page(values)
    assert '<strong class="bad">Does not hold</strong>' in page
    assert page.index("Does not hold") < page.index("Does it hold?")
    assert "by hearsay" in page
    assert "0.2 to 0.6" in page
    assert "2 runs stopped themselves" in page


def test_texts_of_models_are_texts(values):
    page = study_page(values)
    assert "<script>window.owned" not in page
    assert "<img src=x" not in page
    assert "window.owned" in page


def test_a_smoke_run_is_called_one(values):
    assert "shows that the study runs, and nothing else" in study_page({**values, "scale": "smoke"})


def test_a_point_without_interval_has_no_bar(values):
    [figure] = study_figures(values["figures"], ["DPO"])
    [trace] = figure.plot.data
    assert list(trace.error_y.array) == pytest.approx([0.1, 0.0])
    assert figure.plot.layout.xaxis.type == "log"
    assert as_json(study_page(values), "figures")[0]["name"] == "one"


def test_methods_after_the_eighth_have_another_mark():
    series = [{"label": f"m{i}", "x": [0], "y": [1.0], "low": [], "high": []} for i in range(9)]
    drawn = {"name": "n", "title": "", "caption": "", "x_title": "", "y_title": "",
             "series": series, "is_log": False, "level": None, "has_lines": False,
             "ticks": ["here"]}  # fmt: skip
    [figure] = study_figures([drawn], [one["label"] for one in series])
    first, *_, last = figure.plot.data
    assert first.marker.symbol != last.marker.symbol
    places = [trace.x[0] for trace in figure.plot.data]
    assert places == sorted(places)


def test_the_index_leads_to_the_pages(values):
    page = index_page([values])
    assert 'href="some/report.html"' in page
    assert "1 min 00 s" in page
