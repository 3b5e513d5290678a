"""`truing chat`: the same question to a trained policy and to what it is held beside."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from truing.data import Message
from truing.errors import ConfigError
from truing.jobs.speakers import Speaker, asked, open_speaker, open_start
from truing.responses import Response, Sampling
from truing.responses.stream import ONE_RESPONSE


@dataclass
class Conversation:
    """Several models asked the same questions; each remembers what it said itself.

    Args:
        speakers: in the order in which they are shown.
        sampling: how hot, how long.
        seed: of the draws; models that are asked the same see the same noise.
        is_plain: questions are text to go on from, though there is a chat template.
        system: instructions that stand before the first question.
    """

    speakers: Sequence[Speaker]
    sampling: Sampling = ONE_RESPONSE
    seed: int = 0
    is_plain: bool = False
    system: str = ""
    _said: dict[str, list[Message]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plain = [one.name for one in self.speakers if not one.has_template]
        if self.is_plain and len(plain) == len(self.speakers):
            raise ConfigError(
                "no model here has a chat template, so every question is plain text anyway",
                where="--plain",
                fix="leave it out",
            )
        if self.system and (self.is_plain or plain):
            raise ConfigError(
                "plain text has no system turn",
                where="--system",
                fix="leave it out, or use models with a chat template",
            )

    def ask(self, question: str) -> Mapping[str, Iterator[str | Response]]:
        """For each model the pieces of its response as they come, then the response."""
        return {speaker.name: self._respond(speaker, question) for speaker in self.speakers}

    def _respond(self, speaker: Speaker, question: str) -> Iterator[str | Response]:
        as_turn = speaker.has_template and not self.is_plain
        history = self.history(speaker) if as_turn else []
        for piece in speaker.say(
            asked(question, as_turn=as_turn, history=history), self.sampling, self.seed
        ):
            if isinstance(piece, Response):
                turns = [Message("user", question), Message("assistant", piece.text)]
                history += turns
            yield piece

    def history(self, speaker: Speaker) -> list[Message]:
        """What one model was asked and has said, from the system turn on."""
        first = [Message("system", self.system)] if self.system else []
        return self._said.setdefault(speaker.name, first)

    def forget(self) -> None:
        """Begin anew."""
        self._said.clear()


def open_conversation(
    model: str,
    *,
    compare: str | None = None,
    is_alone: bool = False,
    sampling: Sampling = ONE_RESPONSE,
    seed: int = 0,
    is_plain: bool = False,
    system: str = "",
) -> Conversation:
    """A run beside its start, beside another model, or alone.

    Args:
        model: a run folder, or any model.
        compare: what stands beside it; None: the start of the run.
        is_alone: nothing does.
        sampling: how hot, how long.
        seed: of the draws.
        is_plain: questions are text to go on from.
        system: instructions before the first question.

    Raises:
        ConfigError: `compare` and `is_alone`; or a model that is no run and has no start.
        ModelError: a model cannot be loaded.
    """
    if is_alone and compare is not None:
        raise ConfigError(
            "a model that is alone is compared with nothing",
            where="--alone --compare",
            fix="give one of them",
        )
    tuned = open_speaker(model)
    others = [] if is_alone else [open_start(model) if compare is None else open_speaker(compare)]
    speakers = _named_apart([*others, tuned])
    return Conversation(speakers, sampling, seed, is_plain, system)


def _named_apart(speakers: Sequence[Speaker]) -> list[Speaker]:
    """Two folders may have the same name."""
    names = [speaker.name for speaker in speakers]
    if len(set(names)) == len(names):
        return list(speakers)
    return [replace(one, name=f"{one.name} ({i})") for i, one in enumerate(speakers, start=1)]
