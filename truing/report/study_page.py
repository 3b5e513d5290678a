"""A study as one page, and a page over all of them: self-contained, readable without network."""

from collections.abc import Mapping, Sequence
from typing import Any

from truing.report.frame import figures_json, or_nan
from truing.report.numbers import brief, duration, number, percent
from truing.report.study_figures import study_figures
from truing.report.template import ASSETS, render

_VERDICT_CLASS = {"holds": "good", "does not hold": "bad"}
_SHARES = {"win_rate", "length_controlled_win_rate", "cut", "broken", "accurate_notes",
           "reward_accuracy", "tuning_accuracy"}  # fmt: skip
_TITLES = {
    "score": "score",
    "win_rate": "wins against the start",
    "length_controlled_win_rate": "wins at equal lengths",
    "kl": "KL, nats a response",
    "length": "tokens",
    "cut": "cut at the cap",
    "broken": "broken sentences",
    "accurate_notes": "notes told right",
    "reward_accuracy": "right on held-out pairs",
    "drift_chosen": "log-ratio of chosen",
    "tuning_score": "score on tuning prompts",
    "tuning_accuracy": "right on tuning pairs",
}
_STRONGEST = 3.0  # nats, at which a token's colour is full
_MOST_TOKENS = 160


def study_page(values: Mapping[str, Any]) -> str:
    """The page, as HTML.

    Args:
        values: as `truing.studies.results.page_values` gives them.
    """
    from plotly.offline import get_plotlyjs

    methods = list(dict.fromkeys(row["method"] for row in values["best"]))
    figures = study_figures(values["figures"], methods)
    measures = [name for name in _TITLES if any(name in row["cells"] for row in values["best"])]
    return render(
        "study.html.j2",
        (get_plotlyjs(), (ASSETS / "page.js").read_text(encoding="utf-8")),
        study=values,
        paper=values["paper"],
        verdict=_verdict(values["claims"][0]),
        claims=[_claim(one) for one in values["claims"]],
        figures=figures,
        figures_json=figures_json(figures),
        columns=[_TITLES[name] for name in measures],
        rows=[_row(row, measures) for row in values["best"]],
        has_arms=any(row["arm"] for row in values["best"]),
        samples=[_sample(one) for one in values["samples"]],
        facts=_facts(values),
    )


def index_page(studies: Sequence[Mapping[str, Any]]) -> str:
    """The page over all studies of a folder, as HTML.

    Args:
        studies: what their `results.json` hold.
    """
    lines = [
        {
            "name": one["name"],
            "claim": one["claim"],
            "scale": one["scale"],
            "date": one["date"],
            "verdict": _verdict(one["claims"][0]),
            "others": [_verdict(claim) for claim in one["claims"][1:]],
            "cells": one["cost"]["cells"],
            "time": duration(one["cost"]["cell_cpu_seconds"]),
        }
        for one in studies
    ]
    return render("studies.html.j2", (), studies=lines)


def _verdict(claim: Mapping[str, Any]) -> dict[str, str]:
    word = claim["verdict"]
    return {"word": word, "kind": _VERDICT_CLASS.get(word, ""), "claim": claim["claim"]}


def _claim(one: Mapping[str, Any]) -> dict[str, Any]:
    parts = [
        {
            "words": part["words"],
            "mean": "–" if part["mean"] is None else brief(part["mean"]),
            "interval": _span(part, brief),
            "above": brief(part["above"]),
            "seeds": part["seeds"],
            "verdict": part["verdict"],
        }
        for part in one["parts"]
    ]
    whose = "the paper's" if one["is_papers"] else "ours"
    return {**_verdict(one), "whose": whose, "parts": parts}


def _span(found: Mapping[str, Any], say: Any) -> str:
    if found["low"] is None:
        return "one seed: no interval" if found["seeds"] == 1 else "not measured"
    return f"{say(found['low'])} to {say(found['high'])}"


def _row(row: Mapping[str, Any], measures: Sequence[str]) -> dict[str, Any]:
    cells = []
    for name in measures:
        found = row["cells"].get(name)
        say = percent if name in _SHARES else number
        if found is None:
            cells.append(("–", ""))
        else:
            span = "" if found["low"] is None else _span(found, say)
            cells.append((say(found["mean"]), span))
    value = "" if row["value"] is None else f"{row['value']:g}"
    return {**row, "value": value, "cells": cells}


def _sample(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "prompt": one["prompt"],
        "start": one["start"],
        "score_start": one["score_start"],
        "replies": [_reply(reply) for reply in one["replies"]],
    }


def _reply(reply: Mapping[str, Any]) -> dict[str, Any]:
    """Tokens with a colour each: likelier than under the start, or less likely."""
    tokens = []
    for piece, ratio in zip(reply["pieces"], reply["log_ratios"], strict=True):
        size = min(abs(or_nan(ratio)) / _STRONGEST, 1.0)
        tokens.append(
            {
                "text": piece or "■",
                "colour": "chosen" if ratio > 0 else "rejected",
                "strength": round(70 * size),
                "ratio": f"{ratio:+.2f}",
            }
        )
    return {
        "method": reply["method"],
        "value": "" if reply["value"] is None else f"{reply['value']:g}",
        "score": reply["score"],
        "finished": reply["finished"],
        "tokens": tokens[:_MOST_TOKENS],
        "more": max(0, len(tokens) - _MOST_TOKENS),
    }


def _facts(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    plan, cost, ground = values["plan"], values["cost"], values["ground"]
    machine = values["machine"]
    return [
        ("scale", values["scale"]),
        ("model", ground["model"]),
        ("data", ground["data"]),
        ("score", ground["score"]),
        ("seeds", ", ".join(map(str, plan["seeds"]))),
        ("rows a setting", f"{plan['pairs']}, {plan['epochs']} epochs unless a setting says more"),
        ("test prompts", str(plan["test_prompts"])),
        ("tuning prompts", str(plan["tuning_prompts"])),
        ("cells", str(cost["cells"])),
        (
            "cost",
            f"{duration(cost['cell_cpu_seconds'])} of one core, "
            f"{brief(cost['mean_cell_cpu_seconds'])} s a cell on the average; by the clock "
            f"{duration(cost['cell_seconds'] / cost['at_once'])} with {cost['at_once']} cells at a "
            "time and whatever else the machine did",
        ),
        ("date", values["date"]),
        ("machine", f"{machine['system']}, {machine['cores']} cores"),
        ("versions", ", ".join(f"{k} {v}" for k, v in values["versions"].items())),
    ]
