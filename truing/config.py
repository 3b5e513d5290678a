"""The configuration of a run: knows every key, is known by jobs, studies and the command line.

Reading and checking a configuration imports neither torch nor transformers, so that a wrong key
is an answer in half a second. Only the objective's expression needs more (see `truing.recipes`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from truing.errors import ConfigError
from truing.training.best import idle_best


class Settings(BaseModel):
    """A block of the configuration: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Lora(Settings):
    """Low-rank adapters (peft) instead of full fine-tuning."""

    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, le=0, description="0: see `dropout` in the docs")
    targets: str | list[str] = "all-linear"


class Evaluation(Settings):
    """Held-out rows, scored every so often and at the end; the best step may be kept."""

    data: str | None = None
    every: int | None = Field(
        default=None, ge=1, description="optimizer steps; None: only at the end"
    )
    rows: int | None = Field(default=None, ge=1, description="the first so many rows; None: all")
    samples: int | None = Field(
        default=None, ge=0, description="held-out prompts asked before and after; None: 8"
    )
    best: str | None = Field(
        default=None, description="the measure whose best evaluation is kept; None: the last step"
    )
    patience: int | None = Field(
        default=None, ge=1, description="stop after so many evaluations without a better one"
    )


class DataSource(Settings):
    """One of several sources of rows."""

    path: str
    weight: float = Field(default=1.0, gt=0, description="its rows count so many times")


class Checks(Settings):
    """What is verified about a run while it runs."""

    start: bool = True
    references: bool = Field(
        default=True, description="a few stored reference values are computed again and compared"
    )
    kl: float | None = Field(
        default=None,
        gt=0,
        description="alarm past so many nats a response; measured at every evaluation",
    )
    memory: Literal["halve", "stop"] = Field(
        default="halve", description="what is done where a step does not fit into memory"
    )


class Measure(Settings):
    """What the policy is asked after each round, to see what the round did."""

    prompts: str
    scorer: str | None = Field(default=None, description="None: that of the pairs")
    responses: int = Field(default=1, ge=1, description="to each prompt")
    max_new_tokens: int = Field(default=256, ge=1)


class Rounds(Settings):
    """Several trainings, one after the other, each from where the last one ended."""

    count: int = Field(ge=1)
    pairs: Literal["fixed", "parts", "resampled"] = "fixed"
    reference: str = "restart"
    optimizer: Literal["restart", "keep"] = "restart"
    prompts: str | None = Field(default=None, description="who is asked for pairs; else `data`")
    sampler: str | None = None
    scorer: str | None = None
    select: str | None = None
    keep_cut: bool = Field(default=False, description="pairs may hold responses without an end")
    measure: Measure | None = None

    @model_validator(mode="after")
    def _options_have_an_effect(self) -> Rounds:
        if self.pairs == "resampled" and self.prompts is None:
            raise ValueError("rounds.pairs=resampled needs rounds.prompts and rounds.scorer")
        if self.prompts is not None and self.scorer is None:
            raise ValueError("rounds.prompts needs rounds.scorer")
        if self.prompts is None and (self.sampler or self.scorer or self.select or self.keep_cut):
            raise ValueError("rounds.sampler, scorer, select and keep_cut need rounds.prompts")
        if self.measure is not None and not (self.measure.scorer or self.scorer):
            raise ValueError("rounds.measure needs a scorer")
        return self


def _flag_or_block(value: Any) -> Any:
    if value is True:
        return {}
    return None if value is False else value


def _embedded(value: Any) -> Any:
    """A model's folder for `world()`, `world(name="stronger")`; anything else as it is."""
    if not (isinstance(value, str) and value.startswith("world(")):
        return value
    from truing.core.language import parse
    from truing.world import model_folder

    return str(parse(value, {"world": model_folder}, {}))


# Fields of TrainingArguments that one of our own keys governs, and that key.
GOVERNED = {
    "output_dir": "output",
    "seed": "seed",
    "data_seed": "seed",
    "learning_rate": "learning_rate",
    "num_train_epochs": "epochs",
    "per_device_train_batch_size": "pairs_per_step and tokens_per_device",
    "per_device_eval_batch_size": "tokens_per_device",
    "auto_find_batch_size": "tokens_per_device",
    "gradient_accumulation_steps": "pairs_per_step and tokens_per_device",
    "bf16": "dtype",
    "fp16": "dtype",
    "bf16_full_eval": "dtype",
    "fp16_full_eval": "dtype",
    "full_determinism": "deterministic",
    "train_sampling_strategy": "shuffle",
    "eval_strategy": "evaluation.every",
    "eval_steps": "evaluation.every",
    "eval_on_start": "evaluation",
    "load_best_model_at_end": "evaluation.best",
    "metric_for_best_model": "evaluation.best",
    "greater_is_better": "evaluation.best",
    "do_eval": "evaluation.data",
    "logging_nan_inf_filter": "nothing: a loss that is not finite stops the run",
    "ignore_data_skip": "nothing: a resumed run takes up its own order of rows",
    "remove_unused_columns": "nothing: Truing makes the batches",
    "label_names": "nothing: Truing makes the batches",
    "resume_from_checkpoint": "the flag --resume",
    "overwrite_output_dir": "output",
    "include_num_input_tokens_seen": "nothing: metrics.jsonl counts tokens",
    "dataloader_drop_last": "nothing: every row is used once an epoch",
    "disable_tqdm": "nothing: the command draws its own progress",
    "hub_token": "the environment variable HF_TOKEN: no file of a run holds a key",
}


class RunConfig(Settings):
    """Everything `truing train` does; one field is one top-level key of a recipe file."""

    model: Annotated[str, BeforeValidator(_embedded)]
    data: str | list[str | DataSource] | None = None
    objective: str = "dpo(beta=0.1)"
    texts: bool = Field(
        default=False, description="every row is a text to be learned; `truing sft` sets it"
    )
    output: str
    seed: int = Field(default=0, ge=0)
    learning_rate: float | None = Field(
        default=None, gt=0, description="default 1e-6, with LoRA 1e-5; of texts 2e-5 and 2e-4"
    )
    epochs: float = Field(default=1.0, gt=0)
    pairs_per_step: int = Field(
        default=32, ge=1, description="rows of one optimizer step, globally"
    )
    tokens_per_device: int = Field(default=8192, ge=16, description="of one forward pass")
    max_length: int | None = Field(
        default=None, ge=2, description="prompt and response; default: what the model can read"
    )
    engine: Literal["auto", "shared", "packed", "padded"] = "auto"
    lora: Annotated[Lora | None, BeforeValidator(_flag_or_block)] = None
    reference: str = "policy_start()"
    rounds: Rounds | None = None
    auxiliary: dict[str, str] = Field(default_factory=dict)
    evaluation: Evaluation = Evaluation()
    checks: Checks = Checks()
    columns: dict[str, str] = Field(default_factory=dict)
    tokenizer: str | None = None
    shuffle: bool = True
    truncation: Literal["drop", "keep_end", "keep_start", "cut"] = "drop"
    loss_turns: Literal["all", "last"] = Field(
        default="all", description="the assistant's turns in a response of several turns"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float64"] = "auto"
    deterministic: bool = False
    trainer: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _options_have_an_effect(self) -> RunConfig:
        for key in self.trainer:
            if key in GOVERNED:
                raise ValueError(f"trainer.{key} is governed by {GOVERNED[key]}")
        self._check_rounds()
        settings = self.evaluation
        if settings.data is None and (settings.every or settings.rows or settings.samples):
            raise ValueError(
                "evaluation.every, evaluation.rows and evaluation.samples need evaluation.data"
            )
        idle = idle_best(settings.best, settings.every, settings.patience, self.trainer)
        if idle:
            raise ValueError(idle)
        if self.checks.kl is not None and not (settings.every and self.num_samples):
            raise ValueError("checks.kl needs evaluation.every, and evaluation.samples above 0")
        return self

    def _check_rounds(self) -> None:
        rounds = self.rounds
        if self.data is None and (rounds is None or rounds.prompts is None):
            raise ValueError("`data` is missing")
        if rounds is None:
            return
        if self.data is not None and rounds.prompts is not None:
            raise ValueError("rounds.prompts makes the pairs, so `data` has no effect")
        if self.reference != type(self).model_fields["reference"].default:
            raise ValueError("rounds.reference governs the reference, so `reference` has no effect")
        if rounds.optimizer == "keep" and self.lora is not None:
            raise ValueError("rounds.optimizer=keep: each round has fresh adapters to optimise")

    @property
    def num_samples(self) -> int:
        """Held-out prompts that are asked before and after training."""
        if self.evaluation.data is None:
            return 0
        return 8 if self.evaluation.samples is None else self.evaluation.samples

    @property
    def data_paths(self) -> list[str]:
        """Where the rows come from."""
        many = [self.data] if isinstance(self.data, str) else self.data or []
        return [one if isinstance(one, str) else one.path for one in many]

    @property
    def rate(self) -> float:
        """The learning rate that is used: the given one or the default for the method."""
        if self.learning_rate is not None:
            return self.learning_rate
        of_pairs = 1e-6 if self.lora is None else 1e-5
        return 20 * of_pairs if self.texts else of_pairs


def read_config(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; `made_with` (written by a finished run) is left out.

    Raises:
        ConfigError: the file cannot be read, is no YAML, or holds no mapping.
    """
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot be read ({error.strerror})",
            where=str(path),
            fix="give the path of a YAML file",
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = str(path) if line is None else f"{path} line {line + 1}"
        raise ConfigError("is not valid YAML", where=where, fix="mend the file") from error
    if not isinstance(loaded, dict):
        raise ConfigError("holds no keys", where=str(path), fix="write `key: value` lines")
    return {key: value for key, value in loaded.items() if key != "made_with"}


def with_overrides(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """The mapping with `key=value` and `block.key=value` put in; values are YAML.

    Raises:
        ConfigError: an override has no `=`, is no YAML, or goes below a value that is no block.
    """
    merged: dict[str, Any] = dict(values)
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not path:
            raise ConfigError(
                "is not of the form key=value", where=override, fix="write for instance epochs=3"
            )
        try:
            value = _scalar(path, text)
        except yaml.YAMLError as error:
            raise ConfigError(
                "has a value that is not YAML", where=override, fix="quote it"
            ) from error
        _put(merged, path.split("."), value, override)
    return merged


_TEXTS = {"objective", "reference", "model", "output", "prompts", "sampler", "scorer", "select"}


def _scalar(path: str, text: str) -> Any:
    # An expression is text, whatever YAML would make of its braces and colons.
    return text if path.rpartition(".")[2] in _TEXTS else yaml.safe_load(text)


def _put(block: dict[str, Any], keys: list[str], value: Any, override: str) -> None:
    for key in keys[:-1]:
        inner = block.get(key)
        if inner is None or inner is True:
            inner = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"`{key}` is not a block", where=override, fix=f"set {key} itself")
        block[key] = dict(inner)
        block = block[key]
    block[keys[-1]] = value


def as_supervised(values: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a supervised run: rows are texts, and their likelihood is the objective.

    Raises:
        ConfigError: the keys say that the rows are no texts.
    """
    if values.get("texts") is False:
        raise ConfigError(
            "a supervised run learns texts, so `texts: false` contradicts the command",
            where="configuration",
            fix="take `texts` out, or use truing train",
        )
    return {"objective": "sft()", **values, "texts": True}


def build_config(values: Mapping[str, Any], *, where: str = "configuration") -> RunConfig:
    """A checked configuration.

    Raises:
        ConfigError: names every unknown key (with the nearest known one) and every bad value.
    """
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        faults = [_fault(fault) for fault in error.errors()]
        raise ConfigError(
            "; ".join(what for what, _ in faults),
            where=where,
            fix="; ".join(dict.fromkeys(fix for _, fix in faults)),
        ) from error


def _fault(fault: Any) -> tuple[str, str]:
    path = [str(part) for part in fault["loc"] if not str(part).startswith("function-")]
    key = ".".join(part for part in path if part not in {"Lora", "str", "list[str]"})
    if fault["type"] == "extra_forbidden":
        known = _known_keys(path[:-1])
        near = difflib.get_close_matches(path[-1], known, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"the keys are {', '.join(known)}"
        return f"unknown key `{key}`", hint
    if fault["type"] == "missing":
        return f"`{key}` is missing", f"give `{key}`"
    message = fault["msg"].removeprefix("Value error, ")
    if message.endswith("is missing"):
        return message, f"give {message.removesuffix(' is missing')}"
    if not key or (key in _BLOCKS and fault["type"] == "value_error"):
        return message, "take that key out of the configuration, or give what it needs"
    given, limits = fault.get("input"), fault.get("ctx", {})
    bounds = (words.format(limits[kind]) for kind, words in _BOUNDS.items() if kind in limits)
    what = f"`{key}`: {message[0].lower()}{message[1:]} (got {given!r})"
    return what, f"set `{key}` to {next(bounds, 'a value of that kind')}"


_BOUNDS = {"ge": "{} or more", "gt": "more than {}", "le": "{} or less", "lt": "less than {}"}
_BLOCKS: dict[str, type[Settings]] = {
    "lora": Lora,
    "evaluation": Evaluation,
    "checks": Checks,
    "rounds": Rounds,
    "rounds.measure": Measure,
}


def _known_keys(path: list[str]) -> list[str]:
    block = _BLOCKS.get(".".join(path), RunConfig)
    return list(block.model_fields)


def dump_config(config: RunConfig, made_with: Mapping[str, Any]) -> str:
    """The resolved configuration as YAML, with what it was made with; `read_config` takes it."""
    values = config.model_dump(mode="json")
    return yaml.safe_dump(
        {**values, "made_with": dict(made_with)}, sort_keys=False, allow_unicode=True
    )
