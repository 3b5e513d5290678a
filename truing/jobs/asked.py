"""Responses of a run measured: score, win rate against a baseline, length taken out, distance."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from truing.core.progress import Progress
from truing.data.files import Record
from truing.data.sources import open_sources
from truing.data.where import refusal
from truing.engine.models import load_model
from truing.errors import ConfigError, RowError
from truing.evaluation.generations import Generations, evaluate_generations
from truing.evaluation.length_control import Against, length_controlled
from truing.evaluation.wording import wording
from truing.jobs.asking import (
    AskedPrompt,
    Asking,
    ask,
    key_of,
    log_ratios,
    read_prompts,
    spoken,
)
from truing.jobs.evaluated import GENERATIONS, START, Generated, Spoken, write_generated
from truing.jobs.opened import OpenRun
from truing.jobs.scores import Score, score_of

_BEFORE_ONLY = ("win_rate", "ties", "score_gain", "length_gain", "score_before", "length_before",
                "cut_before")  # fmt: skip


def generated_numbers(
    opened: OpenRun, asking: Asking, baseline: str | None, progress: Progress
) -> dict[str, Any]:
    """Ask, score, measure; the responses are left in the run folder.

    Raises:
        TruingError: the prompts or the baseline cannot be read, or the score does not fit.
    """
    after, before, notes = respond(opened, asking, baseline, progress)
    numbers = measured(after, before)
    asked = {"source": asking.prompts, "score_by": asking.score, "seed": asking.seed}
    found = {**asked, "baseline": baseline or "the start", **numbers}
    return {**found, "notes": [*notes, *numbers["notes"]]}


def respond(
    opened: OpenRun, asking: Asking, baseline: str | None, progress: Progress
) -> tuple[Generated, Generated, list[str]]:
    """The responses of a run and of its baseline, written into its folder."""
    tokenizer = opened.reader.tokenizer
    prompts = read_prompts(asking, tokenizer)
    score = None if asking.score is None else score_of(asking.score)
    settings = opened.settings_of(asking)
    with opened.in_numbers():
        said = ask(opened.policy, tokenizer, prompts, asking, progress, "the policy responds")
        reference = opened.load(opened.references[0]) if opened.references else opened.start()
        ratios = log_ratios(opened.policy, reference, prompts, said, progress)
        del reference
    after = Generated(settings, spoken(tokenizer, prompts, said, ratios, score))
    notes: list[str] = []
    if baseline is not None and Path(baseline).is_file():
        rows, notes = _from_file(baseline, prompts, tokenizer, score)
        before = Generated({**settings, "baseline": baseline}, rows)
    else:
        model = opened.start() if baseline is None else _other(baseline, opened)
        with opened.in_numbers():
            said = ask(model, tokenizer, prompts, asking, progress, "the baseline responds")
        del model
        before = Generated(
            {**settings, "baseline": baseline}, spoken(tokenizer, prompts, said, None, score)
        )
    write_generated(opened.run, GENERATIONS, after)
    write_generated(opened.run, START, before)
    return after, before, notes


def _other(path: str, opened: OpenRun) -> Any:
    if not Path(path).exists():
        raise ConfigError(
            "is neither a model's folder nor a file of responses",
            where=f"baseline {path}",
            fix="give a folder with a model, or rows with `prompt` and `response`",
        )
    model: Any = load_model(path, opened.numerics.weights)
    return model.to(opened.numerics.device)


def _from_file(
    path: str, prompts: Sequence[AskedPrompt], tokenizer: Any, score: Score | None
) -> tuple[tuple[Spoken, ...], list[str]]:
    """The baseline's responses to these prompts; prompts without one are counted, and told.

    Raises:
        RowError: a row without `prompt` or `response`, or no response to any of the prompts.
    """
    by_text = {prompt.text: prompt for prompt in prompts}
    found: dict[str, tuple[AskedPrompt, str]] = {}
    for file, _ in open_sources(path):
        for record in file.read():
            if not isinstance(record, Record):
                raise refusal([record])
            row: Mapping[str, Any] = record.value
            if not isinstance(row, Mapping) or "prompt" not in row or "response" not in row:
                raise RowError(
                    "has no `prompt` and `response`",
                    where=str(record.where),
                    fix="write each row as {prompt: ..., response: ...}",
                )
            prompt, text = by_text.get(str(row["prompt"])), row["response"]
            if prompt is not None and isinstance(text, str) and text.strip():
                found.setdefault(prompt.text, (prompt, text))
    if not found:
        raise RowError(
            "holds no response to any of the prompts", where=path, fix="ask the same prompts"
        )
    asked = [(prompt.text, text, True) for prompt, text in found.values()]
    scores = [None] * len(asked) if score is None else score(asked)
    said = tuple(
        Spoken(
            prompt.text,
            key_of(prompt.ids),
            0,
            text,
            (*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id),
            (),
            (),
            float("nan"),
            finished=True,
            score=one,
        )
        for (prompt, text), one in zip(found.values(), scores, strict=True)
    )
    missing = len(prompts) - len(found)
    notes = [f"{missing} of {len(prompts)} prompts have no response of the baseline: left out of "
             "every comparison with it"] if missing else []  # fmt: skip
    return said, notes


def measured(after: Generated, before: Generated) -> dict[str, Any]:
    """All numbers of a policy's responses, and of those beside the baseline's."""
    table, ratios = after.table(), after.log_ratios()
    numbers: dict[str, Any] = evaluate_generations(table, log_ratios=ratios).to_json()
    own, other = paired(after, before)
    beside = evaluate_generations(own.table(), _without_order(own, other))
    both = beside.to_json()
    numbers |= {name: value for name, value in both.items() if name.startswith(_BEFORE_ONLY)}
    numbers |= {name: value for name, value in _wording(after).items() if name not in numbers}
    notes: list[str] = []
    compared = own.table(), other.table()
    if compared[0].score is not None and compared[1].score is not None:
        controlled, notes = length_controlled_by_score(*compared)
        numbers |= controlled
    return {**numbers, "compared": len(own.responses), "notes": notes}


def paired(after: Generated, before: Generated) -> tuple[Generated, Generated]:
    """The responses that have a partner (same prompt, same number), in one order.

    Raises:
        RowError: none has.
    """
    others = {(one.key, one.number): one for one in before.responses}
    both = [
        (one, others[one.key, one.number])
        for one in after.responses
        if (one.key, one.number) in others
    ]
    if not both:
        raise RowError(
            "the two sets of responses share no prompt", where="responses", fix="ask both the same"
        )
    return (
        Generated(after.settings, tuple(one for one, _ in both)),
        Generated(before.settings, tuple(other for _, other in both)),
    )


def _without_order(own: Generated, other: Generated) -> Generations:
    return other.table(own.keys)


def _wording(generated: Generated) -> dict[str, Any]:
    responses = generated.responses
    logp = np.array([one.logp for one in responses])
    return wording(
        [one.tokens for one in responses],
        np.array([not one.finished for one in responses]),
        None if np.isnan(logp).any() else logp,
        generated.table().prompt,
    ).to_json()


def length_controlled_by_score(
    own: Generations, other: Generations
) -> tuple[dict[str, Any], list[str]]:
    """The length-controlled win rate where the higher score wins (light form), and its notes."""
    assert own.score is not None
    assert other.score is not None
    rows = Against(0.5 * (1 + np.sign(own.score - other.score)), own.length, other.length)
    found = length_controlled(rows, strength=100.0)
    numbers = found.win_rate.to_json("length_controlled_win_rate")
    return dict(numbers), list(found.notes)
