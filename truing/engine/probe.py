"""Is a fast path exact on this very model? A few short forward passes with its real weights.

Three questions: are the log-probs those of every sequence alone; does a changed token of one
response leave every other response untouched, to the bit; does a changed prompt reach its last
response. The first alone misses a leak that is small in fresh weights, the second a mask that is
not there at all.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from truing.engine.attention import WINDOWS
from truing.engine.forward import body_of, causal_lm, use_own_attention
from truing.engine.layout import PackedRows
from truing.engine.logps import LOGPS_ONLY, Engine, TokenRow
from truing.engine.padded import PaddedEngine
from truing.errors import ModelError

# Log-probs (nats): rounding of float32 stays under 1e-6 on so few tokens, the smallest leak seen in
# a fresh model is 1e-4.
TOLERANCE = 2e-5
# A trained model of thirty layers rounds more on tokens that it has never seen in a row: as much
# as two plain passes over the same rows differ, times this, and no more than that.
ROUNDINGS, MOST_ROUNDING = 4, 2.5e-4
# The same over rows of hundreds of tokens and tens of layers.
LONG_TOLERANCE = 2e-3
# Half precision weights round the logits themselves; there is no exact path to measure that by.
HALF_TOLERANCE = 0.5
# The share of a layer's largest state by which it may differ: float32 keeps 1e-6 of it.
WRONG_SHARE = 1e-3
# A real row is cut to so many tokens, and to so many logits of one sequence, at start-up.
LONGEST_ROW = 4096
MOST_LOGITS = 2**28
PROBE_TOKENS = 1_000_000

# Layers whose state or window is carried along the packed row, whatever the attention mask says.
SAFE_LAYERS = frozenset({"full_attention", "sliding_attention"})

# What a forward raises that was called with what it does not take.
_FORWARD_FAULTS = (
    TypeError,
    ValueError,
    RuntimeError,
    LookupError,
    AttributeError,
    AssertionError,
    ModelError,
)

Autocast = Callable[[], AbstractContextManager[Any]]


class FastEngine(Engine, Protocol):
    """An engine that lays its rows out as one packed row."""

    def layout(self, rows: Sequence[TokenRow]) -> PackedRows:
        """Where each token of the rows stands."""
        ...


@dataclass(frozen=True)
class ProbeRow:
    """Tokens that no data set holds."""

    prompt: np.ndarray
    responses: tuple[np.ndarray, ...]


def fault_of(
    engine: FastEngine,
    model: nn.Module,
    rows: Sequence[TokenRow] = (),
    autocast: Autocast = nullcontext,
) -> str:
    """Why this engine is not exact on this model, as the end of a sentence; "" where it is.

    Args:
        engine: the fast path.
        model: with its real weights.
        rows: real rows, the longest of which is compared as well (long positions).
        autocast: opens the block in which the run computes.
    """
    with _evaluation(model), torch.no_grad():
        try:
            return _structure(model) or _Probe(engine, model, autocast).fault(rows)
        except torch.OutOfMemoryError:
            raise  # no answer to what was asked
        except _FORWARD_FAULTS as error:
            first = (str(error).strip().splitlines() or [""])[0]
            return f"its forward does not take a packed row ({type(error).__name__}: {first[:150]})"


def _structure(model: nn.Module) -> str:
    base = causal_lm(model)
    config: Any = base.config.get_text_config()
    if getattr(config, "is_encoder_decoder", False):
        return "it is an encoder-decoder"
    if not use_own_attention(base):
        names = [attention_name(layer) for layer in layers_of(model)] or [type(base).__name__]
        return f"layer 0 ({names[0]}) has attention code of its own"
    kinds = getattr(config, "layer_types", None) or []
    for index, kind in enumerate(kinds):
        if kind not in SAFE_LAYERS:
            return f"layer {index} ({kind}) carries more than attention along the row"
    return ""


@contextmanager
def _evaluation(model: nn.Module) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


class _Probe:
    def __init__(self, engine: FastEngine, model: nn.Module, autocast: Autocast) -> None:
        self._engine, self._model, self._autocast = engine, model, autocast
        self._plain = PaddedEngine(PROBE_TOKENS)
        parameter = next(model.parameters())
        self._is_half = parameter.dtype in (torch.bfloat16, torch.float16)
        with autocast():
            self._casts = torch.is_autocast_enabled(parameter.device.type)

    def fault(self, rows: Sequence[TokenRow]) -> str:
        """The first of the questions that is answered with no."""
        config: Any = causal_lm(self._model).config.get_text_config()
        vocabulary = int(config.vocab_size)
        short = short_rows(vocabulary)
        found, alone = self._packed(short), self._alone(short)
        window = self._window_of_a_mask(short)
        if window:
            return f"its window of {window} tokens is in its mask alone"
        gap = _widest(found, alone)
        rounding = min(_widest(self._padded(short), alone), MOST_ROUNDING)
        # Written so that NaN is a fault as well.
        if not gap <= self._tolerance(short, TOLERANCE) + ROUNDINGS * rounding:
            layer = first_wrong_layer(self._model, self._engine, short)
            return f"{layer}: log-probs of a packed row differ by {gap:.1g} nats"
        last = len(short[-1].responses[-1])
        changed = [_changed(short[0], response=True), *short[1:]]
        others = len(short[0].responses[0])
        # With experts, a token that goes elsewhere changes the shapes of their products, so the
        # others' sums are rounded otherwise.
        allowed = self._tolerance(short, TOLERANCE) if _has_experts(self._model) else 0.0
        if not _widest(self._packed(changed)[others:], found[others:]) <= allowed:
            layer = first_wrong_layer(self._model, self._engine, short)
            return f"{layer}: a response sees another one"
        changed = [*short[:-1], _changed(short[-1], response=False)]
        if torch.equal(self._packed(changed)[-last:], found[-last:]):
            return "a response does not see its prompt"
        for row in _longest(rows, min(LONGEST_ROW, MOST_LOGITS // vocabulary)):
            gap = _widest(self._packed([row]), self._alone([row]))
            if not gap <= self._tolerance([row], LONG_TOLERANCE):
                length = len(row.prompt) + max(map(len, row.responses))
                return f"log-probs of a row of {length} tokens differ by {gap:.1g} nats"
        return ""

    def _window_of_a_mask(self, rows: Sequence[TokenRow]) -> int:
        """The window that a model keeps without telling its attention function of it; 0: none."""
        config: Any = causal_lm(self._model).config.get_text_config()
        window = getattr(config, "sliding_window", None) or 0
        kinds = getattr(config, "layer_types", None)
        if not window or (kinds and "sliding_attention" not in kinds):
            return 0
        told: set[int | None] = set()
        token = WINDOWS.set(told)
        try:
            self._packed(rows)
        finally:
            WINDOWS.reset(token)
        return 0 if told - {None} else window

    def _packed(self, rows: Sequence[TokenRow]) -> Tensor:
        with self._autocast():
            return self._engine.logps(self._model, rows, LOGPS_ONLY).logps

    def _padded(self, rows: Sequence[TokenRow], autocast: Autocast | None = None) -> Tensor:
        with (autocast or self._autocast)():
            return self._plain.logps(self._model, rows, LOGPS_ONLY).logps

    def _alone(self, rows: Sequence[TokenRow], autocast: Autocast | None = None) -> Tensor:
        """Every sequence in a forward pass of its own, so that nothing is padded either."""
        single = [ProbeRow(row.prompt, (response,)) for row in rows for response in row.responses]
        return torch.cat([self._padded([row], autocast) for row in single])

    def _tolerance(self, rows: Sequence[TokenRow], exact: float) -> float:
        if self._is_half:
            return HALF_TOLERANCE
        if not self._casts:
            return exact
        # What the cast itself costs on these rows, and as much again for another order of sums.
        return exact + 4 * _widest(self._alone(rows), self._alone(rows, nullcontext))


def _has_experts(model: nn.Module) -> bool:
    return any("expert" in type(module).__name__.lower() for module in model.modules())


def _widest(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


def short_rows(vocabulary: int) -> list[ProbeRow]:
    """Two prompts that begin alike, two responses each; 30 tokens, the same each time."""
    draw = np.random.default_rng(0)

    def some(count: int) -> np.ndarray:
        return draw.integers(0, vocabulary, count)

    first = some(4)
    return [
        ProbeRow(np.concatenate([first, some(2)]), (some(5), some(3))),
        ProbeRow(np.concatenate([first, some(3)]), (some(2), some(7))),
    ]


def _changed(row: ProbeRow, *, response: bool) -> ProbeRow:
    """With another first token of its first response, or another last one of its prompt."""
    if not response:
        prompt = row.prompt.copy()
        prompt[-1] = prompt[-1] - 1 if prompt[-1] else 1
        return replace(row, prompt=prompt)
    first, *others = row.responses
    first = first.copy()
    first[0] = first[0] - 1 if first[0] else 1
    return replace(row, responses=(first, *others))


def _longest(rows: Sequence[TokenRow], most: int) -> list[ProbeRow]:
    """The longest row; where too long, its prompt's end and the beginnings of its responses."""

    def width(row: TokenRow) -> int:
        return len(row.prompt) + max(map(len, row.responses))

    if not rows:
        return []
    row = max(rows, key=width)
    responses = tuple(response[: most // 2] for response in row.responses)
    room = most - max(map(len, responses))
    return [ProbeRow(row.prompt[-room:], responses)]


def attention_name(layer: nn.Module) -> str:
    """The class of a layer's attention, or of what stands in its place, or of the layer."""
    names = [type(module).__name__ for module in layer.modules()]
    known = [name for name in names if any(word in name for word in ("Attention", "Mixer", "Conv"))]
    return (known or names)[0]


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The decoder layers of the model's body; empty where they are not found."""
    base = causal_lm(model)
    config: Any = base.config.get_text_config()
    for module in body_of(base).modules():
        if isinstance(module, nn.ModuleList) and len(module) == config.num_hidden_layers:
            return list(module)
    return []


def first_wrong_layer(model: nn.Module, engine: FastEngine, rows: Sequence[TokenRow]) -> str:
    """The first layer whose states of the last response are not those of the sequence alone."""
    row, response = rows[-1], rows[-1].responses[-1]
    start, end = engine.layout(rows).responses[-1]
    packed = _states(model, lambda: engine.logps(model, rows, LOGPS_ONLY))
    single = ProbeRow(row.prompt, (response,))
    plain = _states(model, lambda: PaddedEngine(PROBE_TOKENS).logps(model, [single], LOGPS_ONLY))
    layers = layers_of(model)
    for index, (one, other) in enumerate(zip(packed, plain, strict=False)):
        alone = other[0, -len(response) :]
        if not _widest(one[0, start:end], alone) <= WRONG_SHARE * float(alone.abs().max()):
            return f"layer {index} ({attention_name(layers[index])})"
    return f"its layers ({type(causal_lm(model)).__name__})"


def _states(model: nn.Module, run: Callable[[], Any]) -> list[Tensor]:
    """What each decoder layer gives while something runs."""
    states: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        states.append(output[0] if isinstance(output, tuple) else output)

    hooks = [layer.register_forward_hook(keep) for layer in layers_of(model)]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return states
