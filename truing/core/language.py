"""The expression language: the Python call itself, read without running any Python.

    odpo(beta=0.1, alpha=1.0) + 0.2*sft()        averaged(dpo(beta=5.0))        several(["a", "b"])

Names, keyword arguments, a first argument without its name, numbers with sign, texts, booleans,
None, lists, nested calls, parentheses, `+` and `*`. Objectives, references, rounds, scorers and
selectors are all written so; each room brings its own names.
"""

import ast
import difflib
import inspect
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, TypeVar, cast

from truing.core.knobs import UnfitError, checked
from truing.errors import KnobError

_ALLOWED = "names, keyword arguments, numbers, texts, True, False, None, lists, calls, + and *"
_LONGEST = 10_000
T = TypeVar("T")


def parse(text: str, names: Mapping[str, Callable[..., Any]], hints: Mapping[str, str]) -> Any:
    """The value that an expression stands for.

    Args:
        text: the expression.
        names: what may be called.
        hints: for names that mean several things, or are called otherwise here: what to write.

    Raises:
        KnobError: not an expression of the language, an unknown name, a wrong, missing or
            out-of-range argument.
    """
    if not text.strip() or len(text) > _LONGEST:
        what = "is empty" if not text.strip() else f"is longer than {_LONGEST} characters"
        raise KnobError(f"the expression {what}", where="", fix='write one such as "dpo(beta=0.1)"')
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        return _Reader(text.strip(), names, hints).value(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        place = f" at character {error.offset}" if isinstance(error, SyntaxError) else ""
        raise KnobError(
            f"this is not an expression{place}",
            where=text.strip()[:200],
            fix=f"it is made of {_ALLOWED}, for instance dpo(beta=0.1) + 0.2*sft()",
        ) from error


def parse_as(
    text: str, names: Mapping[str, Callable[..., Any]], kind: type[T] | UnionType, what: str
) -> T:
    """The value of one kind that an expression stands for.

    Args:
        text: the expression.
        names: what may be called.
        kind: the class (or classes) that is wanted.
        what: its name for people: "scorer".

    Raises:
        KnobError: see `parse`; or it is a value of another kind.
    """
    found = parse(text, names, {})
    if not isinstance(found, kind):
        fix = f"there are {', '.join(sorted(names))}"
        raise KnobError(f"is no {what}", where=text.strip()[:200], fix=fix)
    return cast("T", found)


class _Reader:
    def __init__(
        self, text: str, names: Mapping[str, Callable[..., Any]], hints: Mapping[str, str]
    ) -> None:
        self.text, self.names, self.hints = text, names, hints

    def value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None as constant):
                return constant
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                return -number
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return tuple(self.value(item) for item in items)
            case ast.BinOp(left=left, op=ast.Add() | ast.Mult(), right=right):
                return self._joined(node, self.value(left), self.value(right))
            case ast.Call(func=ast.Name(id=name)):
                return self._called(name, node)
            case ast.Name(id=name):
                self._lookup(name, node)
                raise self._wrong(f"{name} stands without its brackets", node, f"write {name}()")
            case _:
                raise self._wrong("this cannot be written here", node, f"only {_ALLOWED}")

    def _joined(self, node: ast.BinOp, left: Any, right: Any) -> Any:
        is_sum = isinstance(node.op, ast.Add)
        if isinstance(left, str | tuple) or isinstance(right, str | tuple):
            raise self._wrong("texts and lists cannot be added or multiplied", node, "")
        try:
            return left + right if is_sum else left * right
        except TypeError as error:
            verb = "added" if is_sum else "multiplied"
            fix = "add objectives, multiply an objective by a number: dpo() + 0.2*sft()"
            raise self._wrong(f"these two cannot be {verb}", node, fix) from error

    def _called(self, name: str, node: ast.Call) -> Any:
        function = self._lookup(name, node)
        if any(keyword.arg is None for keyword in node.keywords) or len(node.args) > 1:
            fix = f"give every argument after the first by its name: {signature(name, function)}"
            raise self._wrong("arguments must be named", node, fix)
        arguments = [self.value(argument) for argument in node.args]
        keywords = {str(keyword.arg): self.value(keyword.value) for keyword in node.keywords}
        return function(**bound(name, function, arguments, keywords))

    def _lookup(self, name: str, node: ast.expr) -> Callable[..., Any]:
        if name in self.names:
            return self.names[name]
        if name in self.hints:
            raise self._wrong(f"{name} is not a name here", node, self.hints[name])
        raise self._wrong(f"there is no {name}", node, nearest(name, self.names, list_all=True))

    def _wrong(self, what: str, node: ast.expr, fix: str) -> KnobError:
        piece = ast.get_source_segment(self.text, node) or self.text
        return KnobError(what, where=piece[:200], fix=fix)


def nearest(name: str, names: Mapping[str, Any], *, list_all: bool = False) -> str:
    """What was probably meant, or all that there is."""
    close = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"there are {', '.join(sorted(n for n in names if n[:1].islower()))}" if list_all else ""


def signature(name: str, function: Callable[..., Any]) -> str:
    """A call with its knobs and defaults, as it is written: odpo(beta=0.1, alpha=1.0)."""
    knobs = inspect.signature(function).parameters.values()
    has = inspect.Parameter.empty
    written = [k.name if k.default is has else f"{k.name}={k.default!r}" for k in knobs]
    return f"{name}({', '.join(written)})"


def bound(
    name: str, function: Callable[..., Any], arguments: list[Any], keywords: dict[str, Any]
) -> dict[str, Any]:
    """The arguments of a call by name, checked against the types in the signature.

    Defaults are not filled in: what is returned is what was given.

    Raises:
        KnobError: an unknown, missing, doubled or out-of-range argument.
    """
    parameters = inspect.signature(function, eval_str=True).parameters
    fix = f"the call is {signature(name, function)}"
    if len(arguments) > len(parameters):
        raise KnobError(f"takes {len(parameters)} arguments at most", where=f"{name}()", fix=fix)
    given = dict(zip(parameters, arguments, strict=False))
    for knob in keywords:
        if knob in given:
            raise KnobError("is given twice", where=f"{name}({knob}=)", fix=fix)
        if knob not in parameters:
            hint = nearest(knob, parameters)
            raise KnobError(
                f"there is no knob {knob}",
                where=f"{name}({knob}=)",
                fix=f"{hint} {fix}" if hint else fix,
            )
    given.update(keywords)
    for knob, parameter in parameters.items():
        if knob not in given and parameter.default is inspect.Parameter.empty:
            raise KnobError("must be given", where=f"{name}({knob}=)", fix=fix)
    return {knob: _fitted(name, parameters, knob, value) for knob, value in given.items()}


def _fitted(name: str, parameters: Mapping[str, inspect.Parameter], knob: str, value: Any) -> Any:
    kind = parameters[knob].annotation
    try:
        return value if kind is inspect.Parameter.empty else checked(value, kind)
    except UnfitError as problem:
        knobs = ", ".join(parameters)
        raise KnobError(
            str(problem), where=f"{name}({knob}=)", fix=f"the knobs are {knobs}"
        ) from None
