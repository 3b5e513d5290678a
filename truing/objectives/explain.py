"""What an objective is, in words and numbers: formula, parts, needs, source, slopes.

Pure: values in, frozen values out; nothing is printed or drawn here.
"""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

import torch

from truing.core.needs import Needs
from truing.core.view import View
from truing.objectives.objective import Objective, Scaled, Sum
from truing.objectives.pairwise import Pairwise
from truing.objectives.part import Part, written
from truing.objectives.pooling import TokenMean

MARGINS = (-50.0, -20.0, -10.0, -5.0, -2.0, 0.0, 2.0, 5.0, 10.0, 20.0, 50.0)
"""Gaps of log-ratios, nats, that the table of slopes shows."""

LENGTHS = (10, 50, 200, 1000)
"""Response lengths, tokens, at which the effective beta of means is shown."""

_TOKENS = 10
_LOGP = (
    -4.0
)  # of each token under the references; low enough that no gap shown makes a policy above 1


@dataclass(frozen=True)
class Node:
    """A part, the knob it fills, and what it is made of.

    Args:
        knob: the name of the knob, "" on top.
        part: the part as an expression.
        idea: the first line of its docstring.
        children: its own parts.
    """

    knob: str
    part: str
    idea: str
    children: "tuple[Node, ...]"


@dataclass(frozen=True)
class Slope:
    """The loss of one pair and its derivatives, at one gap of log-ratios.

    The chosen side has half the gap, the rejected one minus half: so at a negative gap the rejected
    response is more likely than under the reference.

    Args:
        gap: log-ratio of the chosen minus that of the rejected response, nats of token sums.
        loss: of this pair.
        chosen: derivative of the loss by the chosen side's log-ratio, 1/nats.
        rejected: by the rejected side's.
        reward_margin: beta times the gap of likelihoods; None without rewards.
    """

    gap: float
    loss: float
    chosen: float
    rejected: float
    reward_margin: float | None


@dataclass(frozen=True)
class TermNotes:
    """One term of the sum.

    Args:
        expression: the term.
        factor: what its loss counts.
        idea: what it is for, in a line.
        formula: the loss in ASCII, line by line.
        source: paper and code.
        effective_beta: (length, beta / length): the beta on token sums that a beta on token means
            acts like; empty for sums.
    """

    expression: str
    factor: float
    idea: str
    formula: tuple[str, ...]
    source: str
    effective_beta: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Explanation:
    """All there is to say about an objective before any training.

    Args:
        expression: the objective as text; parses back.
        terms: formula and source of each term.
        parts: what it is made of.
        needs: what it reads.
        sentences: the same in words.
        slopes: loss and derivatives on a grid of gaps; empty where no pair stands alone.
    """

    expression: str
    terms: tuple[TermNotes, ...]
    parts: Node
    needs: Needs
    sentences: tuple[str, ...]
    slopes: tuple[Slope, ...]


def explain(objective: Objective, gaps: Sequence[float] = MARGINS) -> Explanation:
    """Formula, parts, needs, source, slopes and effective beta of any objective.

    Args:
        objective: what is to be explained.
        gaps: where the slopes are computed, nats.
    """
    return Explanation(
        expression=repr(objective),
        terms=tuple(_notes(term, factor) for term, factor in _terms_of(objective, 1.0)),
        parts=_node("", objective),
        needs=objective.needs,
        sentences=objective.needs.sentences(),
        slopes=slopes(objective, gaps) if "pairs" in objective.needs.responses else (),
    )


def slopes(objective: Objective, gaps: Sequence[float]) -> tuple[Slope, ...]:
    """Loss of a single pair and its derivatives by both sides' log-ratios, by autograd.

    Both responses have 10 tokens; scores are 2 and 1, win probabilities 1 and 0.
    """
    return tuple(_slope(objective, gap) for gap in gaps)


def _slope(objective: Objective, gap: float) -> Slope:
    view = _pair_of(objective.needs, gap)
    terms = objective(view)
    (by_token,) = torch.autograd.grad(terms.loss, view.policy, materialize_grads=True)
    chosen, rejected = by_token[:_TOKENS], by_token[_TOKENS : 2 * _TOKENS]
    rewards = terms.rewards
    margin = None if rewards is None else float(rewards[0, 0] - rewards[0, 1])
    # A nat more of log-ratio is spread over the tokens: the mean, not the sum, of their slopes.
    return Slope(
        gap, float(terms.loss.detach()), float(chosen.mean()), float(rejected.mean()), margin
    )


def _pair_of(needs: Needs, gap: float) -> View:
    """One pair whose log-ratios differ by this gap; every token is at -4 nats under references."""
    whole = torch.tensor([gap / 2, -gap / 2, 0.0], dtype=torch.float64)
    policy = (whole / _TOKENS + _LOGP).repeat_interleave(_TOKENS).requires_grad_()
    flat = torch.full((policy.shape[0],), _LOGP, dtype=torch.float64)
    responses, nothing = torch.zeros(3, dtype=torch.int64), torch.zeros(0, 2, dtype=torch.int64)
    alone = View(flat[:4], responses[:1].repeat(4), responses[:1], nothing)
    return View(
        policy=policy,
        response=torch.arange(3).repeat_interleave(_TOKENS),
        group=responses,
        pairs=torch.tensor([[0, 1]]),
        references=flat.expand(max(needs.references, 1), -1),
        unconditional=torch.full((3,), _LOGP * _TOKENS, dtype=torch.float64),
        scores=torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64),
        win_probability=torch.tensor([1.0, 0.0, 0.5], dtype=torch.float64),
        mismatched=torch.tensor([False, False, True]),
        prompt=flat[:2],
        prompt_group=responses[:2],
        statistics=dict.fromkeys(needs.vocabulary_statistics, torch.zeros_like(flat)),
        heads=dict.fromkeys(needs.heads, torch.full((3,), 1.5, dtype=torch.float64)),
        auxiliary=dict.fromkeys(needs.auxiliary, alone),
        row_ids=responses[:1],
    )


def _terms_of(objective: Objective, factor: float) -> Iterator[tuple[Objective, float]]:
    """What is added, each with its factor; a recipe's own sum stays one term."""
    if objective.origin is None and isinstance(objective, Sum):
        for term in objective.summands:
            yield from _terms_of(term, factor)
    elif objective.origin is None and isinstance(objective, Scaled):
        yield from _terms_of(objective.objective, factor * objective.factor)
    else:
        yield objective, factor


def _notes(term: Objective, factor: float) -> TermNotes:
    origin = term.origin
    return TermNotes(
        expression=repr(term),
        factor=factor,
        idea=origin.idea if origin else _first_line(term),
        formula=tuple(_formula_of(term)),
        source=origin.source if origin else "",
        effective_beta=_effective_beta(term),
    )


def _formula_of(term: Objective) -> Iterator[str]:
    """The recipe's formula and those of the recipes it was given, or what the parts compute."""
    if term.origin is None:
        yield from _of_parts(term)
        return
    yield from term.origin.formula.splitlines()
    for _, value in term.origin.arguments:
        if isinstance(value, Objective):
            yield f"{value!r}:"
            yield from (f"  {line}" for line in _formula_of(value))


def _of_parts(part: Part) -> Iterator[str]:
    """What each part that is not a default computes."""
    yield f"{type(part).__name__}: {_call_line(part)}"
    for knob in fields(part):
        value = getattr(part, knob.name)
        if isinstance(value, Part) and value != knob.default:
            yield from (f"  {knob.name}: {line}" for line in _of_parts(value))


def _call_line(part: Part) -> str:
    method = part.terms if isinstance(part, Objective) else getattr(part, "__call__", None)  # noqa: B004
    return (inspect.getdoc(method) or "").split("\n")[0]


def _effective_beta(term: Objective) -> tuple[tuple[int, float], ...]:
    if isinstance(term, Pairwise) and term.likelihood.pool == TokenMean():
        return tuple((length, term.beta / length) for length in LENGTHS)
    return ()


def _node(knob: str, part: Part) -> Node:
    children = [_node(name, child) for name, child in _filled(part)]
    return Node(knob, written(part), _first_line(part), tuple(children))


def _filled(part: Part) -> Iterator[tuple[str, Part]]:
    """The part's own parts by knob, those of a list numbered."""
    for field in fields(part):
        value = getattr(part, field.name)
        if isinstance(value, Part):
            yield field.name, value
        elif isinstance(value, tuple):
            items = cast("tuple[Any, ...]", value)
            yield from (
                (f"{field.name}[{i}]", p) for i, p in enumerate(items) if isinstance(p, Part)
            )


def _first_line(part: Part) -> str:
    return (inspect.getdoc(type(part)) or "").split("\n")[0]
