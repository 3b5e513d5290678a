"""Views from rectangular tables, as other trainers and tests have them.

Shapes: P pairs, N responses, T columns (the longest response), R references. A mask says which
columns hold response tokens; what stands elsewhere is never read.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from truing.core.view import View

_BY_SIDE = ("scores", "win_probability", "unconditional")


def from_pairs(
    chosen: Mapping[str, Tensor],
    rejected: Mapping[str, Tensor],
    others: Mapping[str, Any],
) -> "View":
    """A view of pairs: response 2i is the chosen, 2i + 1 the rejected one of pair i.

    Args:
        chosen: by field of `View`, the (P, T), (R, P, T) or (P,) values of the chosen side, and
            its "mask".
        rejected: the same for the rejected side.
        others: further fields of `View`, as they are.
    """
    table = {
        name: _interleaved(chosen[name], rejected[name], -1 if name in _BY_SIDE else -2)
        for name in chosen
    }
    count = chosen["mask"].shape[0]
    device = chosen["mask"].device
    pairs = torch.arange(2 * count, device=device).view(count, 2)
    group = torch.arange(count, device=device).repeat_interleave(2)
    return from_responses(table, group=group, pairs=pairs, others=others)


def from_responses(
    table: Mapping[str, Tensor],
    *,
    group: Int[Tensor, "N"],
    pairs: Int[Tensor, "P 2"] | None,
    others: Mapping[str, Any],
) -> "View":
    """A view of responses in groups; pairs are all that the scores order, unless they are given."""
    mask = table["mask"].bool()
    values: dict[str, Any] = {**others, "group": group}
    values["response"] = torch.nonzero(mask)[:, 0]
    values["policy"] = table["policy"][mask]
    if "references" in table:
        references = table["references"]
        values["references"] = references.reshape(-1, *mask.shape)[:, mask].detach()
    values |= {name: table[name] for name in _BY_SIDE if name in table}
    statistics = {n[len("statistics/") :]: t[mask] for n, t in table.items() if "/" in n}
    if statistics:
        values["statistics"] = statistics
    if pairs is None:
        pairs = ordered_pairs(values.get("scores"), group)
    from truing.core.view import View

    return View(**values, pairs=pairs)


def ordered_pairs(scores: Float[Tensor, "N"] | None, group: Int[Tensor, "N"]) -> Int[Tensor, "P 2"]:
    """All (i, j) of one group with score_i > score_j; none without scores."""
    if scores is None:
        return torch.zeros(0, 2, dtype=torch.int64, device=group.device)
    is_above = scores[:, None] > scores[None, :]
    return torch.nonzero(is_above & (group[:, None] == group[None, :]))


def _interleaved(chosen: Tensor, rejected: Tensor, axis: int) -> Tensor:
    """Rows of the first and of the second in turn along an axis counted from the end."""
    both = torch.stack([chosen, rejected], dim=chosen.ndim + axis + 1)
    return both.flatten(chosen.ndim + axis, chosen.ndim + axis + 1)
