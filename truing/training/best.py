"""Keeping the best step: by which measures of an evaluation, and when that can have an effect."""

import difflib
from collections.abc import Iterable

# Measures by which the best step can be kept: is more of it better?
MEASURES = {
    "reward_accuracy": True,
    "policy_accuracy": True,
    "policy_accuracy_per_token": True,
    "margin": True,
    "log_loss": False,
    "calibration_error": False,
    "nll": False,
}
_WRITES = {"save_strategy", "save_steps", "save_only_model"}


def idle_best(
    best: str | None, every: int | None, patience: int | None, trainer_keys: Iterable[str]
) -> str:
    """What is wrong with these keys, in a sentence; "" where nothing is."""
    if best is None:
        return "evaluation.patience needs evaluation.best: a measure to get better" * bool(patience)
    if best not in MEASURES:
        near = difflib.get_close_matches(best, MEASURES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it is one of {', '.join(MEASURES)}"
        return f"evaluation.best knows no measure {best!r}; {hint}"
    if every is None:
        return "evaluation.best needs evaluation.every: steps between evaluations"
    written = sorted(_WRITES & set(trainer_keys))
    if written:
        return (
            f"trainer.{written[0]} has no effect beside evaluation.best, which writes a "
            "checkpoint at each evaluation"
        )
    return ""
