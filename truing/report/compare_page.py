"""Several runs on one page: `compare.html`, self-contained, readable without network."""

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from truing.evaluation.bootstrap import Estimate
from truing.evaluation.significance import LEVEL, Difference
from truing.report.compare_figures import (
    comparison_figures,
    frontier_figure,
    length_figure,
    role_of,
)
from truing.report.compared import Answered, Comparison, Measured, Reply, different_settings
from truing.report.frame import Figure, figures_json, script_json
from truing.report.numbers import brief, number, percent, signed
from truing.report.template import render, script_files
from truing.report.visible import visible

MOST_SAMPLES = 500
_MOST_CHARACTERS, _MOST_PIECES = 4000, 600


def write_comparison(comparison: Comparison, path: Path) -> Path:
    """Write the page whole or not at all, and give its path."""
    aside = path.with_name(f".{path.name}.writing")
    aside.write_text(comparison_page(comparison), encoding="utf-8")
    return aside.replace(path)


def comparison_page(comparison: Comparison) -> str:
    """The page, as HTML."""
    from plotly.offline import get_plotlyjs

    at_a_glance = _glance(comparison)
    curves = comparison_figures(comparison)
    shown = comparison.answered[:MOST_SAMPLES]
    return render(
        "compare.html.j2",
        (get_plotlyjs(), *script_files("pager.js", "page.js", "compare.js")),
        names=comparison.names,
        roles=[role_of(place).replace("_", "-") for place in range(len(comparison.names))],
        objectives=[run.config.get("objective") or "" for run in comparison.runs],
        notes=comparison.notes,
        rows=[_row(measure) for measure in comparison.measures],
        settings=different_settings(comparison.runs),
        differences=[_told(one) for one in comparison.differences],
        lead_of_differences=_lead(comparison.differences),
        glance=at_a_glance,
        curves=curves,
        wins=_matrix(comparison),
        ranking=_ranking(comparison),
        shares=_shares(comparison),
        asked=comparison.asked,
        num_samples=len(shown),
        samples_left_out=len(comparison.answered) - len(shown),
        replies_json=script_json(
            {"names": comparison.names, "samples": [_sample(s) for s in shown]}
        ),
        figures_json=figures_json([*at_a_glance, *curves]),
        command="truing compare " + " ".join(shlex.quote(str(r.folder)) for r in comparison.runs),
    )


def _glance(comparison: Comparison) -> list[Figure]:
    by_key = {measure.key: measure for measure in comparison.measures}
    found: list[Figure | None] = []
    if comparison.frontier is not None:
        found.append(frontier_figure(comparison.frontier, comparison.names))
    if "score" in by_key and "length" in by_key:
        found.append(length_figure(comparison.names, by_key["score"], by_key["length"]))
    return [figure for figure in found if figure is not None]


# ------------------------------------------------------------------ tables


@dataclass(frozen=True)
class _Cell:
    value: str
    interval: str = ""


@dataclass(frozen=True)
class _Row:
    title: str
    words: str
    cells: tuple[_Cell, ...]


def _row(measure: Measured) -> _Row:
    say = percent if measure.is_share else number
    return _Row(measure.title, measure.words, tuple(_cell(v, say) for v in measure.values))


def _cell(value: Estimate | None, say: Any) -> _Cell:
    if value is None or math.isnan(value.value):
        return _Cell("–")
    if math.isnan(value.low):
        return _Cell(say(value.value))
    return _Cell(say(value.value), f"{say(value.low)} to {say(value.high)}")


@dataclass(frozen=True)
class _Told:
    measure: str
    runs: str
    difference: _Cell
    number: str
    test: str
    p: str
    p_corrected: str
    is_significant: bool


def _told(one: Difference) -> _Told:
    return _Told(
        one.measure.replace("_", " "),
        f"{one.run} − {one.other}",
        _cell(one.difference, signed),
        number(one.difference.number),
        one.test,
        _p(one.p),
        _p(one.p_corrected),
        one.is_significant,
    )


def _p(value: float) -> str:
    if math.isnan(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _lead(differences: Sequence[Difference]) -> str:
    if not differences:
        return ""
    family = max(one.family for one in differences)
    certain = sum(one.is_significant for one in differences)
    told = f"{certain} of them {'is' if certain == 1 else 'are'}" if certain else "none of them is"
    made = "1 comparison was" if family == 1 else f"{family} comparisons were"
    return (
        f"{made} made. Without any true difference about "
        f"{brief(round(LEVEL * family, 2))} of them would have p under {LEVEL:g}; so p is "
        f"corrected for all of them together (Holm), and {told} significant after that. The tests "
        "know the noise of prompts and rows, not that of training: two runs of one recipe with "
        "other seeds differ too."
    )


def _matrix(comparison: Comparison) -> dict[str, Any] | None:
    """Head to head: the row's win rate against the column's."""
    if not comparison.wins:
        return None
    names = list(dict.fromkeys(name for pair in comparison.wins for name in pair))
    order = [
        *[n for n in comparison.names if n in names],
        *[n for n in names if n not in comparison.names],
    ]
    rows = []
    for one in order:
        cells = []
        for other in order:
            found = comparison.wins.get((one, other))
            turned = comparison.wins.get((other, one))
            cell = _Cell("")
            if found is not None:
                cell = _cell(found.win_rate, percent)
            elif turned is not None:
                e = turned.win_rate
                cell = _cell(Estimate(1 - e.value, 1 - e.high, 1 - e.low, e.number), percent)
            cells.append(cell)
        rows.append((one, cells))
    notes = dict.fromkeys(note for win in comparison.wins.values() for note in win.notes)
    return {"names": order, "rows": rows, "notes": list(notes)}


def _ranking(comparison: Comparison) -> dict[str, Any] | None:
    ranking = comparison.ranking
    if ranking is None:
        return None
    models = ranking.to_json()["models"]
    assert isinstance(models, list)
    rows = [(one["model"], _cell(ranking.elo(one["model"]), number)) for one in models]
    return {"anchor": ranking.anchor, "rows": rows, "notes": ranking.notes}


def _shares(comparison: Comparison) -> list[tuple[str, int, str, _Cell]]:
    if comparison.frontier is None:
        return []
    runs = len(comparison.frontier.points)
    return [
        (name, share.number, percent(share.number / runs), _cell(share, percent))
        for name, share in comparison.frontier.shares.items()
    ]


# ------------------------------------------------------------------ samples


def _sample(answered: Answered) -> Mapping[str, Any]:
    return {"prompt": _cut(answered.prompt), "replies": [_reply(one) for one in answered.replies]}


def _reply(reply: Reply) -> Mapping[str, Any]:
    """What the page's script shows; every text made visible here, put in as text there."""
    found: dict[str, Any] = {
        "text": _cut(reply.text),
        "score": reply.score,
        "tokens": reply.tokens,
        "finished": reply.finished,
    }
    if reply.pieces and len(reply.pieces) == len(reply.log_ratios):
        kept = slice(_MOST_PIECES)
        found["pieces"] = [visible(piece) for piece in reply.pieces[kept]]
        found["ratios"] = [round(ratio, 2) for ratio in reply.log_ratios[kept]]
        found["more"] = max(0, len(reply.pieces) - _MOST_PIECES)
        found["sum"] = round(math.fsum(reply.log_ratios), 2)
        # The pieces are the text; it is not sent twice.
        found["text"] = ""
    return found


def _cut(text: str) -> str:
    kept = visible(text[:_MOST_CHARACTERS])
    left = len(text) - _MOST_CHARACTERS
    return f"{kept} … ({left} more characters)" if left > 0 else kept


def as_json(page: str, name: str) -> Any:
    """The data that stands in a page under this id, for tests and for the curious."""
    start = page.index(f'id="{name}">') + len(f'id="{name}">')
    return json.loads(Markup(page[start : page.index("</script>", start)]))
