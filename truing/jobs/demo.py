"""`truing demo`: the embedded model trained on its own preferences and measured against the truth.

The policy is sampled, its responses are scored by the world's known score, the best and the worst
of each prompt are labelled by a draw (Bradley-Terry), DPO trains on the pairs, and start and
trained policy respond to prompts that neither has seen. Nothing is downloaded.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from scipy.special import expit

from truing.core.progress import SILENT, Progress
from truing.engine import PaddedEngine
from truing.engine.models import load_model, load_tokenizer
from truing.errors import ConfigError
from truing.evaluation.bootstrap import RatioOfSums, estimate
from truing.evaluation.generations import Generations, LogRatios, evaluate_generations
from truing.jobs.train import train
from truing.references.fill import fill
from truing.report import write_report
from truing.responses import Response, Sampling, sample
from truing.training import folder
from truing.world import Assessment, Prompt, assess, model_folder, prompts

PAIRS, HELD_OUT, RUN = "pairs.jsonl", "held_out.jsonl", "run"


@dataclass(frozen=True)
class DemoPlan:
    """How much the demo does; the defaults are what `truing demo` shows.

    Args:
        train_prompts: as many pairs, less the ties.
        candidates: responses of which the best stands against the worst.
        temperature: of the label: P(a before b) = sigmoid((score_a - score_b) / temperature).
        test_prompts: unseen ones, asked before and after.
        test_responses: to each of them.
        objective: in the language of objectives; the reference is the start.
    """

    train_prompts: int = 1000
    candidates: int = 4
    temperature: float = 0.5
    test_prompts: int = 600
    test_responses: int = 2
    objective: str = "dpo(beta=1.0)"
    learning_rate: float = 5e-4
    epochs: int = 3
    pairs_per_step: int = 16
    batch_size: int = 256


@dataclass(frozen=True)
class DemoResult:
    """What the demo measured; `rows` under `columns` is the table that it shows.

    `output` is the run folder, its report inside; the pairs lie beside it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    output: Path
    numbers: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, with `NAME_low` and `NAME_high` beside, and the folder."""
        return {"output": str(self.output), **self.numbers}


@dataclass(frozen=True)
class Asked:
    """Prompts with the responses of one policy, each with the world's judgement."""

    prompts: Sequence[Prompt]
    ids: Sequence[Sequence[int]]
    responses: Sequence[Sequence[Response]]
    judged: Sequence[Sequence[Assessment]]

    def generations(self) -> Generations:
        """One row a response, in order."""
        flat = [response for group in self.responses for response in group]
        return Generations(
            length=np.array([len(response.tokens) for response in flat]),
            cut=np.array([not response.finished for response in flat]),
            score=np.array([one.score for one in self.assessments()]),
            prompt=np.repeat(np.arange(len(self.prompts)), len(self.responses[0])),
        )

    def assessments(self) -> list[Assessment]:
        """All of them, in order."""
        return [one for group in self.judged for one in group]


@dataclass(frozen=True)
class _TokenRow:
    prompt: np.ndarray
    responses: tuple[np.ndarray, ...]


def demo(
    output: str | Path,
    *,
    progress: Progress = SILENT,
    seed: int = 0,
    plan: DemoPlan = DemoPlan(),
) -> DemoResult:
    """Sample, label, train, and measure what became of it.

    Args:
        output: a new or empty folder; gets the pairs and, in `run`, the trained policy with its
            report, evaluation and samples.
        progress: shows long work.
        seed: of sampling, labels and training.
        plan: how much of everything.

    Raises:
        ConfigError: there is something in the folder already.
    """
    output = Path(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(
            "there is something in the output folder already",
            where=str(output),
            fix="take another folder (--output), or remove this one",
        )
    with one_thread():
        return _Demo(output, progress, seed, plan).go()


@contextmanager
def one_thread() -> Iterator[None]:
    """The model's products are too small to share: two threads mostly wait for each other.

    Alone on two cores they gain little; beside another process they are several times slower.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class _Demo:
    """One run of the demo."""

    output: Path
    progress: Progress
    seed: int
    plan: DemoPlan

    def go(self) -> DemoResult:
        plan, run = self.plan, self.output / RUN
        tokenizer = load_tokenizer(str(model_folder()))
        start = load_model(str(model_folder()), torch.float32)
        asked = prompts("train")[: plan.train_prompts]
        candidates = self._ask(start, tokenizer, asked, plan.candidates, "sampling pairs")
        unseen = prompts("test")[: plan.test_prompts]
        before = self._ask(start, tokenizer, unseen, plan.test_responses, "the start responds")
        self.output.mkdir(parents=True, exist_ok=True)
        pairs, held_out = self.output / PAIRS, self.output / HELD_OUT
        _write_lines(pairs, draw_pairs(candidates, plan.temperature, Random(self.seed)))
        _write_lines(held_out, draw_pairs(before, plan.temperature, Random(self.seed + 1)))
        result = train(
            model=str(model_folder()),
            data=str(pairs),
            objective=plan.objective,
            output=str(run),
            seed=self.seed,
            learning_rate=plan.learning_rate,
            epochs=plan.epochs,
            pairs_per_step=plan.pairs_per_step,
            # The unseen prompts are asked here, with their scores.
            evaluation={"data": str(held_out), "samples": 0},
            progress=self.progress,
        )
        policy = load_model(str(run), torch.float32)
        after = self._ask(policy, tokenizer, unseen, plan.test_responses, "the policy responds")
        numbers = self._measure(before, after, self._log_ratios(policy, start, after))
        folder.write_json(run / folder.EVALUATION, {**result.evaluation, **numbers})
        _write_lines(run / folder.SAMPLES, _side_by_side(before, after))
        write_report(run)
        return DemoResult(
            title=f"{len(unseen)} unseen prompts, {plan.test_responses} responses each",
            columns=("measure", "start", "trained", "95 % interval"),
            rows=_table(numbers),
            output=run,
            numbers=numbers,
        )

    def _ask(
        self, model: Any, tokenizer: Any, asked: Sequence[Prompt], number: int, description: str
    ) -> Asked:
        """Sample responses and judge them; equal seeds give equal noise to any policy."""
        ids = tokenizer([prompt.text for prompt in asked])["input_ids"]
        responses = sample(
            model,
            tokenizer,
            ids,
            sampling=Sampling(num_responses=number),
            seed=self.seed,
            batch_size=self.plan.batch_size,
            progress=self.progress,
            description=description,
        )
        judged = [
            [assess(prompt, one.text, finished=one.finished) for one in group]
            for prompt, group in zip(asked, responses, strict=True)
        ]
        return Asked(asked, ids, responses, judged)

    def _log_ratios(self, policy: Any, start: Any, after: Asked) -> LogRatios:
        """Token by token, of the policy's own responses."""
        rows = [
            _TokenRow(np.array(ids), tuple(np.array(one.tokens) for one in group))
            for ids, group in zip(after.ids, after.responses, strict=True)
        ]
        engine = PaddedEngine(16_384)
        ours, theirs = (
            np.concatenate(fill(model, rows, engine, self.progress, description))
            for model, description in ((policy, "distance: policy"), (start, "distance: start"))
        )
        lengths = [len(one.tokens) for group in after.responses for one in group]
        return LogRatios(ours - theirs, np.repeat(np.arange(len(lengths)), lengths))

    def _measure(self, before: Asked, after: Asked, ratios: LogRatios) -> dict[str, Any]:
        found = evaluate_generations(
            after.generations(), before.generations(), ratios, seed=self.seed
        )
        shares = _shares(before, "_before") | _shares(after, "")
        groups = after.generations().prompt
        extra = estimate(shares, groups, seed=self.seed)
        numbers: dict[str, Any] = found.to_json()
        for name, value in extra.items():
            numbers |= value.to_json(name)
        return numbers


def draw_pairs(asked: Asked, temperature: float, random: Random) -> list[dict[str, Any]]:
    """Best against worst of each prompt's finished responses, labelled by one draw.

    P(best is chosen) = sigmoid(gap / temperature): a small gap may be labelled against the score.
    Prompts whose responses tie or say the same are left out.

    Source: Bradley and Terry 1952, "Rank analysis of incomplete block designs".
    """
    pairs = []
    for prompt, group, judged in zip(asked.prompts, asked.responses, asked.judged, strict=True):
        ranked = sorted(
            (one.score, response.text)
            for one, response in zip(judged, group, strict=True)
            if response.finished
        )
        if len(ranked) < 2 or ranked[0][0] == ranked[-1][0]:
            continue
        worst, best = ranked[0], ranked[-1]
        if random.random() >= expit((best[0] - worst[0]) / temperature):
            worst, best = best, worst
        pairs.append(
            {
                "prompt": prompt.text,
                "chosen": best[1],
                "rejected": worst[1],
                "score_chosen": round(best[0], 4),
                "score_rejected": round(worst[0], 4),
            }
        )
    return pairs


def _shares(asked: Asked, suffix: str) -> dict[str, RatioOfSums]:
    """How truthful and how readable: right facts among facts, broken sentences among all."""
    judged = asked.assessments()

    def column(*kinds: str) -> np.ndarray:
        return np.array([float(one.count(*kinds)) for one in judged])

    right = column("right", "close")
    sentences = np.array([float(len(one.verdicts)) for one in judged])
    return {
        f"right_facts{suffix}": RatioOfSums(right, right + column("wrong", "made up")),
        f"broken_sentences{suffix}": RatioOfSums(column("broken"), sentences),
    }


def _side_by_side(before: Asked, after: Asked) -> list[dict[str, Any]]:
    """The first response to each prompt before and after, as the report reads them."""
    return [
        {
            "prompt": prompt.text,
            "before": old[0].text,
            "after": new[0].text,
            "score_before": round(old_judged[0].score, 3),
            "score_after": round(new_judged[0].score, 3),
            "tokens_before": len(old[0].tokens),
            "tokens_after": len(new[0].tokens),
        }
        for prompt, old, new, old_judged, new_judged in zip(
            before.prompts,
            before.responses,
            after.responses,
            before.judged,
            after.judged,
            strict=True,
        )
    ]


_ROWS = (
    ("score, -6 to 4", "score", "{:.2f}", True),
    ("win rate against the start", "win_rate", "{:.3f}", False),
    ("KL to the start, nats a response", "kl", "{:.2f}", False),
    ("length, tokens", "length", "{:.1f}", True),
    ("right facts among facts", "right_facts", "{:.3f}", True),
    ("broken sentences", "broken_sentences", "{:.3f}", True),
)


def _table(numbers: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    rows = []
    for title, name, form, has_before in _ROWS:
        cells = [form.format(numbers[f"{name}_before"]) if has_before else ""]
        cells.append(form.format(numbers[name]))
        low, high = (form.format(numbers[f"{name}_{end}"]) for end in ("low", "high"))
        rows.append((title, *cells, f"{low} to {high}"))
    return tuple(rows)


def _write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    folder.write_atomically(path, "".join(lines))
