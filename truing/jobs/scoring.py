"""Held-out rows scored by a policy and its reference: from tokens to a table of pairs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from truing.core import State, View
from truing.core.progress import Progress
from truing.engine import Engine, Wanted, ranks
from truing.errors import RowError
from truing.evaluation.pairs import PairTable
from truing.objectives import Objective
from truing.references.join import PreferenceRow, Rows, join


@dataclass(frozen=True)
class Scorer:
    """Turns rows into a table of pairs: one forward pass of the policy a row, no gradient.

    Args:
        objective: says what a reward is; in evaluation each pass is a batch of its own.
        engine: computes token log-probs.
        wanted: what the objective reads beside them.
    """

    objective: Objective
    engine: Engine
    wanted: Wanted

    def table(
        self,
        policy: torch.nn.Module,
        rows: Rows,
        progress: Progress,
    ) -> PairTable:
        """One line a pair, in the order of the rows.

        Raises:
            RowError: no row holds a pair.
        """
        if not any(row.pairs for row in rows.examples):
            raise RowError(
                "there is no pair to score", where="evaluation data", fix="give rows with pairs"
            )
        columns: list[tuple[list[int], np.ndarray]] = []
        policy.eval()
        with torch.no_grad(), progress.task(total=len(rows), description="evaluation") as task:
            for indices, is_used in ranks.mine(self.engine.plan(rows.examples)):
                some = rows.at(indices)
                view = join(
                    self.engine.logps(policy, some.examples, self.wanted),
                    some,
                    context=None,
                    state=State(),
                )
                owner = [i for i in indices for _ in rows.examples[i].pairs]
                if is_used:
                    columns.append((owner, self._columns(view)))
                task.advance(ranks.world() * len(indices))
        columns = [column for own in ranks.gathered(columns) for column in own]
        owners = np.concatenate([owner for owner, _ in columns])
        prompts = prompt_numbers(rows.examples)
        # Rows with several pairs keep the order of their pairs: the sort is stable.
        order = np.argsort(owners, kind="stable")
        values = np.concatenate([value for _, value in columns], axis=1)[:, order]
        return _as_table(values, prompts[owners[order]], has_reference=rows.has_reference)

    def _columns(self, view: View) -> np.ndarray:
        """Numbers of each pair of a view, two sides each, float64; NaN where there are none."""
        chosen, rejected = view.pairs.unbind(1)
        sums = torch.zeros(view.num_responses, dtype=torch.float64)
        sums.index_add_(0, view.response.cpu(), view.policy.cpu().double())
        parts = [sums, view.lengths.cpu().double()]
        if view.references is not None:
            reference = torch.zeros_like(sums)
            reference.index_add_(0, view.response.cpu(), view.references[0].cpu().double())
            parts.append(reference)
        elif view.reference_sums is not None:
            parts.append(view.reference_sums[0].cpu().double())
        nothing = torch.full_like(sums, torch.nan)
        parts.append(nothing if view.scores is None else view.scores.cpu().double())
        sides = [side.cpu() for side in (chosen, rejected)]
        rewards = self.objective.rewards(view)
        nothing = torch.full((view.num_pairs, 2), torch.nan)
        both = (nothing if rewards is None else rewards).cpu().double().unbind(1)
        return torch.stack([*(part[side] for part in parts for side in sides), *both]).numpy()


def prompt_numbers(rows: Sequence[PreferenceRow]) -> np.ndarray:
    """A number for each row's prompt, the same where the prompts are the same.

    Rows without a prompt (its begin token alone) have nothing in common: each has its own number.
    """
    seen: dict[bytes | int, int] = {}
    keys = [row.prompt.tobytes() if len(row.prompt) > 1 else i for i, row in enumerate(rows)]
    return np.array([seen.setdefault(key, len(seen)) for key in keys])


def _as_table(values: np.ndarray, prompts: np.ndarray, *, has_reference: bool) -> PairTable:
    names = ["logp", "length", *(["reference"] if has_reference else []), "score", "reward"]
    column = {
        f"{name}_{side}": values[2 * i + j]
        for i, name in enumerate(names)
        for j, side in enumerate(("chosen", "rejected"))
    }
    for side in ("chosen", "rejected"):
        column[f"length_{side}"] = column[f"length_{side}"].astype(np.int64)
    for name in ("score", "reward"):
        both = (f"{name}_chosen", f"{name}_rejected")
        if any(np.isnan(column[side]).any() for side in both):
            column = {key: value for key, value in column.items() if key not in both}
    return PairTable(**column, prompt=prompts)
