"""`truing compare`: several runs on rows and prompts that they share."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from truing.core.progress import SILENT, Progress
from truing.errors import ConfigError, RowError
from truing.evaluation.frontier import Measured as Placed
from truing.evaluation.frontier import frontier
from truing.evaluation.judgements import Judgements, WinRate, from_scores, head_to_head
from truing.evaluation.ranking import Ranking, bradley_terry
from truing.evaluation.significance import corrected
from truing.jobs.asked import respond
from truing.jobs.asking import Asking
from truing.jobs.compared import Table, method_of, pair_measures, reply_measures
from truing.jobs.evaluated import (
    GENERATIONS,
    START,
    Generated,
    ScoredPairs,
    read_generated,
    read_pairs,
    update_numbers,
    write_pairs,
)
from truing.jobs.held_out import held_out_numbers
from truing.jobs.opened import OpenRun
from truing.report.collect import collect
from truing.report.compare_page import write_comparison
from truing.report.compared import Answered, Comparison, Reply

PAGE = "compare.html"
START_NAME = "start"
T = TypeVar("T")


def compare(
    runs: Sequence[str | Path],
    *,
    data: str | None = None,
    asking: Asking | None = None,
    output: str | Path = PAGE,
    progress: Progress = SILENT,
) -> Comparison:
    """Set runs beside each other, and write a page.

    What `truing evaluate` has left in the run folders is read; with `data` or `asking`, runs that
    lack it (or have it for other rows, prompts or weights) are evaluated first.

    Args:
        runs: folders of two runs or more.
        data: held-out rows for all of them.
        asking: prompts for all of them, and how their responses are scored.
        output: the page.
        progress: shows long work.

    Raises:
        TruingError: fewer than two runs, a folder without one, no row or prompt in common.
    """
    folders, output = [Path(run) for run in runs], Path(output)
    _check(folders, output)
    read = [collect(folder) for folder in folders]
    names = _names(folders)
    notes: list[str] = []
    for folder in folders:
        notes += _bring_up_to_date(folder, data, asking, progress)
    pairs = _shared_pairs(names, [read_pairs(folder) for folder in folders], notes)
    said = _shared_replies(names, [read_generated(f, GENERATIONS) for f in folders], notes)
    tables: list[Table] = []
    if pairs:
        tables.append(pair_measures(names, pairs))
    starts = _starts(names, folders, notes)
    start = _one_start(starts, said)
    if said:
        tables.append(reply_measures(names, said, start))
    if not tables:
        notes.append(
            "nothing was measured on rows or prompts of all runs: give --prompts or --data, or "
            "run `truing evaluate` on each with the same ones"
        )
    contest = _contest(names, said, start)
    notes += [note for one in (*tables, contest) for note in one.notes]
    comparison = Comparison(
        names=names,
        runs=tuple(read),
        measures=tuple(measure for table in tables for measure in table.measures),
        differences=corrected([one for table in tables for one in table.differences]),
        frontier=_placed(names, read, said),
        wins=contest.wins,
        ranking=contest.ranking,
        answered=_answered(said),
        asked=dict(said[0].settings) if said else {},
        notes=tuple(dict.fromkeys([*notes, *_methods_in_doubt(read)])),
    )
    write_comparison(comparison, output)
    return comparison


def _check(folders: Sequence[Path], output: Path) -> None:
    """What can be refused before anything is read."""
    if len({folder.resolve() for folder in folders}) < 2:
        raise ConfigError(
            "there is nothing to compare", where="compare", fix="give two different runs or more"
        )
    if output.is_dir() or not output.parent.is_dir():
        raise ConfigError("is no place for a page", where=str(output), fix="give FOLDER/NAME.html")


def _names(folders: Sequence[Path]) -> tuple[str, ...]:
    """The last parts of the paths that tell the runs apart."""
    parts = [folder.resolve().parts for folder in folders]
    for depth in itertools.count(1):
        names = tuple("/".join(one[-depth:]) for one in parts)
        if len(set(names)) == len(names) or depth > max(map(len, parts)):
            return names
    raise AssertionError("paths that differ have a depth that tells them apart")


def _bring_up_to_date(
    folder: Path, data: str | None, asking: Asking | None, progress: Progress
) -> list[str]:
    """Evaluate a run where what lies in its folder is not what is asked for; notes on it."""
    opened: OpenRun | None = None
    if data is not None:
        there, opened = read_pairs(folder), OpenRun(folder)
        if there is None or there.marks != opened.marks_of(data, None):
            numbers, pairs = held_out_numbers(opened, data, None, progress)
            if pairs is not None:
                write_pairs(folder, pairs)
            update_numbers(folder, numbers)
    if asking is not None:
        opened = opened or OpenRun(folder)
        wanted = opened.settings_of(asking)
        files = [read_generated(folder, name) for name in (GENERATIONS, START)]
        # `truing evaluate --baseline` leaves another's responses where the start's would lie.
        if [one and one.settings for one in files] != [wanted, {**wanted, "baseline": None}]:
            progress.note(f"{folder} and its start are asked")
            return respond(opened, asking, None, progress)[2]
    return []


# ------------------------------------------------------------------ what they share


def _of_all(
    names: Sequence[str], found: Sequence[T | None], done: str, notes: list[str]
) -> list[T]:
    """What every run has; [] where one has nothing, which is noted where another has something."""
    lacking = [name for name, one in zip(names, found, strict=True) if one is None]
    known = [one for one in found if one is not None]
    if lacking and known:
        notes.append(f"{', '.join(lacking)} was not {done}")
    return [] if lacking else known


def _shared_pairs(
    names: Sequence[str], found: Sequence[ScoredPairs | None], notes: list[str]
) -> list[ScoredPairs]:
    """The pairs that all runs were scored on, in one order; [] where there are none."""
    known = _of_all(names, found, "scored on held-out pairs: give --data", notes)
    if not known:
        return []
    common = set(known[0].key).intersection(*(one.key for one in known[1:]))
    if not common:
        raise RowError(
            "the runs were scored on different rows, none of which they share",
            where=", ".join(dict.fromkeys(one.source for one in known)),
            fix="give --data HELD-OUT.jsonl to score all of them on the same rows",
        )
    most = max(map(len, known))
    if len(common) < most:
        notes.append(f"pairs: the runs share {len(common)} of up to {most}; only these count")
    order = [key for key in known[0].key if key in common]
    return [one.at(order) for one in known]


def _shared_replies(
    names: Sequence[str], found: Sequence[Generated | None], notes: list[str]
) -> list[Generated]:
    """The responses to prompts that all runs were asked, in one order; [] where there are none.

    Raises:
        RowError: they were asked, but no prompt was put to all of them.
    """
    known = _of_all(names, found, "asked: give --prompts", notes)
    if not known:
        return []
    places = [{(one.key, one.number) for one in each.responses} for each in known]
    common = set.intersection(*places)
    if not common:
        raise RowError(
            "the runs were asked different prompts, none of which they share",
            where=", ".join(names),
            fix="give --prompts PROMPTS.jsonl to ask all of them the same",
        )
    most = max(map(len, places))
    if len(common) < most:
        notes.append(f"prompts: the runs share {len(common)} of up to {most} responses")
    marks = {"weights", "content"}
    asked = [{k: v for k, v in each.settings.items() if k not in marks} for each in known]
    differ = [key for key in asked[0] if any(one.get(key) != asked[0][key] for one in asked)]
    if set(differ) - {"prompts", "number"}:
        notes.append(f"the responses were drawn with different settings: {', '.join(differ)}")
    keys = [key for key in known[0].keys if any(place[0] == key for place in common)]
    return [each.only(common).at(keys) for each in known]


def _starts(
    names: Sequence[str], folders: Sequence[Path], notes: list[str]
) -> list[Generated | None]:
    """The responses of each run's start; None where there are none, or another baseline's."""
    found = [read_generated(folder, START) for folder in folders]
    given = [None if one is None else one.settings.get("baseline") for one in found]
    others = [name for name, baseline in zip(names, given, strict=True) if baseline is not None]
    if others:
        notes.append(
            f"{', '.join(others)} was evaluated against another baseline than its start, so "
            "there are no win rates against the start: give --prompts"
        )
    return [None if name in others else one for name, one in zip(names, found, strict=True)]


def _one_start(starts: Sequence[Generated | None], said: Sequence[Generated]) -> Generated | None:
    """The baseline's responses, where all runs have the same ones."""
    if not said or any(one is None for one in starts):
        return None
    wanted = [(one.key, one.number) for one in said[0].responses]
    found = []
    for one in starts:
        assert one is not None
        by_place = {(reply.key, reply.number): reply for reply in one.responses}
        if not all(place in by_place for place in wanted):
            return None
        found.append(tuple(by_place[place] for place in wanted))
    if any([r.text for r in one] != [r.text for r in found[0]] for one in found):
        return None
    first = starts[0]
    assert first is not None
    return Generated(first.settings, found[0])


# ------------------------------------------------------------------ what is made of it


@dataclass(frozen=True)
class _Contest:
    wins: dict[tuple[str, str], WinRate]
    ranking: Ranking | None
    notes: tuple[str, ...] = ()


def _contest(
    names: tuple[str, ...], said: Sequence[Generated], start: Generated | None
) -> _Contest:
    """Everybody against everybody by score; nothing without scores."""
    everybody = [*said, *([start] if start else [])]
    tables = [one.table() for one in everybody]
    if not said or any(table.score is None for table in tables):
        return _Contest({}, None)
    models = (*names, *([START_NAME] if start else []))
    prompt = tables[0].prompt
    assert prompt is not None
    verdicts: Judgements = from_scores(
        models,
        np.stack([table.score for table in tables]),  # type: ignore[arg-type]
        np.stack([table.length for table in tables]),
        prompt,
    )
    wins = dict(head_to_head(verdicts))
    # The start stands at 1000; where it lost (or won) everything, the first that did not.
    for anchor in (models[-1], *models[:-1]):
        try:
            return _Contest(wins, bradley_terry(verdicts, anchor))
        except RowError:
            continue
    told = "no ranking: no two of them won and lost against each other, so no strength is finite"
    return _Contest(wins, None, (told,))


def _placed(names: Sequence[str], runs: Sequence[Any], said: Sequence[Generated]) -> Any:
    """Score against KL, a mean a prompt; None without scores or distances."""
    placed = []
    for name, run, one in zip(names, runs, said, strict=bool(said)):
        table, ratios = one.table(), one.log_ratios()
        if table.score is None or ratios is None or table.prompt is None:
            return None
        k3 = np.expm1(-ratios.log_ratio) + ratios.log_ratio
        sums = np.bincount(ratios.response, weights=k3, minlength=len(table))
        count = np.bincount(table.prompt)
        mean = [np.bincount(table.prompt, weights=v) / count for v in (table.score, sums)]
        objective = run.config.get("objective")
        method = method_of(str(objective)) if objective else name
        placed.append(Placed(name, method, mean[0], mean[1]))
    return frontier(placed) if len(placed) > 1 else None


def _answered(said: Sequence[Generated]) -> tuple[Answered, ...]:
    if not said:
        return ()
    return tuple(
        Answered(
            group[0].prompt,
            tuple(
                Reply(r.text, r.pieces, r.log_ratios, r.score, len(r.tokens), r.finished)
                for r in group
            ),
        )
        for group in zip(*(one.responses for one in said), strict=True)
        if group[0].number == 0
    )


def _methods_in_doubt(runs: Sequence[Any]) -> list[str]:
    objectives = [str(run.config.get("objective")) for run in runs]
    if len(set(objectives)) == 1 or len(set(objectives)) < len(objectives):
        return []
    return [
        "each objective has one run: what differs is between these runs, and says little of the "
        "methods until there are several seeds of each"
    ]
