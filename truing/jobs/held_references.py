"""Held-out rows of a finished run with what its references say: each model loaded and dropped."""

from truing.config import RunConfig
from truing.core.progress import Progress
from truing.data import widest
from truing.engine import choose_engine
from truing.engine.models import Numerics
from truing.jobs.material import Reader
from truing.jobs.policy import autocast, load_start
from truing.jobs.reference_pass import ReferencePass, RowSet, Said
from truing.jobs.run_references import grown_rows, rows_with
from truing.objectives import Objective
from truing.references.join import Rows
from truing.references.policies import (
    Frozen,
    OtherModel,
    Unconditional,
    model_of,
    parse_reference,
    standing,
)


def with_references(
    config: RunConfig,
    reader: Reader,
    objective: Objective,
    numerics: Numerics,
    rows: RowSet,
    progress: Progress,
) -> Rows:
    """The rows, and token log-probs (or sums) of each reference; a moving one is its start.

    Args:
        config: of the run.
        reader: as the run read its rows.
        objective: what was trained.
        numerics: of the run.
        rows: held out.
        progress: shows the work.

    Raises:
        ModelError: a reference cannot be loaded.
        NeedsError: a reference cannot read the rows.
    """
    passes = ReferencePass(
        config, reader, objective.needs, numerics, progress, config.checks.references
    )
    given = standing(parse_reference(config.reference))
    passes.check(given, [rows])
    said = [_said(passes, one, rows, number, len(given)) for number, one in enumerate(given, 1)]
    alone = None
    if objective.needs.unconditional_reference:
        without_prompt = Unconditional(model_of(given[0]))
        alone = _said(passes, without_prompt, rows, 1, 1).sums
    return rows_with(rows.examples, said, unconditional=alone)


def _said(passes: ReferencePass, reference: Frozen, rows: RowSet, number: int, count: int) -> Said:
    name = "reference" if count == 1 else f"reference {number}"
    if isinstance(model_of(reference), OtherModel):
        return passes.of_other(reference, [rows], name)[0]
    config, tokenizer = passes.config, passes.reader.tokenizer
    model = load_start(config.model, config, len(tokenizer), passes.numerics)
    model.eval()
    budget = config.tokens_per_device
    kind = choose_engine(
        config.engine, model, budget, widest(rows.examples), lambda: autocast(passes.numerics)
    ).name
    start = model_of(reference)
    source = passes.source(model, kind, start, grown=grown_rows(model, config.model))
    return passes.said(source, reference, rows.examples, tokenizer, name)
