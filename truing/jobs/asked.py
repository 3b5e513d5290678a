"""Responses of a run measured: score, win rate against a baseline, length taken out, distance."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from truing.core.progress import Progress
from truing.data.cells import Cells
from truing.data.files import Record
from truing.data.rows import said as words_of
from truing.data.sources import open_sources
from truing.data.where import CellError, Fault, refusal
from truing.engine.gguf_files import is_gguf
from truing.errors import ConfigError, FitError, RowError
from truing.evaluation.generations import (
    Generations,
    evaluate_generations,
    length_controlled_wins,
)
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
from truing.jobs.speakers import open_speaker
from truing.pairs.prompts import asked_of
from truing.responses import Response
from truing.responses.groups import Asked as Prompt
from truing.responses.samplers import prompt_ids

_BASELINE_FORM = "write each row as {prompt: ..., response: ...}, texts or turns"
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
    if baseline is not None and not Path(baseline).exists():
        raise ConfigError(
            "is neither a model's folder nor a file of responses",
            where=f"baseline {baseline}",
            fix="give a folder with a model, or rows with `prompt` and `response`",
        )
    tokenizer = opened.reader.tokenizer
    prompts, notes = _with_room(read_prompts(asking, tokenizer), opened.policy, asking)
    score = None if asking.score is None else score_of(asking.score)
    settings = opened.settings_of(asking)
    others: Generated | None = None
    # A file is read before anybody is asked: sampling may take hours, a bad row a second.
    if baseline is not None and Path(baseline).is_file() and not is_gguf(baseline):
        rows, missing = _from_file(baseline, prompts, asking, tokenizer, score)
        notes += missing
        others = Generated({**settings, "baseline": baseline}, rows)
    with opened.in_numbers():
        said = ask(opened.policy, tokenizer, prompts, asking, progress, "the policy responds")
        reference = opened.load(opened.references[0]) if opened.references else opened.start()
        ratios = log_ratios(opened.policy, reference, prompts, said, progress)
        del reference
    after = Generated(settings, spoken(tokenizer, prompts, said, ratios, score))
    if others is not None:
        before = others
    elif baseline is not None:
        rows = _of_model(baseline, prompts, asking, opened, score, progress)
        before = Generated({**settings, "baseline": baseline}, rows)
    else:
        with opened.in_numbers():
            said = ask(opened.start(), tokenizer, prompts, asking, progress, "the start responds")
        before = Generated(
            {**settings, "baseline": None}, spoken(tokenizer, prompts, said, None, score)
        )
    write_generated(opened.run, GENERATIONS, after)
    write_generated(opened.run, START, before)
    return after, before, notes


def _with_room(
    prompts: Sequence[AskedPrompt], model: Any, asking: Asking
) -> tuple[list[AskedPrompt], list[str]]:
    """The prompts that leave room for a response, and a note on the others.

    Raises:
        FitError: none does.
    """
    limit = getattr(model.config, "max_position_embeddings", None)
    new = asking.max_new_tokens
    fitting = [one for one in prompts if limit is None or len(one.ids) + new <= limit]
    left_out = len(prompts) - len(fitting)
    told = f"leave no room for {new} new tokens in the {limit} that the model reads"
    if not fitting:
        room = max(0, (limit or 0) - min(len(one.ids) for one in prompts))
        raise FitError(
            f"all {left_out} prompts {told}",
            where=asking.prompts,
            fix=f"ask for {room} new tokens or fewer" if room else "give shorter prompts",
        )
    return fitting, [f"{left_out} of {len(prompts)} prompts {told}: left out"] if left_out else []


def _of_model(
    baseline: str,
    prompts: Sequence[AskedPrompt],
    asking: Asking,
    opened: OpenRun,
    score: Score | None,
    progress: Progress,
) -> tuple[Spoken, ...]:
    """What another model says, asked through its own tokenizer, counted in the run's tokens."""
    other, tokenizer = open_speaker(baseline, dtype=opened.config.dtype), opened.reader.tokenizer
    own = [AskedPrompt(one.text, tuple(other.ids(one.question)), one.question) for one in prompts]
    with opened.in_numbers():
        groups = ask(other.model, other.tokenizer, own, asking, progress, "the baseline responds")
    if other.tokenizer.get_vocab() != tokenizer.get_vocab():
        groups = [[_in_tokens_of(tokenizer, one) for one in group] for group in groups]
    return spoken(tokenizer, prompts, groups, None, score)


def _in_tokens_of(tokenizer: Any, one: Response) -> Response:
    return replace(one, tokens=_tokens_of(tokenizer, one.text, is_finished=one.finished))


def _from_file(
    path: str,
    prompts: Sequence[AskedPrompt],
    asking: Asking,
    tokenizer: Any,
    score: Score | None,
) -> tuple[tuple[Spoken, ...], list[str]]:
    """The baseline's responses to these prompts; those without one are counted, and told.

    A prompt matches by its tokens, be it text or turns; its first row is response 0, and so on.

    Raises:
        RowError: a row without `prompt` or `response`, or no response to any of the prompts.
    """
    by_ids = {prompt.ids: prompt for prompt in prompts}
    texts: dict[tuple[int, ...], list[tuple[str, bool]]] = {}
    for asked, text, is_finished in _responses(path):
        ids = tuple(prompt_ids(tokenizer, asked))
        if ids in by_ids and text.strip():
            texts.setdefault(ids, []).append((text, is_finished))
    if not texts:
        raise RowError(
            "holds no response to any of the prompts", where=path, fix="ask the same prompts"
        )
    found = [
        (by_ids[ids], number, text, is_finished)
        for ids, several in texts.items()
        for number, (text, is_finished) in enumerate(several[: asking.responses])
    ]
    scores = [None] * len(found)
    if score is not None:
        scores = score([(prompt.question, text, ended) for prompt, _, text, ended in found])
    theirs = tuple(
        Spoken(
            prompt.text,
            key_of(prompt.ids),
            number,
            text,
            _tokens_of(tokenizer, text, is_finished=is_finished),
            (),
            (),
            float("nan"),
            finished=is_finished,
            score=one,
        )
        for (prompt, number, text, is_finished), one in zip(found, scores, strict=True)
    )
    return theirs, _what_is_missing(len(prompts), len(texts), len(found), asking.responses)


def _tokens_of(tokenizer: Any, text: str, *, is_finished: bool) -> tuple[int, ...]:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return (*ids, tokenizer.eos_token_id) if is_finished else tuple(ids)


def _what_is_missing(prompts: int, known: int, found: int, responses: int) -> list[str]:
    notes = []
    if known < prompts:
        notes.append(
            f"{prompts - known} of {prompts} prompts have no response of the baseline: left out "
            "of every comparison with it"
        )
    if found < known * responses:
        notes.append(
            f"the baseline has {found} responses where {responses} were asked of each of "
            f"{known} prompts: the rest of the run's have nobody to be compared with"
        )
    return notes


def _responses(path: str) -> Iterator[tuple[Prompt, str, bool]]:
    """Prompt and response of each row, and whether the latter came to its end (else: it did).

    Raises:
        RowError: a row without `prompt` or `response`, or of other kinds.
    """
    for file, _ in open_sources(path):
        for record in file.read():
            asked = asked_of(record, is_text_only=file.is_text_only, carries_calls=True)
            if isinstance(asked, Fault):
                raise refusal([replace(asked, fix=_BASELINE_FORM)])
            assert isinstance(record, Record), "a record that is none is a fault"
            cells = Cells(record.value, {}, is_text_only=file.is_text_only)
            try:
                is_finished = cells.flag("finished") if cells.has("finished") else True
                yield asked, words_of(cells.speech("response", reads_tags=True)), is_finished
            except CellError as bad:
                fault = bad.at(record.where, record.raw)
                raise refusal([replace(fault, fix=_BASELINE_FORM)]) from bad


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
    found = length_controlled_wins(own, other)
    numbers = found.win_rate.to_json("length_controlled_win_rate")
    return dict(numbers), list(found.notes)
