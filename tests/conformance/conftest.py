"""One model and its rows for every comparison: real ones where the shared data is there."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .cases import Case, keys_of
from .homes import Home, real_home, tiny_home
from .sides import (
    SETTINGS,
    Trace,
    run_ours,
    run_theirs,
    their_reference,
    theirs_of,
    with_gold,
    with_their_partners,
)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Home:
    """A random model and our own sentences."""
    return tiny_home(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def home(repository, tmp_path_factory, request) -> Home:
    """A pretrained model and people's rows; in a bare clone the random one."""
    shared = Path(os.environ.get("TRUING_SHARED", repository.parent / "shared"))
    if not (shared / "data" / "models" / "stories260K").is_dir():
        return request.getfixturevalue("tiny")
    return real_home(shared, tmp_path_factory.mktemp("real"))


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
        )
        change = None
        if "KL_completion_ids" in trainer.train_dataset.column_names:
            change = with_their_partners(trainer)
        if case.method == "tpo":
            change = with_gold(rows, 256, SETTINGS["seed"])
        theirs = run_theirs(trainer)
        if reads_reference:
            theirs.reference.extend(their_reference(trainer).tolist())
        return theirs, run_ours(keys_of(case, self.home), rows, change)


@pytest.fixture(scope="session")
def pair_of(home) -> Pairs:
    """Runs a case on both sides."""
    return Pairs(home)
