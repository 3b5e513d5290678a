"""The plain path: every prompt with every response, padded to the longest. The oracle of the rest.

It is written to be obviously right, not fast: the model's own forward with its own mask, all
logits, one log-softmax, one gather.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from truing.engine.logps import TokenLogps, TokenRow, Wanted, device_of, response_index
from truing.engine.statistics import STATISTICS
from truing.errors import FitError


@dataclass(frozen=True)
class PaddedEngine:
    """Rows of `prompt + response`, padded on the right.

    Args:
        tokens_per_device: padded tokens of one forward pass (rows times the longest).
    """

    tokens_per_device: int

    def plan(self, rows: Sequence[TokenRow]) -> list[list[int]]:
        """Rows of like length together, as many as fit; longest first, ties in the given order."""
        width = [len(row.prompt) + max(map(len, row.responses)) for row in rows]
        order = sorted(range(len(rows)), key=lambda i: -width[i])
        passes: list[list[int]] = []
        height = 0
        for index in order:
            sequences = len(rows[index].responses)
            if sequences * width[index] > self.tokens_per_device:
                raise _too_long(rows[index], sequences * width[index], self.tokens_per_device)
            if passes and (height + sequences) * width[passes[-1][0]] <= self.tokens_per_device:
                passes[-1].append(index)
                height += sequences
            else:
                passes.append([index])
                height = sequences
        return [sorted(indices) for indices in passes]

    def logps(self, model: torch.nn.Module, rows: Sequence[TokenRow], wanted: Wanted) -> TokenLogps:
        """See `Engine.logps`."""
        device = device_of(model)
        ids, mask = _padded(rows, device)
        log_probs, states = _log_probs(model, ids, mask, with_states=wanted.prompt_end)
        tokens = log_probs.gather(-1, ids[:, 1:, None]).squeeze(-1)
        inside = _response_mask(rows, ids.shape[1], device)[:, 1:]
        response, group = response_index(rows, device)
        of_responses = log_probs[inside] if wanted.statistics else log_probs
        of_reference = _reference(wanted, ids, mask)
        statistics = {
            name: STATISTICS[name].value(
                of_responses, None if of_reference is None else of_reference[inside]
            )
            for name in wanted.named
        }
        prompt, prompt_group = _prompt_logps(rows, tokens) if wanted.prompt else (None, None)
        return TokenLogps(
            logps=tokens[inside],
            response=response,
            group=group,
            prompt=prompt,
            prompt_group=prompt_group,
            statistics=MappingProxyType(statistics),
            prompt_end=None if states is None else _prompt_ends(rows, states),
        )


def _log_probs(
    model: torch.nn.Module, ids: Tensor, mask: Tensor, *, with_states: bool = False
) -> tuple[Float[Tensor, "N W-1 V"], Float[Tensor, "N W D"] | None]:
    """Position i predicts token i + 1; half precision is summed in float32."""
    found = model(
        input_ids=ids, attention_mask=mask, use_cache=False, output_hidden_states=with_states
    )
    logits = found.logits[:, :-1]
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return logits.log_softmax(-1), found.hidden_states[-1] if with_states else None


def _prompt_ends(rows: Sequence[TokenRow], states: Tensor) -> Float[Tensor, "G D"]:
    """The state at the last prompt token, read from each row's first response's sequence."""
    firsts = np.cumsum([0, *(len(row.responses) for row in rows[:-1])])
    ends = [len(row.prompt) - 1 for row in rows]
    return states[torch.from_numpy(firsts), torch.tensor(ends)]


def _reference(wanted: Wanted, ids: Tensor, mask: Tensor) -> Tensor | None:
    if wanted.live_reference is None:
        return None
    with torch.no_grad(), wanted.live_reference() as reference:
        return _log_probs(reference, ids, mask)[0]


def _too_long(row: TokenRow, tokens: int, budget: int) -> FitError:
    return FitError(
        f"a row needs {tokens} tokens in one forward pass, over the budget of {budget}",
        where=str(getattr(row, "where", "a row")),
        fix=f"set tokens_per_device={tokens} or more, or a smaller max_length",
    )


def _padded(rows: Sequence[TokenRow], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, (sequences, longest); what stands in the padding is masked."""
    sequences = [
        torch.cat([torch.from_numpy(row.prompt), torch.from_numpy(response)]).long()
        for row in rows
        for response in row.responses
    ]
    ids = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True)
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    mask = torch.arange(ids.shape[1])[None] < lengths[:, None]
    return ids.to(device), mask.long().to(device)


def _response_mask(rows: Sequence[TokenRow], width: int, device: torch.device) -> Tensor:
    starts = torch.tensor([len(row.prompt) for row in rows for _ in row.responses])
    ends = torch.tensor([len(row.prompt) + len(r) for row in rows for r in row.responses])
    position = torch.arange(width)[None]
    return ((position >= starts[:, None]) & (position < ends[:, None])).to(device)


def _prompt_logps(
    rows: Sequence[TokenRow], tokens: Float[Tensor, "N W"]
) -> tuple[Float[Tensor, "L"], Tensor]:
    """Log-probs of each prompt's tokens but the first, read from its first response's sequence."""
    first = 0
    parts, groups = [], []
    for index, row in enumerate(rows):
        parts.append(tokens[first, : len(row.prompt) - 1])
        groups.append(torch.full((len(row.prompt) - 1,), index, device=tokens.device))
        first += len(row.responses)
    return torch.cat(parts), torch.cat(groups)
