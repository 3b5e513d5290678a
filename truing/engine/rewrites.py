"""Which functions of a model are replaced by leaner ones while a packed forward runs."""

import copy
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from truing.engine.lean import AdaptedLinear, GatedUnit, RootMeanSquare, Rotation

# Float32 sums in another order; another formula (a weight plus one, another gate) is far off.
SAME = 1e-5
ROTATION = "apply_rotary_pos_emb"


@dataclass(frozen=True, eq=False)
class Rewrite:
    """One function in place of another.

    Args:
        owner: a module of the network, or the Python module that defines it.
        name: of the function.
        function: the lean one.
    """

    owner: Any
    name: str
    function: Callable[..., Any]


_found: WeakKeyDictionary[PreTrainedModel, tuple[tuple[int, ...], tuple[Rewrite, ...]]]
_found = WeakKeyDictionary()


@contextmanager
def lean(base: PreTrainedModel) -> Iterator[None]:
    """A block in which the model's functions are the lean ones, where they are the same."""
    rewrites = _rewrites_of(base) if _applies(base) else ()
    before = [(one, vars(one.owner).get(one.name)) for one in rewrites]
    try:
        for one in rewrites:
            _put(one.owner, one.name, one.function)
        yield
    finally:
        for one, original in before:
            _put(one.owner, one.name, original)


def _put(owner: Any, name: str, function: Callable[..., Any] | None) -> None:
    # Not setattr: what a module of a network is given is a plain attribute of that instance.
    if function is None:
        vars(owner).pop(name, None)
    else:
        vars(owner)[name] = function


def _applies(base: PreTrainedModel) -> bool:
    """Float32 on the CPU, and no layer computed again in the backward, outside the block."""
    parameter = next(base.parameters())
    return (
        type(parameter) is nn.Parameter
        and parameter.device.type == "cpu"
        and parameter.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not any(getattr(m, "gradient_checkpointing", False) for m in base.modules())
    )


def _rewrites_of(base: PreTrainedModel) -> tuple[Rewrite, ...]:
    """All that were found to be the same; looked for again when modules were exchanged."""
    modules = tuple(map(id, base.modules()))
    if base not in _found or _found[base][0] != modules:
        with torch.no_grad():
            _found[base] = modules, tuple(_look(base))
    return _found[base][1]


def _look(base: PreTrainedModel) -> Iterator[Rewrite]:
    files: set[str] = set()
    for module in base.modules():
        # An instance with a forward of its own was changed by somebody who knows why.
        if "forward" not in vars(module):
            for build in (_norm, _gated_unit, _adapted):
                function = build(module)
                if function is not None:
                    yield Rewrite(module, "forward", MethodType(function, module))
        files.add(type(module).__module__)
    for name in sorted(files):
        file = sys.modules.get(name)
        if file is not None and _rotates_halves(getattr(file, ROTATION, None)):
            yield Rewrite(file, ROTATION, _rotation(vars(file)[ROTATION]))


def _if_same(
    function: Callable[..., Any], module: Any, width: int, parts: Mapping[str, Any]
) -> Any:
    """The function, where it gives what the module's own forward gives.

    Both are asked with small weights of ours in place of the module's: a projection that is zero,
    or nearly, hides what stands before it, and training moves it.
    """
    own = {(p.dtype, p.device.type) for p in module.parameters()}
    if own != {(torch.float32, "cpu")}:
        return None
    shadow = copy.copy(module)
    for kind, owner in (("_modules", nn.Module), ("_parameters", nn.Parameter)):
        mine = {name: part for name, part in parts.items() if isinstance(part, owner)}
        shadow.__dict__[kind] = {**getattr(module, kind), **mine}
    states = _sample(2, width)
    try:
        # Not called as a module: hooks are for real forward passes.
        expected = type(module).forward(shadow, states)
        return function if _same(function(shadow, states), expected) else None
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
        return None  # it reads more of itself than the parts that the function knows


def _same(found: Tensor, expected: Any) -> bool:
    return isinstance(expected, Tensor) and torch.allclose(found, expected, rtol=SAME, atol=SAME)


def _sample(*shape: int) -> Tensor:
    """Numbers of both signs, the same each time, without a draw from anybody's generator."""
    count = torch.Size(shape).numel()
    return torch.sin(torch.arange(1.0, count + 1) * 2.3).reshape(shape) * 1.7


def _linear(inputs: int, outputs: int, *, has_bias: bool = False) -> nn.Linear:
    layer: Any = nn.utils.skip_init(nn.Linear, inputs, outputs, bias=has_bias)
    for parameter in layer.parameters():
        parameter.copy_(_sample(*parameter.shape))
    return layer


# ------------------------------------------------------------------ norms
def _norm_forward(self: Any, hidden_states: Tensor) -> Tensor:
    return RootMeanSquare.apply(hidden_states, self.weight, self.variance_epsilon)  # type: ignore[return-value]


def _norm(module: Any) -> Callable[..., Any] | None:
    weight: Any = getattr(module, "weight", None)
    is_vector = isinstance(weight, Tensor) and weight.ndim == 1
    if not (is_vector and hasattr(module, "variance_epsilon")):
        return None
    width = len(weight)
    return _if_same(_norm_forward, module, width, {"weight": nn.Parameter(_sample(width))})


# ------------------------------------------------------------------ gated units
def _gated_forward(self: Any, x: Tensor) -> Tensor:
    return self.down_proj(GatedUnit.apply(self.gate_proj(x), self.up_proj(x)))


def _gated_unit(module: Any) -> Callable[..., Any] | None:
    parts = [getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj")]
    if not all(isinstance(part, nn.Module) for part in parts):
        return None
    small = {"gate_proj": _linear(6, 10), "up_proj": _linear(6, 10), "down_proj": _linear(10, 6)}
    return _if_same(_gated_forward, module, 6, small)


# ------------------------------------------------------------------ adapters
def _adapted_forward(self: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    name = self.active_adapters[0] if len(self.active_adapters) == 1 else None
    if args or kwargs or self.disable_adapters or self.merged or name not in self.lora_A:
        return type(self).forward(self, x, *args, **kwargs)
    base, down, up = self.base_layer, self.lora_A[name], self.lora_B[name]
    return AdaptedLinear.apply(  # type: ignore[return-value]
        x, base.weight, base.bias, down.weight, up.weight, self.scaling[name]
    )


def _adapted(module: Any) -> Callable[..., Any] | None:
    if not (hasattr(module, "lora_A") and type(getattr(module, "base_layer", None)) is nn.Linear):
        return None
    base = module.base_layer
    frozen = not any(parameter.requires_grad for parameter in base.parameters())
    simple = not getattr(module, "lora_variant", None) and not any(
        getattr(part, "bias", None) is not None for part in module.lora_B.values()
    )
    quiet = not any(getattr(part, "p", 0) for part in module.lora_dropout.values())
    if not (frozen and simple and quiet):
        return None
    small = {
        "base_layer": _linear(6, 10, has_bias=base.bias is not None),
        "lora_A": nn.ModuleDict({name: _linear(6, 2) for name in module.lora_A}),
        "lora_B": nn.ModuleDict({name: _linear(2, 10) for name in module.lora_B}),
    }
    return _if_same(_adapted_forward, module, 6, small)


# ------------------------------------------------------------------ rotations
def _rotation(original: Callable[..., Any]) -> Callable[..., Any]:
    def rotate(
        q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1
    ) -> tuple[Any, Any]:
        if not q.shape[-1] == k.shape[-1] == cos.shape[-1]:
            # Some of the dimensions are rotated, the rest is not.
            return original(q, k, cos, sin, unsqueeze_dim)
        cosine, sine = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
        return Rotation.apply(q, cosine, sine), Rotation.apply(k, cosine, sine)

    return rotate


def _rotates_halves(function: Any) -> bool:
    """Whether a family's function takes these arguments and gives these numbers."""
    if function is None:
        return False
    states, cosine, sine = _sample(1, 2, 3, 8), _sample(1, 3, 8), _sample(1, 3, 8) + 0.3
    try:
        expected = function(states, states * 2, cosine, sine)
    except (TypeError, ValueError, RuntimeError, IndexError):
        return False
    found = _rotation(function)(states, states * 2, cosine, sine)
    return len(expected) == 2 and all(map(_same, found, expected))
