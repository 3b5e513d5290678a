"""`truing generate`: prompts in, responses out, one JSON line each."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from truing.core.progress import SILENT, Progress
from truing.errors import ConfigError
from truing.jobs.speakers import open_speaker
from truing.pairs.prompts import read_prompts
from truing.responses import Sampling
from truing.responses.groups import Asked
from truing.responses.stream import ONE_RESPONSE


@dataclass(frozen=True)
class Line:
    """One response as it is written.

    Args:
        prompt: the text, or the turns as messages.
        response: the text, without the end token.
        number: which of the prompt's responses, from 0.
        tokens: how many, the end token counted.
        finished: whether the end token came before the limit.
        logp: of all tokens under the model at temperature 1, nats.
    """

    prompt: str | list[dict[str, Any]]
    response: str
    number: int
    tokens: int
    finished: bool
    logp: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def generate(
    model: str,
    prompts: str | Sequence[str],
    *,
    sampling: Sampling = ONE_RESPONSE,
    seed: int = 0,
    rows: int | None = None,
    progress: Progress = SILENT,
) -> Iterator[Line]:
    """Responses of a run, or of any model, to prompts; the same seed gives the same ones.

    Args:
        model: a run folder, a model folder, or a hub name.
        prompts: a file or folder of rows with a `prompt`, `world(...)`, or a list of texts.
        sampling: how many, how hot, how long.
        seed: of the draws.
        rows: only the first so many prompts.
        progress: shows the work.

    Raises:
        TruingError: no such model, a row without a prompt, a prompt that leaves no room.
    """
    if isinstance(prompts, str):
        found: Sequence[Asked] = read_prompts(prompts).first(rows).asked
    else:
        found = [Asked(text) for text in prompts][:rows]
    if not found:
        raise ConfigError("there is no prompt", where="prompts", fix="give one at least")
    speaker = open_speaker(model)
    groups = speaker.respond(found, sampling, seed, progress)
    for prompt, group in zip(found, groups, strict=True):
        speech = prompt.speech
        shown = speech if isinstance(speech, str) else [turn.to_dict() for turn in speech]
        for number, one in enumerate(group):
            yield Line(shown, one.text, number, len(one.tokens), one.finished, one.logp)
