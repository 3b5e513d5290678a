"""A reference that follows the policy: it lives in the trainer and in its checkpoints (TR-DPO).

Under adapters it is the adapter's weights once more, put in for the moment of its forward pass;
else it is a second copy of the model.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from truing.errors import ResumeError
from truing.references.policies import Ema, Moving

FILE = "reference.safetensors"


class MovingReference:
    """The policy as it was, or an average of what it was (2404.09656, equations 5 and 6).

    Args:
        rule: how it follows.
        model: the policy before the first step.
        has_adapters: only the weights that learn are kept a second time.
    """

    def __init__(self, rule: Moving, model: nn.Module, *, has_adapters: bool) -> None:
        self.rule = rule
        self._policy = model
        self._copy: nn.Module | None = None
        learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if has_adapters:
            self._weights = {name: p.detach().clone() for name, p in learned.items()}
        else:
            self._copy = copy.deepcopy(model).requires_grad_(requires_grad=False).eval()
            own = dict(self._copy.named_parameters())
            self._weights = {name: own[name].data for name in learned}

    @property
    def bytes(self) -> int:
        """Memory that it takes beside the policy."""
        if self._copy is None:
            return _size(self._weights.values())
        return _size([*self._copy.parameters(), *self._copy.buffers()])

    @contextmanager
    def opened(self) -> Iterator[nn.Module]:
        """The model that is the reference, for one forward pass without gradient."""
        if self._copy is not None:
            yield self._copy
            return
        was_training = self._policy.training
        self._policy.eval()
        self._exchange()
        try:
            yield self._policy
        finally:
            self._exchange()
            self._policy.train(was_training)

    def _exchange(self) -> None:
        for name, weight in self._learned():
            weight.data, self._weights[name] = self._weights[name], weight.data

    def _learned(self) -> Iterator[tuple[str, nn.Parameter]]:
        named = dict(self._policy.named_parameters())
        return ((name, named[name]) for name in self._weights)

    def update(self, step: int) -> bool:
        """After so many optimizer steps: follow the policy, if it is time; whether it was."""
        if step % self.rule.every:
            return False
        with torch.no_grad():
            for name, weight in self._learned():
                if isinstance(self.rule, Ema):
                    self._weights[name].lerp_(weight.data, 1 - self.rule.decay)
                else:
                    self._weights[name].copy_(weight.data)
        return True

    def save(self, folder: Path) -> None:
        """Write its weights into a checkpoint."""
        save_file({name: w.contiguous() for name, w in self._weights.items()}, folder / FILE)

    def load(self, folder: Path) -> None:
        """Take its weights up where a checkpoint left them.

        Raises:
            ResumeError: the checkpoint holds none.
        """
        path = folder / FILE
        if not path.is_file():
            raise ResumeError(
                "the checkpoint holds no moving reference", where=str(path), fix="start a new run"
            )
        with torch.no_grad():
            for name, weight in load_file(path).items():
                self._weights[name].copy_(weight)


def _size(tensors: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
