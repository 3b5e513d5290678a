"""How near training comes to the known optimum on the embedded model: `truing world optimum`.

Labels are soft: the probability with which a Bradley-Terry labeller of temperature 1 prefers each
response of a couple. DPO of strength b under such labels aims at start * exp(score / b), and what
that policy scores, and how far from the start it lies, is known from samples of the start.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from truing.core.progress import SILENT, Progress
from truing.engine import PaddedEngine
from truing.engine.models import load_model, load_tokenizer
from truing.evaluation.bootstrap import Mean, estimate
from truing.jobs.demo import one_thread
from truing.jobs.train import train
from truing.references.fill import fill
from truing.responses import Response, Sampling, sample
from truing.training import folder
from truing.world import MAX_NEW_TOKENS, SHORT, Prompt, assess, model_folder, prompts
from truing.world.optimum import reweighted
from truing.world.pairs import pairs

ROWS, RUN, RESULT = "soft_pairs.jsonl", "run", "optimum.json"


@dataclass(frozen=True)
class OptimumPlan:
    """How much is done.

    Args:
        strength: b above; the knob of DPO.
        couples: soft-labelled, of the prompts to train on.
        learning_rate: its start, falling to 0.
        tuning_prompts: unseen ones that start and policy are asked, with
        start_responses: of the start to each, which are reweighted, and
        policy_responses: of the policy.
    """

    strength: float = 2.0
    couples: int = 6000
    epochs: int = 1
    learning_rate: float = 1e-3
    pairs_per_step: int = 32
    tuning_prompts: int = 200
    start_responses: int = 16
    policy_responses: int = 4
    batch_size: int = 256


@dataclass(frozen=True)
class OptimumResult:
    """What was reached of what is aimed at; scores are means, KL in nats a response.

    Args:
        share: of the way from the start's score to the aim's that training went.
    """

    start_score: float
    aim_score: float
    aim_kl: float
    policy_score: float
    policy_score_low: float
    policy_score_high: float
    policy_kl: float
    share: float


@dataclass(frozen=True)
class _TokenRow:
    prompt: np.ndarray
    responses: tuple[np.ndarray, ...]


@one_thread()
def approach_optimum(
    output: Path,
    *,
    plan: OptimumPlan = OptimumPlan(),
    seed: int = 0,
    progress: Progress = SILENT,
) -> OptimumResult:
    """Train on soft labels and measure how near the aim the policy comes.

    Args:
        output: a new or empty folder; gets the rows, the run and `optimum.json`.
        plan: how much of everything.
        seed: of sampling and training.
        progress: shows long work.
    """
    output.mkdir(parents=True, exist_ok=True)
    _write_soft_rows(output / ROWS, plan, seed)
    train(
        model=str(model_folder()),
        data=str(output / ROWS),
        # On rows of two scored responses this is DPO with the soft label; a test says so.
        objective=f"infonca(beta={plan.strength}, alpha=1.0)",
        output=str(output / RUN),
        seed=seed,
        learning_rate=plan.learning_rate,
        epochs=plan.epochs,
        pairs_per_step=plan.pairs_per_step,
        progress=progress,
    )
    start, policy = (
        load_model(str(path), torch.float32) for path in (model_folder(), output / RUN)
    )
    asking = _Asking(prompts("tuning", SHORT)[: plan.tuning_prompts], plan, seed, progress)
    _, before = asking.ask(start, plan.start_responses, "the start responds")
    said, after = asking.ask(policy, plan.policy_responses, "the policy responds")
    aim = reweighted(before, plan.strength)
    groups = np.repeat(np.arange(len(after)), plan.policy_responses)
    score = estimate({"score": Mean(after.ravel())}, groups, seed=seed)["score"]
    result = OptimumResult(
        start_score=aim.start,
        aim_score=aim.score,
        aim_kl=aim.kl,
        policy_score=float(after.mean()),
        policy_score_low=score.low,
        policy_score_high=score.high,
        policy_kl=asking.kl(start, said),
        share=(float(after.mean()) - aim.start) / (aim.score - aim.start),
    )
    folder.write_json(output / RESULT, asdict(result))
    return result


def _write_soft_rows(path: Path, plan: OptimumPlan, seed: int) -> None:
    """Rows of two scored responses, couples of different prompts in turn."""
    found = pairs("train", kinds=SHORT, selection="all", temperature=1.0, seed=seed)
    # every so manyth couple, so that all prompts are there and few couples share a prompt
    some = found[:: max(len(found) // plan.couples, 1)][: plan.couples]
    lines = [
        json.dumps(
            {
                "prompt": pair.prompt.text,
                "responses": [pair.chosen.text, pair.rejected.text],
                "scores": [pair.chosen.score, pair.rejected.score],
            }
        )
        for pair in some
    ]
    folder.write_atomically(path, "\n".join(lines) + "\n")


class _Asking:
    """Prompts that are asked of two models."""

    def __init__(
        self, asked: Sequence[Prompt], plan: OptimumPlan, seed: int, progress: Progress
    ) -> None:
        self.asked, self.plan, self.seed, self.progress = asked, plan, seed, progress
        self.tokenizer = load_tokenizer(str(model_folder()))
        self.ids = self.tokenizer([prompt.text for prompt in asked])["input_ids"]

    def ask(
        self, model: Any, number: int, description: str
    ) -> tuple[list[list[Response]], np.ndarray]:
        """Responses, and their scores (P, K)."""
        said = sample(
            model,
            self.tokenizer,
            self.ids,
            sampling=Sampling(num_responses=number, max_new_tokens=MAX_NEW_TOKENS),
            seed=self.seed,
            batch_size=self.plan.batch_size,
            progress=self.progress,
            description=description,
        )
        scores = [
            [assess(prompt, one.text, finished=one.finished).score for one in group]
            for prompt, group in zip(self.asked, said, strict=True)
        ]
        return said, np.array(scores)

    def kl(self, start: Any, said: list[list[Response]]) -> float:
        """Mean over the policy's own responses of log policy - log start, nats a response."""
        rows = [
            _TokenRow(np.array(ids), tuple(np.array(one.tokens) for one in group))
            for ids, group in zip(self.ids, said, strict=True)
        ]
        theirs = fill(start, rows, PaddedEngine(16_384), self.progress, "distance")
        total = sum(float(values.sum()) for values in theirs)
        ours = [one.logp for group in said for one in group]
        return (sum(ours) - total) / len(ours)
