"""Measures shown: as tables for a person, as JSON for a program."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truing.cli import console
from truing.cli.show import show_numbers

if TYPE_CHECKING:
    from truing.evaluation import Estimate

_RESPONSES = (
    ("score", "score", "{:.3f}"),
    ("score_gain", "score gained on the baseline", "{:+.3f}"),
    ("win_rate", "win rate against the baseline", "{:.3f}"),
    ("length_controlled_win_rate", "the same, length-controlled", "{:.3f}"),
    ("kl", "KL to the reference, nats", "{:.3f}"),
    ("length", "length, tokens", "{:.1f}"),
    ("length_before", "length of the baseline", "{:.1f}"),
    ("repetition", "repetition", "{:.3f}"),
    ("distinct_2", "distinct 2-grams", "{:.3f}"),
    ("surprise", "entropy, nats a token", "{:.3f}"),
    ("cut", "cut at the limit", "{:.3f}"),
)


def show_evaluation(
    run: Path, data: str | None, options: Mapping[str, Any], *, as_json: bool
) -> None:
    """`truing evaluate`."""
    from truing.jobs.evaluate import evaluate

    console.quiet_libraries()
    found = evaluate(run, data, progress=console.BARS, **options)
    if as_json:
        console.show_json(found)
        return
    if "pairs" in found or "texts" in found:
        show_numbers(f"{run} on {found['data']}", found)
        _show_buckets(found.get("by_length_difference") or ())
    if "generations" in found:
        _show_responses(run, found["generations"])
    if "tasks" in found:
        _show_tasks(run, found["tasks"])
    console.show(str(run / "report.html"))


_ACCURACIES = (
    ("reward_accuracy", "reward accuracy"),
    ("policy_accuracy", "by log p"),
    ("policy_accuracy_per_token", "by log p, per token"),
)


def _show_buckets(buckets: Sequence[Mapping[str, Any]]) -> None:
    """Accuracy by length difference: level where quality was learned, rising where length was."""
    known = [(key, title) for key, title in _ACCURACIES if any(key in one for one in buckets)]
    rows = [
        (
            _tokens(one["low"]) + f" to {_tokens(one['high'])}" * (one["low"] != one["high"]),
            str(one["pairs"]),
            *(_rate(one, key) for key, _ in known),
        )
        for one in buckets
    ]
    if len(rows) > 1:
        columns = ("chosen − rejected, tokens", "pairs", *(title for _, title in known))
        console.show_table("by length difference", columns, rows)


def _tokens(difference: float) -> str:
    return f"{difference:+.0f}" if difference else "0"


def _show_responses(run: Path, numbers: Mapping[str, Any]) -> None:
    rows = []
    for key, title, form in _RESPONSES:
        if numbers.get(key) is not None:
            low, high = numbers.get(f"{key}_low"), numbers.get(f"{key}_high")
            known = low is not None and high is not None
            interval = f"{form.format(low)} to {form.format(high)}" if known else ""
            rows.append((title, form.format(numbers[key]), interval))
    title = f"{run}: {numbers['responses']} responses to {numbers['prompts']} prompts"
    console.show_table(title, ("measure", "value", "95 % interval"), rows)
    for note in numbers["notes"]:
        console.say(f"note: {note}")


def _show_tasks(run: Path, tasks: Sequence[Mapping[str, Any]]) -> None:
    rows = [
        (
            f"{line['task']}: {line['metric']}",
            f"{line['value']:.4f}",
            "" if line["standard_error"] is None else f"± {line['standard_error']:.4f}",
        )
        for line in tasks
    ]
    console.show_table(f"{run}: tasks", ("task", "value", "standard error"), rows)


_MOST_WITH_INTERVALS = 3  # runs beyond which a table with intervals is too wide to read


def _measured(value: "Estimate | None", form: str, *, has_room: bool) -> str:
    if value is None or value.value != value.value:
        return "–"
    said = form.format(value.value)
    known = has_room and value.low == value.low
    return f"{said} ({form.format(value.low)} to {form.format(value.high)})" if known else said


def show_comparison(runs: Sequence[Path], options: Mapping[str, Any], *, as_json: bool) -> None:
    """`truing compare`."""
    from truing.jobs.compare import compare

    console.quiet_libraries()
    found = compare(runs, progress=console.BARS, **options)
    if as_json:
        console.show_json({**found.to_json(), "page": str(options["output"])})
        return
    rows = []
    for measure in found.measures:
        form = "{:.1%}" if measure.is_share else "{:.3g}"
        has_room = len(found.names) <= _MOST_WITH_INTERVALS
        cells = (_measured(value, form, has_room=has_room) for value in measure.values)
        rows.append((measure.title, *cells))
    if rows:
        console.show_table("", ("measure", *found.names), rows)
    certain = [one for one in found.differences if one.is_significant]
    family = max((one.family for one in found.differences), default=0)
    if family and not certain:
        console.show(f"none of {family} comparisons is significant after correction (Holm)")
    if certain:
        console.show_table(
            f"significant after correction (Holm) for {family} comparisons",
            ("measure", "difference", "interval", "p, corrected"),
            [
                (
                    f"{one.measure}: {one.run} − {one.other}",
                    f"{one.difference.value:+.3g}",
                    f"{one.difference.low:+.3g} to {one.difference.high:+.3g}",
                    f"{one.p_corrected:.3f}",
                )
                for one in certain
            ],
        )
    for note in found.notes:
        console.say(f"note: {note}")
    console.show(str(options["output"]))


def show_judgements(path: Path, baseline: str | None, *, as_json: bool) -> None:
    """`truing compare --judgements`."""
    from truing.jobs.judging import judged_models

    found = judged_models(path, baseline)
    if as_json:
        console.show_json(found)
        return
    rows = [
        (
            one["model"],
            *(_rate(one, key) for key in ("win_rate", "length_controlled_win_rate")),
            f"{one['wins']} / {one['losses']} / {one['ties']}",
        )
        for one in found["models"]
    ]
    columns = ("model", "win rate", "length-controlled", "wins / losses / ties")
    console.show_table(f"against {found['baseline']}", columns, rows)
    if found["ranking"] is not None:
        places = [
            (one["model"], *(f"{one[key]:.0f}" if one[key] is not None else "–" for key in _ELO))
            for one in found["ranking"]["models"]
        ]
        columns = ("model", "rating", "from", "to")
        console.show_table("Bradley-Terry, as Elo, with 95 % intervals", columns, places)
    _show_matrix(found)
    for note in found["notes"]:
        console.say(f"note: {note}")


_ELO = ("elo", "elo_low", "elo_high")


def _show_matrix(found: Mapping[str, Any]) -> None:
    """Who wins against whom, where others met than with the baseline: the row's rate."""
    rates = {(one["model"], one["baseline"]): one["win_rate"] for one in found["head_to_head"]}
    if all(found["baseline"] in pair for pair in rates):
        return
    rates |= {(other, one): 1 - rate for (one, other), rate in rates.items()}
    names = [found["baseline"], *dict.fromkeys(one for one, _ in rates if one != found["baseline"])]
    rows = [
        (one, *(f"{rates[one, two]:.1%}" if (one, two) in rates else "" for two in names))
        for one in names
    ]
    console.show_table("head to head", ("wins of … against …", *names), rows)


def _rate(one: Mapping[str, Any], key: str) -> str:
    value, low, high = (one.get(f"{key}{end}") for end in ("", "_low", "_high"))
    if value is None:
        return "undefined"
    return f"{value:.1%}" if low is None else f"{value:.1%} ({low:.1%} to {high:.1%})"


_JUDGE = (
    ("accuracy", "right"),
    ("longer_wins", "the rule “the longer one wins”"),
    ("accuracy_longer", "right where the longer one is better"),
    ("accuracy_shorter", "right where the shorter one is better"),
    ("prefers_longer", "prefers the longer one"),
    ("first_place", "preference for the first place"),
    ("consistency", "same verdict in both orders"),
    ("agreement_with_votes", "agreement with a person"),
    ("ties", "ties"),
)


def show_judge(data: Path, score: str | None, *, as_json: bool) -> None:
    """`truing judge`."""
    from truing.jobs.judge_quality import judge

    found = judge(data, score)
    if as_json:
        console.show_json(found)
        return
    rows = [
        (title, f"{found[key]:.1%}", _interval(found, key))
        for key, title in _JUDGE
        if found.get(key) is not None
    ]
    if found["kappa"] is not None:
        rows.append(("Cohen's kappa", f"{found['kappa']:.3f}", ""))
    console.show_table(f"{found['pairs']} pairs of {data}", ("", "value", "95 % interval"), rows)
    for note in found["notes"]:
        console.say(f"note: {note}")


def _interval(found: Mapping[str, Any], key: str) -> str:
    low, high = found.get(f"{key}_low"), found.get(f"{key}_high")
    return "" if low is None or high is None else f"{low:.1%} to {high:.1%}"
