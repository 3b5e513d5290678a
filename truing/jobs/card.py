"""The card of a model: its data, what it was trained to do, and what was measured of it."""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from truing.config import RunConfig, build_config, read_config
from truing.jobs.made_with import read_made_with
from truing.jobs.objectives import explain
from truing.jobs.public import hub_name, without_places
from truing.training import folder

_MEASURES = {
    "win_rate": "win rate against the start",
    "reward_accuracy": "reward accuracy",
    "policy_accuracy": "policy accuracy",
    "margin": "reward margin, scaled nats",
    "kl": "KL to the reference, nats a response",
    "length": "length, tokens",
    "nll": "loss, nats a token",
    "perplexity": "perplexity",
}


@dataclass(frozen=True)
class CardFacts:
    """What a run folder cannot know.

    Args:
        name: of the model; "": the folder's.
        licence: an identifier such as "apache-2.0"; "": the card says that it is not stated.
        licence_link: where its text is, for a licence that is not in the hub's list.
        languages: codes such as "en".
        datasets: hub names of the data.
        base: hub name of the model it was trained from; "": as the run calls it.
    """

    name: str = ""
    licence: str = ""
    licence_link: str = ""
    languages: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    base: str = ""


NOTHING_SAID = CardFacts()


def model_card(run: Path, config: RunConfig, facts: CardFacts, *, is_adapter: bool) -> str:
    """README.md of an exported run: the hub's fields, and the same in words.

    Numbers come from the run folder alone; where there was no held-out data the card says so.
    """
    name = facts.name or run.resolve().name
    data = _read(run / folder.DATA).get("train") or {}
    measured = _read(run / folder.EVALUATION)
    fields = _fields(config, facts, name, measured, is_adapter=is_adapter)
    parts = [
        f"---\n{fields.to_yaml()}\n---",
        f"# {name}",
        _opening(config, facts),
        "## Data",
        _data(config, data),
        "## Objective",
        _objective(config),
        "## Measured",
        _measured(config, measured),
        "## How it was made",
        _made(run, config),
        "## Licence",
        _licence(facts),
    ]
    return "\n\n".join(parts) + "\n"


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _fields(
    config: RunConfig,
    facts: CardFacts,
    name: str,
    measured: Mapping[str, Any],
    *,
    is_adapter: bool,
) -> ModelCardData:
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type="held-out",
            dataset_name=Path(str(config.evaluation.data)).name,
            metric_type=key,
            metric_name=words,
            metric_value=round(float(measured[key]), 6),
        )
        for key, words in _MEASURES.items()
        if measured.get(key) is not None
    ]
    is_other = bool(facts.licence_link)
    base = facts.base or hub_name(config.model)
    return ModelCardData(
        base_model=base,
        datasets=list(facts.datasets) or None,
        eval_results=results or None,
        model_name=name if results else None,
        language=list(facts.languages) or None,
        library_name="peft" if is_adapter else "transformers",
        license="other" if is_other else facts.licence or None,
        license_name=facts.licence if is_other else None,
        license_link=facts.licence_link or None,
        pipeline_tag="text-generation",
        tags=["truing", "supervised-fine-tuning" if config.texts else "preference-optimization"],
    )


def _opening(config: RunConfig, facts: CardFacts) -> str:
    what = "taught texts" if config.texts else "aligned with preferences"
    base = facts.base or hub_name(config.model) or f"a local model ({Path(config.model).name})"
    how = "low-rank adapters" if config.lora else "all weights"
    return f"{base}, {what} with Truing ({how})."


def _data(config: RunConfig, data: Mapping[str, Any]) -> str:
    names = ", ".join(f"`{Path(path).name}`" for path in config.data_paths)
    lines = [f"* Source: {names}"]
    counted = {
        "rows": data.get("rows"),
        "pairs": data.get("pairs"),
        "prompt tokens": data.get("prompt_tokens"),
        "response tokens": data.get("response_tokens"),
    }
    numbers = ", ".join(f"{value:,} {word}" for word, value in counted.items() if value)
    if numbers:
        lines.append(f"* Used: {numbers}")
    for reason, left in (data.get("left_out") or {}).items():
        count = left.get("count") if isinstance(left, dict) else left
        lines.append(f"* Left out ({reason.replace('_', ' ')}): {count} rows")
    if data.get("fingerprint"):
        lines.append(f"* Fingerprint of the rows: `{data['fingerprint']}`")
    return "\n".join(lines)


def _objective(config: RunConfig) -> str:
    lines = [f"    {config.objective}"]
    for term in explain(config.objective).terms:
        lines += ["", f"{term.idea} Source: {term.source or 'made of parts'}.", ""]
        lines += [f"    {line}" for line in term.formula]
    if not config.texts:
        lines += ["", f"Reference: `{without_places(config.reference)}`."]
    return "\n".join(lines)


def _measured(config: RunConfig, measured: Mapping[str, Any]) -> str:
    rows = []
    for key, words in _MEASURES.items():
        if measured.get(key) is None:
            continue
        low, high = measured.get(f"{key}_low"), measured.get(f"{key}_high")
        interval = "" if low is None or high is None else f"{low:.3f} to {high:.3f}"
        before = measured.get(f"{key}_before")
        start = "" if before is None else f"{before:.3f}"
        rows.append(f"| {words} | {measured[key]:.3f} | {interval} | {start} |")
    if not rows:
        return "No held-out data was given to the run, so nothing was measured."
    held = Path(str(config.evaluation.data)).name if config.evaluation.data else "unseen prompts"
    number = measured.get("pairs") or measured.get("texts") or measured.get("responses")
    head = f"On `{held}` ({number} of them), 95 % bootstrap intervals over prompts."
    table = ["| measure | value | interval | start |", "| --- | --- | --- | --- |", *rows]
    return "\n".join([head, "", *table])


def _made(run: Path, config: RunConfig) -> str:
    made = read_made_with(run / folder.CONFIG)
    finished = _read(run / folder.FINISHED)
    versions = ", ".join(f"{k} {v}" for k, v in (made.get("versions") or {}).items())
    settings = {
        "learning rate": f"{config.rate:g}",
        "epochs": f"{config.epochs:g}",
        "rows a step": str(config.pairs_per_step),
        "steps": str(finished.get("steps", "")),
        "seed": str(config.seed),
    }
    lines = [f"* Begun from {start}" for start in _starts(config)]
    lines += [f"* {name.capitalize()}: {value}" for name, value in settings.items() if value]
    if versions:
        lines.append(f"* Versions: {versions}")
    verb = "sft" if config.texts else "train"
    lines.append(f"* The whole configuration: `{folder.CONFIG}`; again with")
    lines.append(f"  `{shlex.join(['truing', verb, folder.CONFIG, 'output=again'])}`")
    return "\n".join(lines)


def _starts(config: RunConfig) -> Iterator[str]:
    """The runs that this one goes on from, the last one first, as far as they lie there."""
    before = Path(config.model) / folder.CONFIG
    while before.is_file():
        config = build_config(read_config(before), where=str(before))
        names = ", ".join(f"`{Path(path).name}`" for path in config.data_paths)
        yield f"`{before.parent.name}`: `{config.objective}` on {names or 'sampled pairs'}"
        before = Path(config.model) / folder.CONFIG


def _licence(facts: CardFacts) -> str:
    if not facts.licence:
        return "Not stated. The licences of the base model and of the data apply."
    link = f" ({facts.licence_link})" if facts.licence_link else ""
    return f"{facts.licence}{link}, within what the base model's and the data's licences allow."
