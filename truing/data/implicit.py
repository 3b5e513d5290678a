"""Prompts that stand inside the responses: the common start, cut where a word or a turn begins."""

from collections.abc import Sequence
from typing import Any

from truing.data.rows import Message, Speech
from truing.data.where import CellError


def common_start(responses: Sequence[Speech], columns: Sequence[str]) -> tuple[str, list[Speech]]:
    """The longest common start that ends where white space begins in every text.

    The white space stays with the responses, and each of them keeps at least one character. The
    longest common start is not always what the author called the prompt: of "It is 2." and
    "It is 3." it takes "It is". Texts without a common start have an empty prompt.

    Raises:
        CellError: one is text and another is messages.
    """
    texts = [speech for speech in responses if isinstance(speech, str)]
    if len(texts) != len(responses):
        words = [
            f"`{column}` is {'text' if isinstance(speech, str) else 'conversational'}"
            for column, speech in zip(columns, responses, strict=True)
        ]
        raise CellError(f"mixes kinds: {', '.join(words)}", fix="write all responses alike")
    lowest, highest = min(texts), max(texts)  # what these two share, all share
    length = shared_start(lowest, highest)
    border = next((i for i in range(length, 0, -1) if _begins_space(texts, i)), 0)
    return texts[0][:border], [text[border:] for text in texts]


def _begins_space(texts: Sequence[str], i: int) -> bool:
    """White space begins at character `i` of every text, and something stands behind it."""
    return all(
        i < len(text) and text[i].isspace() and not text[i - 1].isspace() and text[i:].strip()
        for text in texts
    )


def common_turns(responses: Sequence[Speech]) -> tuple[tuple[Message, ...], list[Speech]]:
    """The turns with which all conversations begin; each keeps at least its last turn.

    Raises:
        CellError: no turn is common, or a text stands among the conversations.
    """
    conversations = [speech for speech in responses if not isinstance(speech, str)]
    if len(conversations) != len(responses):
        raise CellError("mixes text and messages", fix="write all responses alike")
    first = conversations[0]
    most = min(len(conversation) for conversation in conversations) - 1
    shared = 0
    while shared < most and all(c[shared] == first[shared] for c in conversations):
        shared += 1
    # The prompt ends with a question: what the assistant says last belongs to the response.
    while shared and first[shared - 1].role == "assistant":
        shared -= 1
    if not shared:
        raise CellError(
            "has no prompt: the conversations begin with different turns",
            fix="give a `prompt`, or let all conversations of a row begin alike",
        )
    return first[:shared], [conversation[shared:] for conversation in conversations]


def shared_start(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How many characters (or token ids) both begin with."""
    most = min(len(one), len(other))
    if one[:most] == other[:most]:
        return most
    # Both begin with `low` of the same, and not with `most`: the middle says which half to look in.
    low = 0
    while most - low > 1:
        middle = (low + most) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            most = middle
    return low
