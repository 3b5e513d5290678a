"""What stands around a run, shown: a conversation as it is said, responses, an export."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truing.cli import console
from truing.errors import ConfigError

if TYPE_CHECKING:
    from truing.jobs.chat import Conversation
    from truing.jobs.export import Exported
    from truing.responses import Response

NARROW = 80  # columns of a terminal below which nothing stands side by side
QUESTION = "you> "


def show_generated(
    model: str, prompts: str, *, sampling: Mapping[str, Any], seed: int, rows: int | None
) -> None:
    """`truing generate`: JSON lines on stdout, whatever reads them."""
    console.quiet_libraries()
    from truing.jobs.generate import generate
    from truing.responses import Sampling

    asked: Any = prompts
    if prompts == "-":
        asked = [line.rstrip("\n") for line in sys.stdin if line.strip()]
    lines = generate(
        model, asked, sampling=Sampling(**sampling), seed=seed, rows=rows, progress=console.BARS
    )
    for line in lines:
        console.show_line(json.dumps(line.to_json(), ensure_ascii=False))


def show_chat(
    model: str, *, sampling: Mapping[str, Any], as_json: bool, question: str | None, **options: Any
) -> None:
    """`truing chat`: a question from the command or from stdin, else a conversation."""
    if question is None and not sys.stdin.isatty():
        question = sys.stdin.read().removesuffix("\n")
    _check_question(question, as_json=as_json)
    console.quiet_libraries()
    from truing.jobs.chat import open_conversation
    from truing.responses import Sampling

    conversation = open_conversation(model, sampling=Sampling(**sampling), **options)
    if question is not None:
        _one_question(conversation, question, as_json=as_json)
        return
    console.say("ask; /new forgets what was said, an empty line or Ctrl-D ends")
    for asked in _questions(conversation):
        _answer(conversation, asked)


def _check_question(question: str | None, *, as_json: bool) -> None:
    if question is not None and not question.strip():
        raise ConfigError(
            "there is no question", where="QUESTION", fix="give one, or write it to stdin"
        )
    if question is None and as_json:
        raise ConfigError(
            "a conversation at a terminal is no JSON value",
            where="--json",
            fix="give the question with the command, or leave --json out",
        )


def _questions(conversation: "Conversation") -> Iterator[str]:
    while True:
        asked = console.read_line(QUESTION)
        if not asked:
            return
        if asked == "/new":
            conversation.forget()
            continue
        yield asked


def _one_question(conversation: "Conversation", question: str, *, as_json: bool) -> None:
    if not as_json:
        _answer(conversation, question)
        return
    found: dict[str, Any] = {"question": question, "responses": {}}
    for name, pieces in conversation.ask(question).items():
        last: Any = list(pieces)[-1]
        found["responses"][name] = {
            "text": last.text,
            "tokens": len(last.tokens),
            "finished": last.finished,
        }
    console.show_json(found)


def _answer(conversation: "Conversation", question: str) -> None:
    """Side by side where there is a terminal with room for it, else one after the other."""
    said = conversation.ask(question)
    if len(said) > 1 and console.OUT.is_terminal and console.OUT.width >= NARROW:
        console.show_beside({name: _texts(pieces) for name, pieces in said.items()})
        return
    for name, pieces in said.items():
        if len(said) > 1:
            console.show_heading(name)
        for text in _texts(pieces):
            console.show_piece(text)
        console.show_piece("\n")


def _texts(pieces: "Iterator[str | Response]") -> Iterator[str]:
    return (piece for piece in pieces if isinstance(piece, str))


def show_export(run: Path, output: Path, *, as_json: bool, **options: Any) -> None:
    """`truing export`."""
    console.quiet_libraries()
    from truing.jobs.export import export

    found: Exported = export(run, output, progress=console.BARS, **options)
    if as_json:
        console.show_json(found.to_json())
        return
    console.show(str(found.output) if found.url is None else found.url)
    what = "adapters" if found.is_adapter else "weights"
    console.say(f"{found.weights_bytes / 1e6:,.1f} MB of {what}; read {found.output / 'README.md'}")
