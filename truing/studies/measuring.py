"""Policies asked the same prompts with the same noise, and what their responses are worth.

Tuning prompts choose the value of a method's knob; test prompts are what is reported. Distance is
always from the start, whatever a policy was trained against.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from truing.core.progress import SILENT
from truing.evaluation.generations import Generations, LogRatios, evaluate_generations
from truing.jobs.asked import length_controlled_by_score
from truing.jobs.asking import AskedPrompt, Asking, ask, log_ratios, pieces, read_prompts
from truing.jobs.scores import score_of
from truing.jobs.speakers import Speaker, open_speaker
from truing.responses import Response
from truing.studies.ground import WORLD_SCORE
from truing.training import folder
from truing.world import assess, read_prompt

SEED = 0
"""Of the draws; every policy of every cell sees the same noise."""
_SAMPLES = 3


@dataclass(frozen=True)
class Said:
    """One response, as it is kept of the start."""

    text: str
    tokens: int
    finished: bool
    score: float | None


@dataclass(frozen=True)
class Measuring:
    """How policies are asked.

    Args:
        model: the start.
        tuning: file of prompts.
        test: file of prompts.
        score: an expression; None: there is no score.
        start_file: where the start's responses are kept.
    """

    model: str
    tuning: str
    test: str
    max_new_tokens: int
    score: str | None
    start_file: str

    def asking(self, source: str, responses: int = 1, seed: int = SEED) -> Asking:
        """Prompts of a source, with these draws."""
        return Asking(
            source, responses=responses, max_new_tokens=self.max_new_tokens, seed=seed,
            score=self.score,
        )  # fmt: skip

    def start(self) -> tuple[Said, ...]:
        """The start's responses to tuning and test prompts, from the file where they lie there."""
        path = Path(self.start_file)
        if not path.is_file():
            asked = _Asked(self, open_speaker(self.model))
            said = [asdict(one) for one in asked.said(asked.prompts, asked.responses())]
            path.parent.mkdir(parents=True, exist_ok=True)
            folder.write_json(path, {"said": said})
        return tuple(Said(**one) for one in json.loads(path.read_text(encoding="utf-8"))["said"])

    def policy(self, run: str) -> dict[str, Any]:
        """`numbers` and `samples` of a trained policy."""
        asked = _Asked(self, open_speaker(run))
        groups = asked.responses()
        said = asked.said(asked.prompts, groups)
        test = slice(asked.num_tuning, None)
        start = open_speaker(self.model)
        ratios = log_ratios(
            asked.speaker.model, start.model, asked.prompts[test], groups[test], SILENT
        )
        lengths = [len(one) for one in ratios]
        numbers = self._numbers(
            asked,
            said,
            LogRatios(np.concatenate(ratios), np.repeat(np.arange(len(lengths)), lengths)),
        )
        return {"numbers": numbers, "samples": asked.samples(groups, said, ratios, self.start())}

    def best_of(self, number: int, seed: int) -> dict[str, Any]:
        """The best by score of so many responses of the start; KL is log n - (n - 1) / n.

        Source of the KL, an upper bound that is tight here: Beirami et al. 2024 (2401.01879).
        """
        asked = _Asked(self, open_speaker(self.model))
        groups = asked.responses(number, SEED + 1 + seed)
        flat = asked.said(
            [p for p in asked.prompts for _ in range(number)],
            [[one] for group in groups for one in group],
        )
        best = [
            max(flat[place : place + number], key=lambda one: float(one.score or 0.0))
            for place in range(0, len(flat), number)
        ]
        numbers = self._numbers(asked, best, None)
        numbers["kl"] = math.log(number) - (number - 1) / number
        return {"numbers": numbers, "samples": []}

    def _numbers(
        self, asked: "_Asked", said: Sequence[Said], ratios: LogRatios | None
    ) -> dict[str, float]:
        start, tuning = self.start(), asked.num_tuning
        own, before = _table(said[tuning:]), _table(start[tuning:])
        numbers: dict[str, Any] = evaluate_generations(own, before, ratios, seed=SEED).to_json()
        numbers["tuning_length"] = _mean([one.tokens for one in said[:tuning]])
        if self.score is not None:
            numbers["tuning_score"] = _mean([one.score for one in said[:tuning]])
            controlled, _ = length_controlled_by_score(own, before)
            name = "length_controlled_win_rate"
            numbers |= {key: value for key, value in controlled.items() if key.startswith(name)}
        if self.score == WORLD_SCORE:
            numbers |= _of_world(asked.prompts[tuning:], said[tuning:])
        kept = {key: float(value) for key, value in numbers.items() if _is_number(value)}
        return {key: round(value, 6) for key, value in kept.items()}


class _Asked:
    """Prompts put to one speaker."""

    def __init__(self, measuring: Measuring, speaker: Speaker) -> None:
        self.measuring, self.speaker = measuring, speaker

    @cached_property
    def _parts(self) -> list[list[AskedPrompt]]:
        sources = (self.measuring.tuning, self.measuring.test)
        tokenizer = self.speaker.tokenizer
        return [read_prompts(self.measuring.asking(source), tokenizer) for source in sources]

    @property
    def prompts(self) -> list[AskedPrompt]:
        """Tuning prompts, then test prompts."""
        return [prompt for part in self._parts for prompt in part]

    @property
    def num_tuning(self) -> int:
        return len(self._parts[0])

    def responses(self, number: int = 1, seed: int = SEED) -> list[list[Response]]:
        return ask(
            self.speaker.model,
            self.speaker.tokenizer,
            self.prompts,
            self.measuring.asking("", number, seed),
            SILENT,
            "responds",
        )

    def said(
        self, prompts: Sequence[AskedPrompt], groups: Sequence[Sequence[Response]]
    ) -> list[Said]:
        """The first response to each prompt, scored."""
        first = [group[0] for group in groups]
        scores: list[float] | list[None] = [None] * len(first)
        if self.measuring.score is not None:
            asked = [(p.text, r.text, r.finished) for p, r in zip(prompts, first, strict=True)]
            scores = score_of(self.measuring.score)(asked)
        return [
            Said(r.text, len(r.tokens), r.finished, s) for r, s in zip(first, scores, strict=True)
        ]

    def samples(
        self,
        groups: Sequence[Sequence[Response]],
        said: Sequence[Said],
        ratios: Sequence[np.ndarray],
        start: Sequence[Said],
    ) -> list[Mapping[str, Any]]:
        """The first few test prompts with what start and policy say, token by token."""
        found = []
        for place in range(self.num_tuning, min(self.num_tuning + _SAMPLES, len(said))):
            one = groups[place][0]
            found.append(
                {
                    "prompt": self.prompts[place].text,
                    "start": start[place].text,
                    "score_start": start[place].score,
                    "score": said[place].score,
                    "finished": one.finished,
                    "pieces": pieces(self.speaker.tokenizer, one),
                    "log_ratios": [round(float(v), 3) for v in ratios[place - self.num_tuning]],
                }
            )
        return found


def _table(said: Sequence[Said]) -> Generations:
    scores = [one.score for one in said]
    return Generations(
        length=np.array([one.tokens for one in said]),
        cut=np.array([not one.finished for one in said]),
        score=None if None in scores else np.array(scores, dtype=float),
        prompt=np.arange(len(said)),
    )


def _of_world(asked: Sequence[AskedPrompt], said: Sequence[Said]) -> dict[str, float]:
    """Broken sentences, right responses to notes, and score and length by kind of prompt."""
    prompts = [read_prompt(prompt.text) for prompt in asked]
    judged = [
        assess(prompt, one.text, finished=one.finished)
        for prompt, one in zip(prompts, said, strict=True)
    ]
    sentences = sum(len(one.verdicts) for one in judged)
    numbers = {"broken": sum(one.count("broken") for one in judged) / max(sentences, 1)}
    for kind in dict.fromkeys(prompt.kind for prompt in prompts):
        mine = [i for i, prompt in enumerate(prompts) if prompt.kind == kind]
        numbers[f"score_{kind}"] = _mean([judged[i].score for i in mine])
        numbers[f"length_{kind}"] = _mean([said[i].tokens for i in mine])
        if kind == "notes":
            numbers["accurate_notes"] = _mean([float(judged[i].is_accurate) for i in mine])
    return numbers


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else math.nan
