"""What a run knows about its data, said in words: counts first, what never happened last."""

from collections.abc import Mapping
from typing import Any

# Names in data.json; a name that is not here is shown as it is.
WORDS = {
    "train": "Trained on",
    "evaluation": "Held out",
    "rows_read": "rows read",
    "rows": "rows used",
    "kinds": "of which",
    "layouts": "layout of each file",
    "malformed": "malformed rows",
    "left_out": "left out",
    "prompt_tokens": "tokens of prompts",
    "response_tokens": "tokens of responses",
    "longest": "longest row, in tokens",
    "shortened": "cut to the limit",
    "lost_tokens": "tokens cut away",
    "moved": "tokens moved from prompt to response",
    "moved_tokens": "tokens that moved",
    "special": "control tokens inside the text",
    "odd_turns": "an unusual order of turns",
    "ends_inside": "an end token inside a response",
    "end_first": "end token put first for want of a prompt",
    "several_turns": "responses of several turns",
    "context_tokens": "tokens of others in responses, without loss",
    "ties": "equal scores",
    "reversed": "the rejected response has the higher score",
    "empty_responses": "empty responses taken out",
    "duplicates": "rows said before",
    "max_length": "limit, in tokens",
    "fingerprint": "fingerprint of the rows",
}


def in_words(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same facts under readable names; what was counted and not met is told in one line."""
    found: dict[str, Any] = {}
    never: list[str] = []
    for name, value in data.items():
        words = WORDS.get(str(name), str(name))
        if _is_tally(value):
            if value["count"]:
                found[words] = _tally(value)
            else:
                never.append(words)
        elif isinstance(value, Mapping):
            found[words] = in_words(value)
        elif value == 0 and not isinstance(value, bool):
            never.append(words)
        elif value not in (None, [], ()):
            found[words] = value
    if never:
        found["never met"] = " · ".join(never)
    return found


def _is_tally(value: Any) -> bool:
    """Counted rows: how many, and the first few of them."""
    return isinstance(value, Mapping) and set(value) == {"count", "first"}


def _tally(value: Mapping[str, Any]) -> list[str]:
    count, first = value["count"], list(value["first"] or [])
    rows = "1 row" if count == 1 else f"{count} rows"
    more = (
        [f"and {count - len(first)} more"] if isinstance(count, int) and count > len(first) else []
    )
    return [rows, *map(str, first), *(more if first else [])]
