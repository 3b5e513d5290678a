"""From numbers to sentences: what a user should do about his data, most serious first."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from truing.data.signal import REASONS

Level = Literal["bad", "look", "note"]
_ORDER: tuple[Level, ...] = ("bad", "look", "note")

# "Longer wins" farther from one half than this, its whole interval, is a bias to look at.
BIAS = 0.05
# Shares of rows from which something is worth a look.
_MANY_OVER, _MANY_LIKE, _ONE_SIDED, _RARE = 0.05, 0.05, 0.9, 0.02


@dataclass(frozen=True)
class Finding:
    """Something to know about the data.

    Args:
        level: "bad" fails the inspection, "look" is worth a look, "note" is good to know.
        what: one sentence without a full stop.
        fix: what to do about it; "" where nothing need be done.
    """

    level: Level
    what: str
    fix: str


def findings_of(values: Mapping[str, Any], notes: Sequence[str]) -> tuple[Finding, ...]:
    """All findings on the values of a report."""
    found = [
        *_rows(values["counts"]),
        *_contamination(values["contamination"]),
        *_bias(values["bias"], values["unit"]),
        *_labels(values["labels"]),
        *_duplicates(values["duplicates"]),
        *_tokens(values["template"]),
        *_limit(values),
        *_scores(values["scores"]),
        *(Finding("note", note, "") for note in notes),
    ]
    return tuple(sorted(found, key=lambda finding: _ORDER.index(finding.level)))


def _said(tally: Mapping[str, Any]) -> str:
    """`12 rows (a.jsonl row 3; ...)`."""
    count, first = tally["count"], tally["first"]
    rest = f"; and {count - 3} more" if count > 3 else ""
    return f"{count} row{'s' * (count != 1)} ({'; '.join(first[:3])}{rest})"


def _rows(counts: Mapping[str, Any]) -> Iterator[Finding]:
    if counts["malformed"]["count"]:
        fix = "mend them, or train with --skip-bad FILE, which writes them out and goes on"
        yield Finding("bad", f"malformed: {_said(counts['malformed'])}", fix)
    if not counts["rows_with_signal"]:
        yield Finding("bad", "no row has a signal to train on", "give rows whose responses differ")
    silent = counts["silent"]
    for word, reason in REASONS.items():
        if word in silent:
            fix = "nothing need be done: they are left out and counted (with --strict an error)"
            yield Finding("look", f"left out, {reason}: {_said(silent[word])}", fix)
    others: dict[str, tuple[Level, str, str]] = {
        "reversals": (
            "look",
            "the rejected response has the higher score",
            "exchange the two; objectives that need an order leave them out",
        ),
        "idle_tools": (
            "note",
            "descriptions of tools that reach no model: the text is plain, or the chat template "
            "writes none",
            "",
        ),
        "ties": (
            "note",
            "equal scores of chosen and rejected",
            "objectives that need an order leave them out",
        ),
        "empty_in_kwise": ("note", "empty responses among several; they are taken out", ""),
        "joined": (
            "look",
            "prompt and response run into one word",
            "put the space that belongs between them at the start of the response",
        ),
    }
    for word, (level, what, fix) in others.items():
        if word in silent:
            is_rare = silent[word]["count"] < _RARE * counts["rows"]
            found: Level = "note" if is_rare and word == "joined" else level
            yield Finding(found, f"{what}: {_said(silent[word])}", fix)


def _contamination(found: Mapping[str, Any]) -> Iterator[Finding]:
    if not found:
        return
    if "error" in found:
        yield Finding("bad", f"the test rows cannot be read: {found['error']}", "")
        return
    if found["exact"]["count"]:
        what = f"test prompts that are also trained on: {_said(found['exact'])}"
        yield Finding("bad", what, "split by prompt: truing split")
    if found["near"]["count"]:
        what = f"test prompts that are nearly those of training: {_said(found['near'])}"
        yield Finding("look", what, "look at them; split by prompt if they are the same question")


def _bias(bias: Mapping[str, Any], unit: str) -> Iterator[Finding]:
    if bias.get("equal") == 1:
        what = "both responses of every pair are equally long: there is no length bias to measure"
        yield Finding("note", what, "")
    if not bias or bias["longer_wins_low"] is None:
        return
    share, low, high = (bias[f"longer_wins{end}"] for end in ("", "_low", "_high"))
    side = "longer" if share >= 0.5 else "shorter"
    outside = low > 0.5 + BIAS or high < 0.5 - BIAS
    value, ends = max(share, 1 - share), (low, high) if share >= 0.5 else (1 - high, 1 - low)
    what = (
        f"the rule “the {side} response is chosen” is right on {value:.1%} of the pairs "
        f"({ends[0]:.1%} to {ends[1]:.1%}); chosen is {bias['difference']:+.1f} {unit} on average"
    )
    fix = (
        "a summed reward learns this: use sampo() or an averaged form, or train on "
        "`truing subset`s, and report length beside every win rate"
        if outside
        else ""
    )
    yield Finding("look" if outside else "note", what, fix)


def _labels(labels: Mapping[str, Any]) -> Iterator[Finding]:
    if not labels:
        return
    good, bad = labels["desirable"], labels["undesirable"]
    if not good or not bad:
        missing = "undesirable" if good else "desirable"
        fix = "give both kinds; the weights of the classes cannot follow from the counts"
        yield Finding("look", f"no row is labelled {missing}", fix)
        return
    share = max(good, bad) / (good + bad)
    if share > _ONE_SIDED:
        what = f"{share:.0%} of the labels are the same ({good} true, {bad} false)"
        yield Finding("look", what, "set the weights of the two classes")
    if labels["longer_wins_low"] is None:
        what = "all responses are equally long: there is no length bias to measure"
        yield Finding("note", what, "")
    elif labels["longer_wins_low"] > 0.5 + BIAS or labels["longer_wins_high"] < 0.5 - BIAS:
        what = (
            f"a desirable response is longer than an undesirable one in {labels['longer_wins']:.1%}"
        )
        yield Finding("look", f"{what} of all couples", "length is part of what would be learned")


def _duplicates(found: Mapping[str, Any]) -> Iterator[Finding]:
    if not found:
        return
    if found["contradictions"]["count"]:
        fix = "keep one of the two, or expect their losses to cancel"
        yield Finding("look", f"contradictions: {_said(found['contradictions'])}", fix)
    if found["repeats"]["count"]:
        what = f"rows that repeat an earlier one: {_said(found['repeats'])}"
        yield Finding("note", what, "they count twice; remove them if that is not meant")
    if found["near"]["count"]:
        many = found["near"]["count"] > _MANY_LIKE * found["distinct_prompts"]
        what = f"prompts that are nearly an earlier one: {_said(found['near'])}"
        yield Finding("look" if many else "note", what, "")


def _tokens(template: Mapping[str, Any]) -> Iterator[Finding]:
    if not template:
        return
    sentences: dict[str, tuple[Level, str, str]] = {
        "ends_inside": (
            "look",
            "an end token inside a response, before its end",
            "remove it: the model would learn to go on after its end token",
        ),
        "special": (
            "look",
            "control texts of the tokenizer inside the text; they are read as control tokens",
            "remove or rewrite them",
        ),
        "odd_turns": ("note", "an unusual order of turns, which the chat template takes", ""),
        "several_turns": (
            "note",
            "responses of several turns; only the assistant's are learned, and counted",
            "",
        ),
        "moved": ("note", "tokens that join the end of the prompt with the response", ""),
        "end_first": ("note", "no prompt token and no begin token: the end token comes first", ""),
    }
    for word, (level, what, fix) in sentences.items():
        if template[word]["count"]:
            yield Finding(level, f"{what}: {_said(template[word])}", fix)


def _limit(values: Mapping[str, Any]) -> Iterator[Finding]:
    limit = values["counts"]["max_length"]
    for forecast in values["truncation"]:
        if forecast["max_length"] == limit and forecast["rows_over"]:
            level: Level = "look" if forecast["rows_over_share"] > _MANY_OVER else "note"
            what = (
                f"over max_length={limit}: {forecast['rows_over']} rows "
                f"({forecast['rows_over_share']:.1%})"
            )
            yield Finding(
                level, what, "they are dropped, unless truncation= or max_length= says else"
            )


def _scores(scores: Mapping[str, Any]) -> Iterator[Finding]:
    offset = scores.get("offsets", {}).get("log") if scores else None
    if offset and offset["negative"] > 0:
        what = f"odpo(scale='log') asks for less than nothing on {offset['negative']:.1%} of pairs"
        yield Finding(
            "note", f"{what} (a gap below 1)", "scale the scores, or use scale='identity'"
        )
