"""The fast paths: rows packed without padding, prompts once or once a response, a fused head.

M response tokens, L prompt tokens, U distinct predicted tokens, T tokens of the packed row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from truing.engine.forward import Packed, head_of, install
from truing.engine.fused import KEEP_BYTES, TILE_ELEMENTS, Head, HeadJob
from truing.engine.layout import PackedRows, copy_prompts, share_prefixes
from truing.engine.logps import TokenLogps, TokenRow, Wanted, response_index
from truing.engine.pack import plan_passes, shared_bundles, single_bundles
from truing.errors import ModelError

# Prompts share their first parts in whole blocks: a shared run of a few tokens saves less than the
# bookkeeping of one more segment costs.
SHARED_BLOCK = 16


@dataclass(frozen=True)
class SharedEngine:
    """`prompt | response 1 | ... | response K` in one row, each prompt once, no padding.

    A response sees its prompt and itself. Prompts that begin alike share that part too.

    Args:
        tokens_per_device: tokens of one forward pass, shared ones counted once.
        block: prompts share whole blocks of so many tokens.
        tile_elements: logits that are held at once.
        keep_bytes: how much of the head's work may be kept for the backward.
    """

    tokens_per_device: int
    block: int = SHARED_BLOCK
    tile_elements: int = TILE_ELEMENTS
    keep_bytes: int = KEEP_BYTES

    def plan(self, rows: Sequence[TokenRow]) -> list[list[int]]:
        """See `Engine.plan`: first fit, longest first, rows that begin alike together."""
        bundles = shared_bundles(rows, self.block, self.tokens_per_device)
        return plan_passes(rows, bundles, self.tokens_per_device)

    def layout(self, rows: Sequence[TokenRow]) -> PackedRows:
        """Where each token of the rows stands in the packed row."""
        return share_prefixes(rows, self.block)

    def logps(self, model: nn.Module, rows: Sequence[TokenRow], wanted: Wanted) -> TokenLogps:
        """See `Engine.logps`.

        Raises:
            ModelError: the model has attention of its own, or virtual tokens.
        """
        job = HeadJob(wanted.named, None, self.tile_elements, self.keep_bytes)
        return packed_logps(model, rows, self.layout(rows), wanted, job)


@dataclass(frozen=True)
class PackedEngine:
    """`prompt | response` after `prompt | response`, no padding, nothing shared.

    Args:
        tokens_per_device: tokens of one forward pass.
        tile_elements: logits that are held at once.
        keep_bytes: how much of the head's work may be kept for the backward.
    """

    tokens_per_device: int
    tile_elements: int = TILE_ELEMENTS
    keep_bytes: int = KEEP_BYTES

    def plan(self, rows: Sequence[TokenRow]) -> list[list[int]]:
        """See `Engine.plan`: first fit, longest first."""
        return plan_passes(rows, single_bundles(rows), self.tokens_per_device)

    def layout(self, rows: Sequence[TokenRow]) -> PackedRows:
        """Where each token of the rows stands in the packed row."""
        return copy_prompts(rows)

    def logps(self, model: nn.Module, rows: Sequence[TokenRow], wanted: Wanted) -> TokenLogps:
        """See `Engine.logps`.

        Raises:
            ModelError: the model has attention of its own, or virtual tokens.
        """
        job = HeadJob(wanted.named, None, self.tile_elements, self.keep_bytes)
        return packed_logps(model, rows, self.layout(rows), wanted, job)


def packed_logps(
    model: nn.Module,
    rows: Sequence[TokenRow],
    packed: PackedRows,
    wanted: Wanted,
    job: HeadJob,
) -> TokenLogps:
    """Log-probs of rows that are laid out already."""
    install(model)
    device = next(model.parameters()).device
    asked = [packed.response_tokens, *([packed.prompt_tokens] if wanted.prompt else [])]
    # A token that several rows share is computed once and read by each of them.
    tokens, index = np.unique(np.concatenate(asked), return_inverse=True)
    inputs = {
        "input_ids": _tensor(packed.ids, device)[None],
        "position_ids": _tensor(packed.tree.positions, device)[None],
    }
    job = _with_reference(job, wanted, inputs, packed, tokens, device)
    request = Packed(packed.tree, *_predicted(packed, tokens, device), job, wanted.prompt_end)
    found: Mapping[str, Tensor] = model(**inputs, packed=request)
    response, group = response_index(rows, device)
    of_responses = _gather(index[: len(response)], len(tokens), device)
    prompt = prompt_group = None
    if wanted.prompt:
        prompt = found["logps"].index_select(0, _tensor(index[len(response) :], device))
        prompt_group = _tensor(packed.prompt_rows, device)
    return TokenLogps(
        logps=of_responses(found["logps"]),
        response=response,
        group=group,
        prompt=prompt,
        prompt_group=prompt_group,
        statistics=MappingProxyType({name: of_responses(found[name]) for name in job.statistics}),
        prompt_end=_prompt_ends(rows, found["hidden"], index) if wanted.prompt_end else None,
    )


def _prompt_ends(rows: Sequence[TokenRow], hidden: Tensor, index: np.ndarray) -> Tensor:
    """What predicts the first token of each row's first response: its prompt's last state."""
    sizes = [sum(map(len, row.responses)) for row in rows]
    firsts = np.cumsum([0, *sizes[:-1]])
    return hidden.index_select(0, _tensor(index[firsts], hidden.device))


def _tensor(values: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64)).to(device)


def _predicted(
    packed: PackedRows, tokens: np.ndarray, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Who predicts these tokens, and which ids they have; (U,) each."""
    predictors = packed.tree.predictors[tokens]
    return _tensor(predictors, device), _tensor(packed.ids[tokens], device)


def _gather(index: np.ndarray, count: int, device: torch.device) -> Any:
    """Reads each response token's value among the distinct ones."""
    if len(index) == count and bool((index == np.arange(count)).all()):
        return lambda values: values
    where = _tensor(index, device)
    return lambda values: values.index_select(0, where)


def _with_reference(
    job: HeadJob,
    wanted: Wanted,
    inputs: Mapping[str, Tensor],
    packed: PackedRows,
    tokens: np.ndarray,
    device: torch.device,
) -> HeadJob:
    """The job with the reference's hidden states, where a statistic reads them.

    Raises:
        ModelError: the reference's head is no matrix product.
    """
    if wanted.live_reference is None:
        return job
    with torch.no_grad(), wanted.live_reference() as reference:
        base = install(reference)
        request = Packed(packed.tree, *_predicted(packed, tokens, device), None)
        hidden = reference(**inputs, packed=request)["hidden"]
        return replace(job, reference=(hidden, _as_it_is_now(*head_of(base), hidden)))


def _as_it_is_now(head: Head, module: nn.Module | None, hidden: Tensor) -> Head:
    """A head as numbers that stay when its block is closed, an adapter on it among them.

    Outside the block the adapters are on again, or the policy's weights back in their place: a
    parameter would then be another one.

    Raises:
        ModelError: it is more than one matrix product with a bias.
    """
    if module is None:
        weight, bias = head.weight.detach(), head.bias
        return replace(head, weight=weight, bias=None if bias is None else bias.detach())
    bias = module(torch.zeros_like(hidden[:1]))
    weight = module(torch.eye(hidden.shape[1]).to(hidden)).sub_(bias).t()
    found = linear(hidden[:8].to(weight.dtype), weight, bias[0])
    gap = float((found - module(hidden[:8])).abs().max())
    if gap > torch.finfo(weight.dtype).eps ** 0.5 * (1 + float(found.abs().max())):
        raise ModelError(
            "the reference's head is no matrix product, which the divergence from it reads",
            where=type(module).__name__,
            fix="use engine=padded",
        )
    return replace(head, weight=weight, bias=bias[0])
