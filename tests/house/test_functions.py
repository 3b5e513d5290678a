"""No function is longer than a screen, and no chain compares names."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "truing"
MOST_LINES = 60


def functions():
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                yield path.relative_to(PACKAGE), node


def test_no_function_is_longer_than_a_screen():
    long = [
        f"{path}:{node.lineno} {node.name}"
        for path, node in functions()
        if node.end_lineno - node.lineno + 1 > MOST_LINES
    ]
    assert not long


def test_no_chain_of_elifs_compares_one_name_with_texts():
    chains = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            length, step = 0, node
            while isinstance(step, ast.If) and _compares_text(step.test):
                length += 1
                step = step.orelse[0] if len(step.orelse) == 1 else None
            if length > 2:
                chains.append(f"{path}:{node.lineno}")
    assert not chains


def _compares_text(test: ast.expr) -> bool:
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.ops[0], ast.Eq)
        and isinstance(test.comparators[0], ast.Constant)
        and isinstance(test.comparators[0].value, str)
    )
