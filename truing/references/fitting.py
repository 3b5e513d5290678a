"""Which references an objective can be trained against: said before any model loads."""

from truing.core.needs import Needs
from truing.errors import ConfigError, KnobError, NeedsError
from truing.references.policies import (
    Ema,
    NoReference,
    OtherModel,
    PolicyStart,
    Reference,
    Unconditional,
    each,
    moving_of,
)


def refuse_misfits(reference: Reference, needs: Needs, objective: str) -> None:
    """What an objective needs and the reference cannot give, and what is given and nobody reads.

    Args:
        reference: of the run.
        needs: of the objective.
        objective: its expression.

    Raises:
        NeedsError: names what is missing.
        ConfigError: a reference, or a knob of it, that would have no effect.
    """
    reads = needs.reference != "none" or needs.unconditional_reference or needs.live_reference
    given = each(reference)
    if reads and not given:
        raise NeedsError(
            "the objective needs a reference", where=objective, fix="leave `reference` out"
        )
    if not reads and not isinstance(reference, PolicyStart | NoReference):
        raise ConfigError(
            f"the objective reads no reference, so `reference: {reference!r}` would have no effect",
            where=objective,
            fix="leave `reference` out",
        )
    _refuse_count(len(given), needs, objective)
    _refuse_kinds(reference, needs, objective)


def _refuse_count(given: int, needs: Needs, objective: str) -> None:
    if needs.references > 1 and given != needs.references:
        raise NeedsError(
            f"the objective needs {needs.references} references, and there "
            f"{'is one' if given == 1 else f'are {given}'}",
            where=objective,
            fix="set for instance reference=\"several([policy_start(), model(path='other')])\"",
        )
    if needs.references <= 1 and given > 1:
        raise ConfigError(
            f"the objective reads one reference, and there are {given}",
            where=objective,
            fix="use mrpo(...), or give one reference",
        )


def _refuse_kinds(reference: Reference, needs: Needs, objective: str) -> None:
    moving = moving_of(reference)
    first = each(reference)[:1]
    if moving is not None and needs.unconditional_reference:
        raise NeedsError(
            f"reads log p_ref(y) without the prompt, which is computed before training, and "
            f"{moving[1]!r} moves while it trains",
            where=objective,
            fix="use policy_start() or model(path=...)",
        )
    if needs.live_reference and first and isinstance(first[0], Unconditional):
        raise NeedsError(
            "reads the reference's whole distribution behind each prompt, and "
            f"{first[0]!r} does not see the prompt",
            where=objective,
            fix="use policy_start(), model(path=...), ema(...) or sync(...)",
        )


def refuse_moving(reference: Reference, where: str) -> None:
    """What is computed before training cannot follow the policy.

    Raises:
        KnobError: a reference that moves.
    """
    moving = moving_of(reference)
    if moving is None:
        return
    kind = "averages" if isinstance(moving[1], Ema) else "takes over"
    raise KnobError(
        f"{moving[1]!r} {kind} the policy while it trains: there is nothing to compute before",
        where=where,
        fix="give policy_start() or model(path=...); a moving reference needs no preparation",
    )


def refuse_other_tokens(
    reference: OtherModel, needs: Needs, *, is_cut: bool, objective: str
) -> None:
    """A reference of another tokenizer gives a sum for each response, and nothing else.

    Args:
        reference: whose tokens are its own.
        needs: of the objective.
        is_cut: some text that it reads was cut at the length limit, by the policy's tokens.
        objective: its expression.

    Raises:
        NeedsError: names what it cannot give.
    """
    where = f"{objective} against {reference!r}"
    if needs.live_reference or needs.reference == "tokens":
        raise NeedsError(
            "the objective reads the reference token by token, and this one has another tokenizer: "
            "it gives one sum for each response",
            where=where,
            fix="use an objective of whole sums (dpo, ipo, mrpo ...), or a reference that reads "
            "the policy's tokens",
        )
    if needs.mismatched_responses:
        raise NeedsError(
            "the objective sets another row's response behind each prompt, cut in the policy's "
            "tokens, and this reference has another tokenizer",
            where=where,
            fix="use a reference that reads the policy's tokens",
        )
    if is_cut:
        raise NeedsError(
            "some rows were cut at the length limit, in the policy's tokens, and this reference "
            "has another tokenizer: it would read another text than the policy",
            where=where,
            fix="use truncation=drop, or a larger max_length",
        )
