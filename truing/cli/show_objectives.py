"""The catalogue and the explanation of one objective, as tables or as JSON."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from truing.cli import console
from truing.errors import ConfigError

if TYPE_CHECKING:
    from truing.objectives import Explanation, Node


def show_objectives(words: str, *, as_json: bool) -> None:
    """`truing objectives`."""
    from truing.jobs.objectives import catalogue, entry_json

    found = catalogue(words)
    if as_json:
        console.show_json([entry_json(entry) for entry in found])
        return
    if not found:
        raise ConfigError(
            f"no objective holds the words {words!r}",
            where="truing objectives",
            fix="give fewer words, or none for the whole catalogue",
        )
    rows = [(entry.name, entry.idea, "; ".join(entry.sentences), entry.source) for entry in found]
    console.show_table(
        f"{len(found)} objectives", ("name", "idea", "needs", "source"), rows, numbers=False
    )
    console.say('next: truing explain "NAME(knob=value)"')


def show_explanation(expression: str, *, plot: Path | None, as_json: bool) -> None:
    """`truing explain`."""
    from truing.jobs.objectives import explain, explain_json, write_plot

    found = explain(expression)
    page = None if plot is None else write_plot(expression, plot)
    if as_json:
        console.show_json({**explain_json(found), "plot": None if page is None else str(page)})
        return
    _show_terms(found)
    console.show("parts")
    for line in _tree(found.parts, 1):
        console.show(line)
    console.show("needs")
    for sentence in found.sentences:
        console.show(f"  {sentence}")
    if found.slopes:
        _show_slopes(found)
    if page is not None:
        console.show(str(page))


def _show_terms(found: "Explanation") -> None:
    console.show(found.expression)
    for term in found.terms:
        factor = "" if term.factor == 1 else f"{term.factor:g} times "
        console.show(f"\n{factor}{term.expression}: {term.idea}")
        for line in term.formula:
            console.show(f"    {line}")
        console.show(f"  source: {term.source or 'made of parts'}")
        if term.effective_beta:
            pairs = ", ".join(f"{beta:.3g} at {n} tokens" for n, beta in term.effective_beta)
            console.show(f"  effective beta on sums: {pairs}")
    console.show("")


def _tree(node: "Node", depth: int) -> Iterator[str]:
    knob = f"{node.knob} = " if node.knob else ""
    yield f"{'  ' * depth}{knob}{node.part}: {node.idea}"
    for child in node.children:
        yield from _tree(child, depth + 1)


def _show_slopes(found: "Explanation") -> None:
    rows = [
        (f"{slope.gap:g}", f"{slope.loss:.4g}", f"{slope.chosen:.4g}", f"{slope.rejected:.4g}")
        for slope in found.slopes
    ]
    console.show_table(
        "slope of one pair's loss by each side's log-ratio",
        ("log-ratio gap, nats", "loss", "by chosen", "by rejected"),
        rows,
    )
