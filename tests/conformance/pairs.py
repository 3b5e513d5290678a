"""A case on both sides, run once."""

from dataclasses import dataclass, field

from .cases import Case, keys_of
from .homes import Home
from .sides import (
    ROWS_A_STEP,
    Trace,
    gold_file,
    run_ours,
    run_theirs,
    their_reference,
    theirs_of,
    with_gold_in_order,
    with_their_partners,
)


@dataclass
class Pairs:
    """Both traces of a case, made once however many tests look at them."""

    home: Home
    made: dict[str, tuple[Trace, Trace]] = field(default_factory=dict)

    def __call__(self, case: Case) -> tuple[Trace, Trace]:
        """Theirs and ours."""
        if str(case) not in self.made:
            self.made[str(case)] = self._run(case)
        return self.made[str(case)]

    def _run(self, case: Case) -> tuple[Trace, Trace]:
        rows = case.rows(self.home)
        reads_reference = case.method in {"dpo", "kto"}
        trainer = theirs_of(
            case.method,
            self.home.policy(),
            self.home.reference() if reads_reference and not case.lora else None,
            self.home.tokenizer,
            rows,
            lora=case.lora,
            **case.arguments,
            learning_rate=case.learning_rate,
        )
        change = None
        if "KL_completion_ids" in trainer.train_dataset.column_names:
            change = with_their_partners(trainer)
        keys = keys_of(case, self.home)
        if case.method == "tpo":
            keys, change = keys | {"auxiliary": {"gold": gold_file(rows)}}, with_gold_in_order
        theirs = run_theirs(trainer)
        if case.method == "tpo":
            del theirs.ids[2 * ROWS_A_STEP :]  # the gold responses; here a source of their own
        if reads_reference:
            theirs.reference.extend(their_reference(trainer).tolist())
        return theirs, run_ours(keys, rows, change)
