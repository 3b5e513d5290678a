"""What stands beside a row in its step: another row's response (KTO), and texts to be learned."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truing.core.needs import Needs
from truing.core.progress import SILENT, Progress
from truing.data.examples import Example, Ids
from truing.data.limits import Truncation
from truing.data.preparation import Prepared, prepare
from truing.data.sources import Data
from truing.data.turns import LossTurns, Mask
from truing.errors import ConfigError, NeedsError


def partners(examples: Sequence[Example], seed: int) -> NDArray[np.int64]:
    """For each row another row with a different prompt, (rows,); a function of content and seed.

    The rows stand in a circle in the order of a hash of (seed, row id); the partner of a row is
    the next one whose prompt differs. So the partner does not depend on batches, on the order of
    the files or on the world size, and nearly every row is the partner of exactly one.

    Raises:
        NeedsError: all prompts are the same.
    """
    order = np.argsort(_hashed(examples, seed), kind="stable")
    prompts = [examples[int(i)].prompt.tobytes() for i in order]
    size, result = len(order), np.empty(len(order), dtype=np.int64)
    for position, row in enumerate(order):
        steps = (s for s in range(1, size) if prompts[(position + s) % size] != prompts[position])
        step = next(steps, None)
        if step is None:
            raise NeedsError(
                "the objective needs responses to other prompts, and all rows have the same prompt",
                where=str(examples[int(row)].where),
                fix="use data with at least two different prompts",
            )
        result[row] = order[(position + step) % size]
    return result


def mismatched_responses(
    examples: Sequence[Example], *, seed: int, max_length: int
) -> list[tuple[Ids, Mask]]:
    """For each row the token ids of a response that belongs to another prompt, and its mask.

    Of a partner with several responses a hash says which. Where prompt and response together
    would pass `max_length`, the end of the response is cut; one token stays at least. The mask is
    true on the tokens that carry loss.

    Raises:
        NeedsError: all prompts are the same.
    """
    chosen = []
    hashes = _hashed(examples, seed)
    for example, partner, hashed in zip(examples, partners(examples, seed), hashes, strict=True):
        other = examples[int(partner)]
        number = int(hashed) % len(other.responses)
        room = max(1, max_length - len(example.prompt))
        response = other.responses[number][:room]
        mask = np.ones(len(response), dtype=np.bool_)
        if other.learned is not None and other.learned[number][:room].any():
            mask = other.learned[number][:room]
        chosen.append((response, mask))
    return chosen


def _hashed(examples: Sequence[Example], seed: int) -> NDArray[np.uint64]:
    """64 bits of (seed, row id), by the finaliser of SplitMix64 (Steele, Lea, Flood 2014)."""
    word = np.array([example.row_id for example in examples], dtype=np.int64).view(np.uint64)
    word = word ^ np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def prepare_auxiliary(
    sources: Mapping[str, Data],
    tokenizer: Any,
    needs: Needs,
    *,
    max_length: int,
    truncation: Truncation = "cut",
    loss_turns: LossTurns = "all",
    columns: Mapping[str, str] | None = None,
    progress: Progress = SILENT,
) -> dict[str, Prepared]:
    """The named sources that an objective draws from in the same step, each as examples.

    A source holds rows of `text` (learned whole, after the begin token), of `prompt` and
    `completion`, conversations of which `loss_turns` are learned, or any kind of preference rows.

    Raises:
        NeedsError: the objective names a source that is not given.
        ConfigError: a source is given that the objective does not read.
        RowError: see `prepare`.
    """
    for name in sorted(needs.auxiliary - set(sources)):
        raise NeedsError(
            f"the objective needs the auxiliary source {name!r}",
            where="auxiliary",
            fix=f"name it: auxiliary: {{{name}: FILE}}",
        )
    for name in sorted(set(sources) - needs.auxiliary):
        raise ConfigError(
            f"the objective does not read the source {name!r}, so it would have no effect",
            where=f"auxiliary.{name}",
            fix=f"leave it out; the objective reads {', '.join(sorted(needs.auxiliary)) or 'none'}",
        )
    return {
        name: prepare(
            source,
            tokenizer,
            max_length=max_length,
            truncation=truncation,
            loss_turns=loss_turns,
            columns=columns,
            is_auxiliary=True,
            progress=progress,
        )
        for name, source in sources.items()
    }
