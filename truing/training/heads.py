"""Scalar heads on the prompt's last state, kept apart from the weights of the policy."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from truing.engine import TokenLogps

FILE = "heads.safetensors"
NAME = "truing_heads"  # of the module on the model, so that the optimizer finds its weights


class ScalarHeads(nn.Module):
    """One linear map to a number for each name, 0 at the start.

    Args:
        names: of the heads.
        attached: those whose gradient also moves the model below them.
        width: of the model's hidden states.
    """

    def __init__(self, names: Iterable[str], attached: frozenset[str], width: int) -> None:
        super().__init__()
        self.attached = attached
        self.heads = nn.ModuleDict({name: nn.Linear(width, 1) for name in sorted(names)})
        for weight in self.parameters():
            nn.init.zeros_(weight)

    def forward(self, policy: TokenLogps) -> Mapping[str, Tensor]:
        """The output of each head for each response, (N,)."""
        assert policy.prompt_end is not None, "the engine was not asked for the prompt's state"
        states = policy.prompt_end.to(next(self.parameters()).dtype)
        return {
            name: head(states if name in self.attached else states.detach())[policy.group, 0]
            for name, head in self.heads.items()
        }

    def save(self, folder: Path) -> None:
        """Write the weights beside the policy's."""
        save_file(self.state_dict(), folder / FILE)

    def load(self, folder: Path) -> None:
        """Take the weights of a checkpoint."""
        self.load_state_dict(load_file(folder / FILE))


def put_heads(
    model: nn.Module, names: frozenset[str], attached: frozenset[str], width: int
) -> ScalarHeads | None:
    """Heads on the model, so that whatever trains it trains them; None without names."""
    if not names:
        return None
    heads = ScalarHeads(names, attached, width).to(next(model.parameters()).device)
    model.add_module(NAME, heads)
    return heads


def without_heads(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A model's weights but for its heads."""
    return {name: value for name, value in weights.items() if NAME not in name}
