"""What a round did: the policy asked again, its responses scored and held against the start's."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from truing.config import Measure, RunConfig
from truing.core.progress import SILENT, Progress
from truing.engine.adapters import load_merged
from truing.engine.models import load_tokenizer
from truing.evaluation.generations import Generations, LogRatios, evaluate_generations
from truing.jobs.asking import AskedPrompt, log_ratios
from truing.pairs import Prompts, read_prompts
from truing.responses import Response, Sampling, sample
from truing.responses.groups import Group, Said
from truing.responses.parse import parse_scorer
from truing.responses.samplers import prompt_ids
from truing.training import folder

MEASURED = "measured.json"


@dataclass(frozen=True)
class Heard:
    """One policy's responses to the prompts of the measure, in order, each with what it is worth.

    `log_ratios` are to the start, token by token of all responses, nats; None for the start.
    """

    texts: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    finished: tuple[bool, ...]
    scores: tuple[float, ...]
    log_ratios: tuple[float, ...] | None = None

    @property
    def num_unscored(self) -> int:
        """Responses that the scorer could not score."""
        return int((~np.isfinite(self.scores)).sum())

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> "Heard":
        """The inverse of `to_json`."""
        ratios = values["log_ratios"]
        return cls(
            tuple(values["texts"]),
            tuple(map(tuple, values["ids"])),
            tuple(values["finished"]),
            tuple(values["scores"]),
            None if ratios is None else tuple(ratios),
        )


@dataclass(frozen=True)
class RoundMeasure:
    """Asks policies the same prompts with the same noise.

    Args:
        config: of the run.
        measure: what is asked.
        start: folder of the first round's start.
    """

    config: RunConfig
    measure: Measure
    start: str

    @cached_property
    def prompts(self) -> Prompts:
        """Who is asked."""
        return read_prompts(self.measure.prompts, split="test")

    @property
    def _scorer(self) -> str:
        rounds = self.config.rounds
        found = self.measure.scorer or (None if rounds is None else rounds.scorer)
        assert found is not None, "the configuration wants one"
        return found

    def heard(self, policy: str, place: Path, description: str, progress: Progress) -> Heard:
        """What a policy says; remembered in `place`.

        Raises:
            ModelError: the policy cannot be loaded.
        """
        if (place / MEASURED).is_file():
            return Heard.of_json(json.loads((place / MEASURED).read_text(encoding="utf-8")))
        found = self._asked(policy, description, progress)
        place.mkdir(parents=True, exist_ok=True)
        folder.write_json(place / MEASURED, found.to_json())
        return found

    def _asked(self, policy: str, description: str, progress: Progress) -> Heard:
        tokenizer = load_tokenizer(policy)
        model: Any = load_merged(policy, torch.float32)
        model.to("cuda" if torch.cuda.is_available() else "cpu")
        ids = [prompt_ids(tokenizer, prompt) for prompt in self.prompts.asked]
        number, most = self.measure.responses, self.measure.max_new_tokens
        groups = sample(
            model,
            tokenizer,
            ids,
            sampling=Sampling(num_responses=number, max_new_tokens=most),
            seed=self.config.seed,
            progress=progress,
            description=description,
        )
        scorer = parse_scorer(self._scorer).opened()
        asked = [
            Group(prompt, tuple(Said(one.text, len(one.tokens), one.finished) for one in group))
            for prompt, group in zip(self.prompts.asked, groups, strict=True)
        ]
        flat = [one for group in groups for one in group]
        return Heard(
            tuple(one.text for one in flat),
            tuple(one.tokens for one in flat),
            tuple(one.finished for one in flat),
            tuple(score for verdict in scorer(asked) for score in verdict.scores),
            None if policy == self.start else tuple(self._log_ratios(model, ids, groups)),
        )

    def _log_ratios(
        self, model: Any, ids: Sequence[Sequence[int]], groups: Sequence[Sequence[Response]]
    ) -> Sequence[float]:
        start: Any = load_merged(self.start, torch.float32)
        start.to(model.device)
        prompts = [AskedPrompt("", tuple(one)) for one in ids]
        return np.concatenate(log_ratios(model, start, prompts, groups, SILENT)).tolist()

    def numbers(self, now: Heard, before: Heard, start: Heard) -> dict[str, Any]:
        """Score, win rate, length and KL against the start, with intervals; the step alone too.

        A response without a score counts as the worst of the policy's others; `unscored` says how
        many there are, where there are any.

        Args:
            now: of the policy.
            before: of the policy one round earlier.
            start: of the first round's start.
        """
        after, first = self._table(now), self._table(start)
        ratios = None
        if now.log_ratios is not None:
            lengths = [len(one) for one in now.ids]
            ratios = LogRatios(
                np.array(now.log_ratios), np.repeat(np.arange(len(lengths)), lengths)
            )
        found = evaluate_generations(after, first, ratios, seed=self.config.seed).to_json()
        step = evaluate_generations(after, self._table(before), seed=self.config.seed).to_json()
        ends = ("", "_low", "_high")
        found |= {f"step_win_rate{end}": step[f"win_rate{end}"] for end in ends}
        return found | ({"unscored": now.num_unscored} if now.num_unscored else {})

    def _table(self, heard: Heard) -> Generations:
        return Generations(
            length=np.array([len(one) for one in heard.ids]),
            cut=~np.array(heard.finished),
            score=_known(heard.scores),
            prompt=np.repeat(np.arange(len(self.prompts.asked)), self.measure.responses),
        )

    def side_by_side(self, start: Heard, end: Heard) -> list[dict[str, Any]]:
        """The first response to each prompt before and after, as the report reads them."""
        step = self.measure.responses
        return [
            {
                "prompt": prompt.text,
                "before": start.texts[index],
                "after": end.texts[index],
                "score_before": _shown(start.scores[index]),
                "score_after": _shown(end.scores[index]),
                "tokens_before": len(start.ids[index]),
                "tokens_after": len(end.ids[index]),
            }
            for prompt, index in zip(
                self.prompts.asked, range(0, len(end.texts), step), strict=True
            )
        ]


def _shown(score: float) -> float | None:
    return round(score, 3) if np.isfinite(score) else None


def _known(scores: Sequence[float]) -> np.ndarray:
    """A response that could not be scored counts as the worst one that was."""
    values = np.array(scores, dtype=float)
    known = values[np.isfinite(values)]
    return np.where(np.isfinite(values), values, known.min() if len(known) else np.nan)
