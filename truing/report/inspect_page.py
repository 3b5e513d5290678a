"""What `truing inspect` found as one self-contained page."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from truing.report.frame import Figure, figures_json
from truing.report.inspect_figures import (
    length_figures,
    limit_figures,
    margin_figures,
    score_figures,
)
from truing.report.numbers import brief, number, percent, signed
from truing.report.template import render, script_files

_LEVELS = {"bad": "To be mended", "look": "Worth a look", "note": "Good to know"}
_VERDICTS = {
    "bad": "not fit for training",
    "look": "worth a look first",
    "good": "fit for training",
}
_DATA = (
    ("rows read", "rows_read"),
    ("rows with signal", "rows_with_signal"),
    ("pairs", "pairs"),
    ("responses", "responses"),
    ("different prompts", "prompts"),
    ("most rows of one prompt", "most_rows_of_a_prompt"),
    ("rows with an empty prompt", "empty_prompts"),
    ("conversations", "conversational"),
)


@dataclass(frozen=True)
class Tile:
    """One number with its words; `verdict` is "bad" or ""."""

    title: str
    value: str
    interval: str
    words: str
    verdict: str = ""


@dataclass(frozen=True)
class Group:
    """Figures that belong together."""

    id: str
    title: str
    lead: str
    figures: tuple[Figure, ...]


def inspect_page(values: Mapping[str, Any]) -> str:
    """The page, as HTML.

    Args:
        values: the report of `truing.jobs.inspect.inspect` as plain values.
    """
    from plotly.offline import get_plotlyjs

    groups = [group for group in _groups(values) if group.figures]
    figures = [figure for group in groups for figure in group.figures]
    findings = {
        title: [finding for finding in values["findings"] if finding["level"] == level]
        for level, title in _LEVELS.items()
    }
    before, _, after = values["template"].get("sample", "").partition("⟦response⟧")
    return render(
        "inspect.html.j2",
        (get_plotlyjs(), *script_files("page.js")),
        source=values["source"],
        verdict=values["verdict"],
        verdict_words=_VERDICTS[values["verdict"]],
        findings={title: some for title, some in findings.items() if some},
        tiles=_tiles(values),
        groups=groups,
        data=_data(values),
        tokens=_tokens(values["template"]),
        sample=(before, after) if after else None,
        recommendation=values["margins"].get("recommendation", ""),
        figures_json=figures_json(figures),
    )


def _groups(values: Mapping[str, Any]) -> list[Group]:
    return [
        Group(
            "length",
            "Length",
            "Labels often follow length, and a reward that sums over tokens learns it. What "
            "follows is known before any training.",
            length_figures(values),
        ),
        Group(
            "scores",
            "Scores",
            "What a judge's numbers say of the pairs, and what an objective with an offset would "
            "make of them.",
            score_figures(values),
        ),
        Group(
            "limits",
            "Limits",
            "Prompt and longest response of each row, the end token counted.",
            limit_figures(values),
        ),
        Group(
            "margins",
            "Margins at the start",
            values["margins"].get("lead", ""),
            margin_figures(values["margins"]),
        ),
    ]


def _tiles(values: Mapping[str, Any]) -> list[Tile]:
    counts, bias, labels = values["counts"], values["bias"], values["labels"]
    if not counts:
        return []
    tiles = [
        Tile(
            "Rows with signal",
            number(counts["rows_with_signal"]),
            f"of {number(counts['rows_read'])} read",
            f"{number(counts['pairs'])} pairs over {number(counts['prompts'])} different prompts.",
        )
    ]
    for facts, words in ((bias, "pairs"), (labels, "couples of one desirable, one undesirable")):
        if facts and facts.get("longer_wins") is not None:
            tiles.append(_share_tile(facts, words))
    if bias:
        tiles.append(
            Tile(
                "Chosen minus rejected",
                signed(bias["difference"]),
                _interval(bias, "difference", signed),
                f"Mean length difference of a pair, in {values['unit']}.",
            )
        )
    if bias.get("score_correlation") is not None:
        tiles.append(
            Tile(
                "Length and score",
                brief(bias["score_correlation"]),
                _interval(bias, "score_correlation", brief),
                "Correlation of the length difference with the score gap.",
            )
        )
    found = values["duplicates"]
    if found:
        tiles.append(
            Tile(
                "Contradictions",
                number(found["contradictions"]["count"]),
                f"{number(found['repeats']['count'])} repeated rows",
                "Pairs in both orders, responses with two labels or two scores. "
                f"{number(found['near']['count'])} prompts are nearly like another.",
                "bad" if found["contradictions"]["count"] else "",
            )
        )
    return tiles


def _share_tile(facts: Mapping[str, Any], words: str) -> Tile:
    low, high = facts["longer_wins_low"], facts["longer_wins_high"]
    is_biased = low is not None and (low > 0.55 or high < 0.45)
    return Tile(
        "“Longer wins” is right on",
        percent(facts["longer_wins"]),
        _interval(facts, "longer_wins", percent),
        f"of the {words}; one half is chance.",
        "bad" if is_biased else "",
    )


def _interval(facts: Mapping[str, Any], name: str, say: Any) -> str:
    low, high = facts.get(f"{name}_low"), facts.get(f"{name}_high")
    return "" if low is None or high is None else f"95 % interval {say(low)} to {say(high)}"


def _data(values: Mapping[str, Any]) -> dict[str, Any]:
    counts = values["counts"]
    if not counts:
        return {}
    facts: dict[str, Any] = {name: counts[key] for name, key in _DATA if counts[key]}
    facts["kinds"] = ", ".join(f"{number(n)} {kind}" for kind, n in counts["kinds"].items())
    facts["layout of each file"] = dict(counts["layouts"])
    found = values["contamination"]
    if found and "error" not in found:
        facts["against test rows"] = {
            "test set": found["source"],
            "prompts that are also here": found["exact"]["count"],
            "prompts that are nearly here": found["near"]["count"],
        }
    return facts


def _tokens(template: Mapping[str, Any]) -> dict[str, Any]:
    if not template:
        return {}
    return {
        "tokenizer": template["tokenizer"],
        "chat template": template["has_chat_template"],
        "begin token": template["begin_token"],
        "end token": template["end_token"],
        "rows whose border moved": template["moved"]["count"],
        "tokens that moved": template["moved_tokens"],
        "rows with control texts inside": template["special"]["count"],
        "rows with responses of several turns": template["several_turns"]["count"],
    }
