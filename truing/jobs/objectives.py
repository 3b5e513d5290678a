"""`truing objectives` and `truing explain`: the catalogue, and one expression taken apart."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from truing.core import Needs
from truing.objectives import Explanation, Node, Objective
from truing.objectives import explain as explanation_of
from truing.recipes import Entry, parse, shelf
from truing.report.explain_page import Curve, explain_page

_CURVE = np.linspace(-30.0, 30.0, 121)  # gaps of log-ratios, nats


def catalogue(words: str = "") -> tuple[Entry, ...]:
    """The recipes whose name, idea, source or needs hold all of these words."""
    return tuple(entry for entry in shelf() if _holds(entry, words.lower().split()))


def _holds(entry: Entry, words: Sequence[str]) -> bool:
    text = " ".join((entry.name, entry.idea, entry.source, *entry.sentences)).lower()
    return all(word in text for word in words)


def entry_json(entry: Entry) -> dict[str, Any]:
    """A recipe as plain values."""
    return {
        "name": entry.name,
        "idea": entry.idea,
        "source": entry.source,
        "needs": needs_json(entry.needs),
        "knobs": [
            {"name": knob.name, "type": knob.kind, "default": knob.default} for knob in entry.knobs
        ],
        "limits": dict(entry.limits),
        "example": entry.example,
    }


def needs_json(needs: Needs) -> dict[str, Any]:
    """What is needed, by name; needs that are not there are left out."""
    nothing = Needs()
    found = {}
    for field in fields(Needs):
        value = getattr(needs, field.name)
        if value != getattr(nothing, field.name):
            found[field.name] = sorted(value) if isinstance(value, frozenset) else value
    return found


def explain(expression: str | Objective) -> Explanation:
    """Formula, parts, needs, source, slopes and effective beta of an objective.

    Raises:
        KnobError: the expression cannot be parsed.
    """
    return explanation_of(parse(expression) if isinstance(expression, str) else expression)


def explain_json(found: Explanation) -> dict[str, Any]:
    """An explanation as plain values."""
    return {
        "expression": found.expression,
        "terms": [
            {
                "expression": term.expression,
                "factor": term.factor,
                "idea": term.idea,
                "formula": list(term.formula),
                "source": term.source,
                "effective_beta": {str(length): beta for length, beta in term.effective_beta},
            }
            for term in found.terms
        ],
        "parts": _node_json(found.parts),
        "needs": needs_json(found.needs),
        "slopes": [vars(slope) for slope in found.slopes],
    }


def _node_json(node: Node) -> dict[str, Any]:
    return {
        "knob": node.knob,
        "part": node.part,
        "idea": node.idea,
        "children": [_node_json(child) for child in node.children],
    }


def curve_of(expression: str) -> tuple[Explanation, Curve]:
    """An explanation, and the loss and slopes of one pair over many gaps.

    Raises:
        KnobError: the expression cannot be parsed.
    """
    found = explanation_of(parse(expression), tuple(float(gap) for gap in _CURVE))
    curve = Curve(
        found.expression,
        tuple(slope.gap for slope in found.slopes),
        tuple(slope.loss for slope in found.slopes),
        tuple(slope.chosen for slope in found.slopes),
        tuple(slope.rejected for slope in found.slopes),
    )
    return found, curve


def write_plot(expression: str, path: Path) -> Path:
    """A page with the loss of one pair and its slopes over the gap of log-ratios.

    Raises:
        KnobError: the expression cannot be parsed.
    """
    found, curve = curve_of(expression)
    formulas = tuple("\n".join(term.formula) for term in found.terms)
    path.write_text(explain_page(curve, formulas, found.sentences), encoding="utf-8")
    return path
