"""What `truing inspect` found, as tables and sentences on a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from truing.cli import console
from truing.data.signal import REASONS

if TYPE_CHECKING:
    from truing.jobs.inspect import InspectReport

Lines = list[tuple[str, ...]]
_COUNTS = {
    "rows_read": "rows read",
    "malformed": "malformed",
    "rows_with_signal": "rows with signal",
    "pairs": "pairs",
    "responses": "responses",
    "prompts": "different prompts",
    "most_rows_of_a_prompt": "most rows of one prompt",
    "empty_prompts": "empty prompts",
    "conversational": "conversations",
}
_MET = {
    "ties": "equal scores",
    "reversals": "rejected has the higher score",
    "empty_in_kwise": "an empty response among several",
    "joined": "prompt and response in one word",
    "idle_tools": "tools that reach no model",
}
_TWICE = {
    "repeats": "rows that repeat one before",
    "contradictions": "contradictions",
    "near": "nearly equal prompts",
}
_TEST = {"exact": "test prompts that are here too", "near": "test prompts that are nearly here"}
# Shown as percentages.
_SHARES = {"longer_wins"}
_BIAS = {
    "longer_wins": "the rule “the longer one” is right on",
    "difference": "chosen minus rejected, mean",
    "correlation": "correlation of length with being chosen",
    "score_correlation": "correlation of length with the score gap",
}


def show_report(report: "InspectReport") -> None:
    """Tables of what was measured, then the findings, then one line with the verdict."""
    if report.counts:
        console.show_table(report.source, ("rows", "number"), _rows(report))
    for columns, lines in _tables(report):
        if lines:
            console.show_table("", columns, lines)
    for finding in report.findings:
        console.show(f"{finding.level}: {finding.what}")
        if finding.fix and finding.level != "note":
            console.show(f"  fix: {finding.fix}")
    if report.margins:
        console.show(f"margins: {report.margins['recommendation']}")
    console.show(report.verdict_line)


def _rows(report: "InspectReport") -> Lines:
    """What was counted; what a set has not is left out, but for what every set should lack."""
    counts = report.counts
    lines: Lines = [
        (words, brief_of(counts[name])) for name, words in _COUNTS.items() if name in counts
    ]
    kinds = ", ".join(f"{number} {kind}" for kind, number in counts["kinds"].items())
    layouts = ", ".join(dict.fromkeys(counts["layouts"].values()))
    lines += [("kinds", kinds), ("layouts", layouts)]
    words = {**REASONS, **_MET}
    lines += [(words[word], brief_of(tally)) for word, tally in counts["silent"].items()]
    found = report.duplicates
    lines += [(words, brief_of(found[name])) for name, words in _TWICE.items() if name in found]
    against = report.contamination
    lines += [(words, brief_of(against[name])) for name, words in _TEST.items() if name in against]
    if counts["max_length"]:
        lines.append(("max_length", str(counts["max_length"])))
    return lines


def _tables(report: "InspectReport") -> Iterator[tuple[Sequence[str], Lines]]:
    lengths: Lines = [
        (name, *(brief_of(spread.get(key)) for key in ("count", "mean", "median", "p95", "max")))
        for name, spread in report.lengths.items()
        if isinstance(spread, dict)
    ]
    yield (f"lengths, {report.unit}", "count", "mean", "median", "95 %", "longest"), lengths
    for facts in (report.bias, report.labels):
        yield ("length bias", "value", "95 % interval"), _bias(facts)
    keys = ("count", "mean", "p5", "median", "p95")
    yield (
        ("scores", "count", "mean", "5 %", "median", "95 %"),
        [
            (words, *(brief_of(report.scores[name].get(key)) for key in keys))
            for name, words in (("scores", "of responses"), ("gaps", "chosen minus rejected"))
            if report.scores.get(name)
        ],
    )
    offsets = report.scores.get("offsets", {})
    yield (
        ("odpo(alpha=1), offset", "median", "5 %", "95 %", "negative", "undefined"),
        [
            (
                f"scale='{name}'",
                *(brief_of(facts.get(key)) for key in ("median", "p5", "p95")),
                *(f"{facts[key]:.1%}" for key in ("negative", "undefined")),
            )
            for name, facts in offsets.items()
        ],
    )
    yield ("max_length", "rows over", "keep_end cuts", "cut cuts"), _limits(report.truncation)
    yield (
        ("margin", "mean", "above 0", "correlation with length", "95 % interval"),
        [
            (
                form["name"],
                brief_of(form["mean"]),
                f"{form['accuracy']:.1%}",
                brief_of(form["correlation"]),
                _interval(form, "correlation"),
            )
            for form in report.margins.get("forms", ())
        ],
    )


def _bias(facts: Mapping[str, Any]) -> Lines:
    return [
        (
            words,
            f"{facts[name]:.1%}" if name in _SHARES else brief_of(facts[name]),
            _interval(facts, name),
        )
        for name, words in _BIAS.items()
        if facts.get(name) is not None
    ]


def _interval(facts: Mapping[str, Any], name: str) -> str:
    ends = [facts.get(f"{name}_{end}") for end in ("low", "high")]
    if None in ends:
        return ""
    low, high = (f"{end:.1%}" if name in _SHARES else brief_of(end) for end in ends)
    return f"{low} to {high}"


def _limits(forecast: Sequence[Mapping[str, Any]]) -> Lines:
    """Up to the first limit that no row passes."""
    lines: Lines = []
    for row in forecast:
        lines.append(
            (
                str(row["max_length"]),
                f"{row['rows_over']} ({row['rows_over_share']:.1%})",
                *(
                    f"{row[key]:.1%} of tokens"
                    for key in ("prompt_cut_tokens", "response_cut_tokens")
                ),
            )
        )
        if not row["rows_over"]:
            break
    return lines


def brief_of(value: Any) -> str:
    """A number, a text or a count of rows, short."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        if "count" in value:
            return str(value["count"])
        return ", ".join(f"{key} {brief_of(inner)}" for key, inner in value.items())
    return "" if value is None else str(value)
