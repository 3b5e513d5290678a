"""A DPO, KTO, ORPO or SimPO run of LLaMA-Factory, said as a run file."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from truing import recipes as r
from truing.errors import ConfigError
from truing.jobs.migrate_dataset_info import take_data
from truing.jobs.migrate_found import Found, loss_values, number_of, whole_of
from truing.jobs.migrate_losses import Loss
from truing.jobs.migrate_training import take_training
from truing.objectives import LogRatio, Objective, Pairwise, Tail, Whole

# Keys that no other trainer's file has.
MARKS = frozenset(
    {"stage", "finetuning_type", "pref_loss", "pref_beta", "cutoff_len", "template", "dataset_dir"}
)
DEFAULTS: Mapping[str, Any] = {
    "per_device_train_batch_size": 8,
    "learning_rate": 5e-5,
    "bf16": False,
}


@dataclass(frozen=True)
class _Preference:
    """LLaMA-Factory's arguments that make the loss, with its defaults."""

    pref_loss: str = "sigmoid"
    pref_beta: float = 0.1
    pref_ftx: float = 0.0
    pref_bco_weight: float = 0.0
    simpo_gamma: float = 0.5
    dpo_label_smoothing: float = 0.0
    ld_alpha: float | None = None
    kto_chosen_weight: float = 1.0
    kto_rejected_weight: float = 1.0


_LOSSES: Mapping[str, Callable[[_Preference], Objective]] = {
    "sigmoid": lambda a: (
        r.cdpo(beta=a.pref_beta, epsilon=a.dpo_label_smoothing)
        if a.dpo_label_smoothing
        else r.dpo(beta=a.pref_beta)
    ),
    "hinge": lambda a: r.hinge(beta=a.pref_beta),
    "ipo": lambda a: r.ipo(beta=a.pref_beta),
    "kto_pair": lambda a: r.kto_pair(beta=a.pref_beta),
    "orpo": lambda a: r.orpo(lam=a.pref_beta, nll="sequence_mean"),
    "simpo": lambda a: r.simpo(beta=a.pref_beta, gamma=a.simpo_gamma),
}
_FREE = frozenset({"orpo", "simpo"})
_NOTHING = "nothing to set"
_NO_EQUAL: Mapping[str, tuple[str, str]] = {
    "overwrite_cache": ("the cache of tokenised rows", _NOTHING),
    "preprocessing_num_workers": ("processes for tokenising", "nothing: threads do it"),
    "preprocessing_batch_size": ("rows tokenised at a time", _NOTHING),
    "plot_loss": ("a picture of the loss", "report.html has it"),
    "overwrite_output_dir": ("a used folder was written over", "give a new `output`"),
    "trust_remote_code": ("code from the model's folder was run", "Truing runs none"),
    "flash_attn": ("the kernel of attention", "`engine` (auto finds what is exact)"),
    "enable_liger_kernel": ("fused kernels", "nothing: Truing's engine has its own"),
    "use_unsloth": ("another implementation of the model", "nothing"),
    "disable_gradient_checkpointing": ("layers were kept in memory", "nothing: that is how it is"),
    "quantization_bit": ("the base was quantised", "train the base as it is, or smaller LoRA"),
    "quantization_method": ("of quantization_bit", "see there"),
    "adapter_name_or_path": ("adapters to begin with", "merge them into the base first"),
    "create_new_adapter": ("of adapter_name_or_path", "see there"),
    "use_dora": ("adapters with magnitudes", "plain LoRA"),
    "use_rslora": ("another scale: alpha / sqrt(rank)", "set lora.alpha to alpha * sqrt(rank)"),
    "pissa_init": ("another start of the adapters", "plain LoRA"),
    "loraplus_lr_ratio": ("another rate for half of the adapters", "one learning_rate"),
    "additional_target": ("modules trained whole beside the adapters", "full fine-tuning"),
    "use_galore": ("another optimizer", "trainer.optim"),
    "use_badam": ("another optimizer", "trainer.optim"),
    "max_samples": ("only so many rows", "`truing subset DATA FILE --rows N`"),
    "val_size": ("a part of the rows was held out", "`truing split`; set evaluation.data"),
    "mix_strategy": ("how data sets were mixed", "data: [{path: ..., weight: ...}]"),
    "interleave_probs": ("how data sets were mixed", "data: [{path: ..., weight: ...}]"),
    "streaming": ("rows were read while training", "nothing: rows are read once"),
    "pure_bf16": ("weights in bfloat16, too", "dtype: bfloat16, whose weights stay float32"),
    "packing": ("several rows in one sequence", "nothing: rows are packed, and never mixed"),
    "neat_packing": ("several rows in one sequence", "nothing: rows are packed, and never mixed"),
    "tokenized_path": ("tokenised rows on disk", "nothing: Truing keeps its own cache"),
    "train_on_prompt": ("the prompt was learned", "no preference loss reads it"),
    "mask_history": ("only the last turn was learned", "nothing: a response is the last turn"),
    "default_system": ("a system turn for all rows", "put it into the rows"),
    "enable_thinking": ("of the template", "the chat template of the tokenizer decides"),
    "tool_format": ("of the template", "the chat template of the tokenizer decides"),
    "rope_scaling": ("longer context", "set it in the model's config.json"),
    "resize_vocab": ("room for more tokens", "nothing: the embedding grows by itself"),
    "ref_model_adapters": ("adapters of the reference", "merge them into a folder"),
    "ref_model_quantization_bit": ("the reference was quantised", "nothing"),
    "compute_accuracy": ("a measure", "evaluation.data gives reward accuracy"),
    "include_tokens_per_second": ("a measure", "metrics.jsonl has tokens and seconds"),
    "media_dir": ("pictures and sound", "Truing trains on text"),
}


def from_factory(found: Found, devices: int) -> None:
    """Keys of a run file, with LLaMA-Factory's defaults made explicit.

    Raises:
        ConfigError: a stage that is no preference training, or a loss that nothing equals.
    """
    arguments = found.arguments
    stage = arguments.take("stage", "sft")
    if stage not in {"dpo", "kto"}:
        raise ConfigError(
            f"stage {stage} is not preference training",
            where=arguments.source,
            fix="give a file with stage: dpo or stage: kto",
        )
    _take_loss(found, stage)
    _take_model(found)
    take_data(found)
    found.keys["output"] = str(found.take("output_dir", "trainer_output"))
    length = whole_of(found, "cutoff_len", found.take("cutoff_len", 2048))
    found.keys |= {"max_length": length, "truncation": "cut"}
    found.note(
        "changed",
        f"cutoff_len={length}",
        "prompt and response were both shortened, in proportion; truncation: cut takes the "
        "response's end",
        "or truncation: keep_end, which shortens the prompt, or drop",
    )
    if arguments.has("disable_shuffling"):
        found.keys["shuffle"] = not arguments.take("disable_shuffling")
    take_training(found, DEFAULTS, devices)
    for name, (did, do) in _NO_EQUAL.items():
        if arguments.has(name):
            found.note("no equal", f"{name}={arguments.take(name)}", did, do)


def _take_loss(found: Found, stage: str) -> None:
    asked = _Preference(**loss_values(found, asdict(_Preference())))
    if stage == "kto":
        found.use(Loss(_kto(found, asked), _idle(asked, _OF_PAIRS)))
        return
    if asked.pref_loss not in _LOSSES:
        raise ConfigError(
            f"LLaMA-Factory has no loss {asked.pref_loss!r}",
            where="pref_loss",
            fix=f"it has {', '.join(_LOSSES)}",
        )
    loss = _LOSSES[asked.pref_loss](asked)
    if asked.ld_alpha is not None:
        loss = _discounted(loss, asked.ld_alpha, asked.pref_loss)
    if asked.pref_bco_weight and asked.pref_loss not in _FREE:
        share = asked.pref_bco_weight / (1 + asked.pref_bco_weight)
        loss = (1 - share) * loss + share * r.bco(beta=asked.pref_beta)
    if asked.pref_ftx:
        loss = loss + asked.pref_ftx * r.sft(reduction="sequence_mean")
    found.use(Loss(loss, _idle(asked, _unread(asked))))


_OF_PAIRS = ("pref_loss", "pref_bco_weight", "simpo_gamma", "dpo_label_smoothing", "ld_alpha")


def _unread(asked: _Preference) -> list[str]:
    """Arguments that this loss does not read."""
    readers = {
        "simpo_gamma": {"simpo"},
        "dpo_label_smoothing": {"sigmoid"},
        "pref_bco_weight": set(_LOSSES) - _FREE,
    }
    names = [name for name, losses in readers.items() if asked.pref_loss not in losses]
    return [*names, "kto_chosen_weight", "kto_rejected_weight"]


def _idle(asked: _Preference, unread: Any) -> dict[str, str]:
    plain = _Preference()
    return {
        name: "is not read by this loss"
        for name in unread
        if getattr(asked, name) != getattr(plain, name)
    }


def _kto(found: Found, asked: _Preference) -> Objective:
    loss: Objective = r.kto(
        beta=asked.pref_beta,
        desirable_weight=asked.kto_chosen_weight,
        undesirable_weight=asked.kto_rejected_weight,
    )
    if asked.pref_ftx:
        found.note(
            "changed",
            f"pref_ftx={asked.pref_ftx}",
            "the mean over a micro-batch's desirable responses is now one over the step's",
        )
        loss = loss + asked.pref_ftx * r.sft(reduction="sequence_mean")
    return loss


def _discounted(loss: Objective, share: float, name: str) -> Objective:
    """LD-DPO as LLaMA-Factory has it: the policy's tail is discounted, the reference's is not."""
    if name == "sigmoid" and isinstance(loss, Pairwise) and loss == r.dpo(beta=loss.beta):
        return r.ld_dpo(beta=loss.beta, alpha=share, discount_reference=False)
    if not isinstance(loss, Pairwise) or not isinstance(loss.likelihood, LogRatio):
        raise ConfigError(
            f"has no equal in Truing beside the loss {name}",
            where="ld_alpha",
            fix="leave it out, or take pref_loss: sigmoid",
        )
    ratio = replace(loss.likelihood, policy=Tail(share=share), reference=Whole())
    return replace(loss, likelihood=ratio)


def _take_model(found: Found) -> None:
    arguments = found.arguments
    model = arguments.take("model_name_or_path")
    if model is None:
        found.note("no equal", "model", "no model is named", "give --model, or write `model:`")
    else:
        found.keys["model"] = str(model)
    if arguments.has("ref_model"):
        found.keys["reference"] = f"model(path={str(arguments.take('ref_model'))!r})"
    if arguments.has("template"):
        name = arguments.take("template")
        found.note(
            "no equal",
            f"template={name}",
            "LLaMA-Factory writes the turns by a template of its own",
            "the tokenizer's chat template is used: compare with `truing inspect DATA --model M`",
        )
    _take_adapters(found)


def _take_adapters(found: Found) -> None:
    arguments = found.arguments
    kind = arguments.take("finetuning_type", "lora")
    if kind != "lora":
        named = ("lora_rank", "lora_alpha", "lora_target", "lora_dropout")
        found.idle(named, f"with finetuning_type: {kind}")
        if kind != "full":
            what, fix = "only some weights were trained; the run file trains all", "set `lora`"
            found.note("no equal", f"finetuning_type={kind}", what, fix)
        return
    rank = whole_of(found, "lora_rank", arguments.take("lora_rank", 8))
    alpha = number_of(found, "lora_alpha", arguments.take("lora_alpha", 2 * rank))
    targets, dropout = arguments.take("lora_target", "all"), arguments.take("lora_dropout", 0.0)
    names = targets.replace(" ", "").split(",") if isinstance(targets, str) else targets
    named = "all-linear" if names == ["all"] else names
    found.keys["lora"] = {"rank": rank, "alpha": float(alpha), "dropout": 0.0, "targets": named}
    if dropout:
        found.note(
            "no equal", f"lora_dropout={dropout}", "noise in the policy alone", "it is 0 here"
        )
