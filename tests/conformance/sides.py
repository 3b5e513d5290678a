"""Both trainers on the same rows in the same order: what each of them saw and computed."""

import functools
import json
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from peft import LoraConfig

from truing.config import build_config
from truing.core.progress import SILENT
from truing.engine.models import choose_numerics
from truing.jobs.material import RunMaterial, gather
from truing.jobs.stations import Station, Stations
from truing.training.steps import drawn

STEPS, ROWS_A_STEP = 10, 4
SETTINGS = {
    "learning_rate": 1e-3,
    "lr_scheduler_type": "linear",
    "weight_decay": 0.01,
    "max_steps": STEPS,
    "seed": 5,
}
LORA = {"rank": 4, "alpha": 16.0, "targets": ["q_proj", "v_proj", "down_proj"]}


@dataclass(frozen=True)
class Trace:
    """What one trainer saw and computed.

    Args:
        ids: for each response of the first step its prompt and its tokens, chosen ones first.
        reference: log-prob of each of these under the reference, nats; empty where there is none.
        losses: of each optimizer step.
        gradient: of the first step, by parameter, before it is clipped.
    """

    ids: list[tuple[list[int], list[int]]]
    reference: list[float]
    losses: list[float]
    gradient: dict[str, torch.Tensor]


def watched(trainer: Any) -> dict[str, torch.Tensor]:
    """Filled with the first step's gradient before it is clipped: clipped, its size is lost."""
    found: dict[str, torch.Tensor] = {}
    clip = trainer.accelerator.clip_grad_norm_

    def clipped(*arguments: Any, **more: Any) -> Any:
        if not found:
            for name, weight in trainer.model.named_parameters():
                if weight.grad is not None:
                    found[name] = weight.grad.clone()
        return clip(*arguments, **more)

    trainer.accelerator.clip_grad_norm_ = clipped
    return found


@contextmanager
def their_warnings() -> Any:
    """What TRL says of itself is not for our eyes; ours stay errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@functools.cache
def trl() -> Any:
    """The module, imported once."""
    datasets.disable_progress_bars()
    with their_warnings():
        import trl
        import trl.experimental.cpo
        import trl.experimental.orpo
        import trl.experimental.tpo
    return trl


class _Recorded:
    """Keeps the loss of each step and the first batch."""

    def compute_loss(self, model, inputs, *args, **kwargs):
        found = super().compute_loss(model, inputs, *args, **kwargs)  # type: ignore[misc]
        self.__dict__.setdefault("seen", []).append(float(found.detach()))
        self.__dict__.setdefault("first", inputs)
        return found


@functools.cache
def _recording(kind: type) -> type:
    return type(f"Recorded{kind.__name__}", (_Recorded, kind), {})


def kinds() -> dict[str, tuple[Any, Any]]:
    """Configuration and trainer of each method."""
    here = trl()
    more = here.experimental
    return {
        "dpo": (here.DPOConfig, here.DPOTrainer),
        "kto": (here.KTOConfig, here.KTOTrainer),
        "cpo": (more.cpo.CPOConfig, more.cpo.CPOTrainer),
        "orpo": (more.orpo.ORPOConfig, more.orpo.ORPOTrainer),
        "tpo": (more.tpo.TPOConfig, more.tpo.TPOTrainer),
    }


def theirs_of(
    method: str,
    model: Any,
    reference: Any,
    tokenizer: Any,
    rows: Sequence[dict[str, Any]],
    *,
    lora: bool = False,
    **arguments: Any,
) -> Any:
    """TRL's trainer on these rows in their order; not yet run."""
    config, trainer = kinds()[method]
    settings = {
        "output_dir": tempfile.mkdtemp(prefix="truing-conformance-"),
        "per_device_train_batch_size": ROWS_A_STEP,
        "train_sampling_strategy": "sequential",
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": [],
        "logging_steps": STEPS,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "remove_unused_columns": method not in {"cpo", "orpo"},
    }
    adapters = LoraConfig(
        r=LORA["rank"],
        lora_alpha=LORA["alpha"],
        target_modules=LORA["targets"],
        task_type="CAUSAL_LM",
    )
    beside = {} if reference is None else {"ref_model": reference}
    with their_warnings():
        return _recording(trainer)(
            model=model,
            args=config(**{**settings, **SETTINGS, **arguments}),
            train_dataset=datasets.Dataset.from_list([dict(row) for row in rows]),
            processing_class=tokenizer,
            peft_config=adapters if lora else None,
            **beside,
        )


def run_theirs(trainer: Any) -> Trace:
    """Train, and give what was seen."""
    gradient = watched(trainer)
    with their_warnings():
        trainer.train()
    if "completion_mask" in trainer.first:
        ids = _by_mask(trainer.first, "input_ids", "completion_mask", "attention_mask")
    else:
        ids = [
            one
            for side in ("chosen", "rejected")
            for one in _by_mask(
                {
                    **trainer.first,
                    "response": trainer.first[f"{side}_labels"] != -100,
                },
                f"{side}_input_ids",
                "response",
                f"{side}_attention_mask",
            )
        ]
    return Trace(ids, [], trainer.seen, gradient)


def _by_mask(batch: Any, ids: str, response: str, real: str) -> list[tuple[list[int], list[int]]]:
    """Prompt and response of each row of a padded batch."""
    found = []
    for row, is_response, is_real in zip(batch[ids], batch[response], batch[real], strict=True):
        inside, answered = is_real.bool(), is_response.bool()
        found.append((row[inside & ~answered].tolist(), row[inside & answered].tolist()))
    return found


def their_reference(trainer: Any) -> np.ndarray:
    """Log-probs of the first batch under the reference, chosen ones first; nats, whole sums."""
    discount, trainer.ld_alpha = getattr(trainer, "ld_alpha", None), None
    with their_warnings(), torch.no_grad():
        found = trainer.compute_ref_log_probs(trainer.ref_model or trainer.model, trainer.first)
    trainer.ld_alpha = discount
    # KTO's second part is that of the mismatched responses.
    parts = found[:1] if "label" in trainer.first else found
    return torch.cat(list(parts)).numpy()


Change = Callable[[RunMaterial], RunMaterial]


def ours_of(keys: dict[str, Any], rows: Sequence[dict[str, Any]], change: Change | None) -> Any:
    """Truing's trainer on these rows in their order, and its material; not yet run."""
    folder = Path(tempfile.mkdtemp(prefix="truing-conformance-"))
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    schedule = {k: v for k, v in SETTINGS.items() if k not in {"seed", "learning_rate"}}
    config = build_config(
        {
            "data": str(data),
            "output": str(folder / "run"),
            "pairs_per_step": ROWS_A_STEP,
            "shuffle": False,
            "seed": SETTINGS["seed"],
            "learning_rate": SETTINGS["learning_rate"],
            "checks": {"start": False},
            **keys,
            "trainer": {"save_strategy": "no", **schedule, **keys.get("trainer", {})},
        }
    )
    (folder / "run").mkdir()
    material = gather(config, SILENT, strict=True, skip_bad=None)
    if change is not None:
        material = change(material)
    stations = Stations.opened(Station(config, material, choose_numerics("float32"), SILENT))
    trained, held = stations.rows()
    return stations.trainer(trained, held, is_fresh=True), trained, folder / "run"


def run_ours(
    keys: dict[str, Any], rows: Sequence[dict[str, Any]], change: Change | None = None
) -> Trace:
    """Train, and give what was seen."""
    trainer, trained, run = ours_of(keys, rows, change)
    gradient = watched(trainer)
    trainer.train()
    lines = (run / "metrics.jsonl").read_text().splitlines()
    first = trained.at(range(ROWS_A_STEP))
    count = len(first.examples[0].responses) - first.has_partner
    order = [(row, side) for side in range(count) for row in range(ROWS_A_STEP)]
    ids = [
        (first.examples[row].prompt.tolist(), first.examples[row].responses[side].tolist())
        for row, side in order
    ]
    # A reference that follows the policy is computed in each step, and known to no row.
    is_known = any(one is not None for one in first.references)
    reference = [_sums(first, row)[side] for row, side in order] if is_known else []
    losses = [json.loads(line)["loss"] for line in lines]
    return Trace(ids, reference, losses, gradient)


def _sums(rows: Any, row: int) -> list[float]:
    """Reference log-prob of each response of a row, nats."""
    lengths = [len(response) for response in rows.examples[row].responses]
    pieces = np.split(rows.references[0][row], np.cumsum(lengths)[:-1])
    return [float(piece.sum()) for piece in pieces]


def with_their_partners(trainer: Any) -> Change:
    """KTO: the mismatched responses that TRL took, in place of those that Truing draws."""
    taken = trainer.train_dataset["KL_completion_ids"]

    def change(material: RunMaterial) -> RunMaterial:
        examples = [
            replace(example, responses=(*example.responses[:-1], np.array(ids, np.int32)))
            for example, ids in zip(material.examples, taken, strict=True)
        ]
        return replace(material, examples=examples)

    return change


def gold_file(rows: Sequence[dict[str, Any]]) -> str:
    """TPO: the gold responses as a source, twice: ten steps pass over the rows twice."""
    path = Path(tempfile.mkdtemp(prefix="truing-conformance-")) / "gold.jsonl"
    gold = [{"prompt": row["prompt"], "completion": row["reference"]} for row in [*rows, *rows]]
    path.write_text("".join(json.dumps(row) + "\n" for row in gold))
    return str(path)


def with_gold_in_order(material: RunMaterial) -> RunMaterial:
    """TPO: each row's gold response stands where the step of that row draws it."""
    found = material.auxiliary["gold"]
    placed = [found[0]] * len(found)
    for number, place in enumerate(drawn(len(found), len(found), 0, SETTINGS["seed"])):
        placed[place] = found[number]
    return replace(material, auxiliary={"gold": placed})
