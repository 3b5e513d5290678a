"""A run of TRL 1.16's DPO, KTO, CPO or ORPO script, said as a run file."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from truing.errors import ConfigError
from truing.jobs.migrate_found import Found, loss_values, whole_of
from truing.jobs.migrate_losses import (
    DPO_LOSSES,
    CpoArguments,
    DpoArguments,
    KtoArguments,
    Loss,
    OrpoArguments,
    cpo_loss,
    dpo_loss,
    kto_loss,
    orpo_loss,
)
from truing.jobs.migrate_training import take_training, wants_evaluation

DEFAULTS: Mapping[str, Any] = {
    "per_device_train_batch_size": 8,
    "learning_rate": 1e-6,
    "bf16": True,
}
# Arguments by which a file without a method's name is recognised.
OF_METHOD: Mapping[str, frozenset[str]] = {
    "kto": frozenset({"desirable_weight", "undesirable_weight"}),
    "cpo": frozenset({"cpo_alpha", "simpo_gamma"}),
    "dpo": frozenset(asdict(DpoArguments())) - frozenset(asdict(CpoArguments())),
}
# The same by the name of a loss that no other trainer has.
OF_LOSS: Mapping[str, frozenset[str]] = {
    "kto": frozenset({"kto", "apo_zero_unpaired"}),
    "cpo": frozenset({"simpo", "alphapo"}),
    "dpo": DPO_LOSSES - {"sigmoid", "hinge", "ipo"},
}
_LOSSES: Mapping[str, tuple[Any, Callable[[Any], Loss]]] = {
    "dpo": (DpoArguments, dpo_loss),
    "kto": (KtoArguments, kto_loss),
    "cpo": (CpoArguments, cpo_loss),
    "orpo": (OrpoArguments, orpo_loss),
}
# Not data sets, but the programs of `datasets` that read a kind of file.
_READERS = frozenset({"json", "csv", "parquet"})
_MEMORY = "it saved memory and changed no result"
# What nothing in a run file does: what it did, and what to do.
_NO_EQUAL: Mapping[str, tuple[str, str]] = {
    "dataset_num_proc": ("processes for tokenising", "nothing: threads do it"),
    "dataset_streaming": ("rows were read while training", "nothing: rows are read once"),
    "ignore_bias_buffers": ("a work-around for DDP", "nothing"),
    "padding_free": ("without effect in TRL 1.16", "nothing: Truing never trains on padding"),
    "pad_to_multiple_of": ("padding of batches", "nothing: there is no padding"),
    "pad_token": ("the token that fills batches", "nothing: there is no padding"),
    "padding_value": ("the token that fills batches", "nothing: there is no padding"),
    "precompute_ref_log_probs": (_MEMORY, "nothing: Truing always computes them before training"),
    "precompute_ref_batch_size": (_MEMORY, "nothing: tokens_per_device bounds memory"),
    "activation_offloading": (_MEMORY, "trainer.gradient_checkpointing, or less tokens_per_device"),
    "router_aux_loss_coef": ("a load-balancing term of expert models", "no objective has it yet"),
    "trust_remote_code": ("code from the model's folder was run", "Truing runs none"),
    "attn_implementation": ("the kernel of attention", "`engine` (auto finds what is exact)"),
    "load_in_8bit": ("the base was quantised", "train the base as it is, or smaller LoRA"),
    "load_in_4bit": ("the base was quantised", "train the base as it is, or smaller LoRA"),
    "bnb_4bit_quant_type": ("of load_in_4bit", "see there"),
    "bnb_4bit_compute_dtype": ("of load_in_4bit", "see there"),
    "bnb_4bit_quant_storage": ("of load_in_4bit", "see there"),
    "use_bnb_nested_quant": ("of load_in_4bit", "see there"),
    "lora_modules_to_save": ("modules trained whole beside the adapters", "full fine-tuning"),
    "lora_target_parameters": ("adapters on bare parameters", "lora.targets names modules"),
    "lora_task_type": ("of peft", "nothing: causal language models"),
    "use_rslora": ("another scale: alpha / sqrt(rank)", "set lora.alpha to alpha * sqrt(rank)"),
    "use_dora": ("adapters with magnitudes", "plain LoRA"),
    "generate_during_eval": ("samples in the tracker", "evaluation.samples, shown in the report"),
    "is_encoder_decoder": ("encoder-decoder models", "Truing trains decoders"),
    "max_completion_length": ("a limit of the response", "max_length, of both together"),
    "max_prompt_length": ("a limit of the prompt, in older TRL", "truncation: keep_end"),
    "reference_free": ("DPO without reference, in older TRL", 'objective "posterior(...)"'),
    "rpo_alpha": ("likelihood beside DPO, in older TRL", "add `+ rpo_alpha*sft(...)`"),
    "force_use_ref_model": ("the reference beside adapters, in older TRL", "set `reference`"),
    "model_adapter_name": ("names of loaded adapters, in older TRL", "nothing"),
    "ref_adapter_name": ("names of loaded adapters, in older TRL", "nothing"),
    "chat_template_path": ("another chat template", "a tokenizer folder that holds it"),
    "project": ("of a tracker", "set it in the tracker's environment"),
}


def from_trl(found: Found, method: str, devices: int) -> None:
    """Keys of a run file for TRL's script of a method, with its defaults made explicit.

    Raises:
        ConfigError: a loss that no objective equals, or a value that is of no use.
    """
    _take_model(found)
    _take_data(found)
    _take_loss(found, method)
    _take_following(found)
    found.keys["output"] = str(found.take("output_dir", "trainer_output"))
    _take_length(found, method)
    if method == "kto" and not found.arguments.has("train_sampling_strategy"):
        found.keys["shuffle"] = False
        what = "not given; this is the default there: the file's order"
        found.note("default", "train_sampling_strategy=sequential", what, "shuffle: true mixes")
    take_training(found, DEFAULTS, devices)
    for name, (did, do) in _NO_EQUAL.items():
        if found.arguments.has(name):
            found.note("no equal", f"{name}={found.arguments.take(name)}", did, do)


def _take_loss(found: Found, method: str) -> None:
    kind, loss = _LOSSES[method]
    # A default is the call's own, so that nothing hides: beta stands in every expression.
    found.use(loss(kind(**loss_values(found, asdict(kind())))))


def _take_model(found: Found) -> None:
    arguments = found.arguments
    model = arguments.take("model_name_or_path", arguments.take("model"))
    if model is None:
        found.note("no equal", "model", "no model is named", "give --model, or write `model:`")
    else:
        found.keys["model"] = str(model)
    for name in ("ref_model_name_or_path", "ref_model"):
        if arguments.has(name):
            found.keys["reference"] = f"model(path={str(arguments.take(name))!r})"
    inner = arguments.take("model_init_kwargs")
    if isinstance(inner, dict):
        arguments.values.update({k: v for k, v in inner.items() if k not in arguments.values})
    revision = arguments.take("model_revision", arguments.take("revision"))
    if revision not in {None, "main"}:
        fix = "fetch that revision into a folder, and give the folder"
        found.note("no equal", f"model_revision={revision}", "a revision of the hub", fix)
    dtype = arguments.take("dtype", arguments.take("torch_dtype"))
    if dtype not in {None, "float32", "auto"}:
        what = "weights are held in float32; products are as `dtype` says"
        found.note("no equal", f"dtype={dtype}", what)
    if arguments.take("disable_dropout", default=True) is False:
        found.note("no equal", "disable_dropout=false", "dropout is always 0 here")
    _take_adapters(found)


def _take_following(found: Found) -> None:
    """TR-DPO: a reference that follows the policy."""
    arguments = found.arguments
    if not arguments.take("sync_ref_model", default=False):
        found.idle(("ref_model_mixup_alpha", "ref_model_sync_steps"), "without sync_ref_model")
        return
    share = arguments.take("ref_model_mixup_alpha", 0.6)
    every = arguments.take("ref_model_sync_steps", 512)
    soft = f"tr_dpo_soft(alpha={share}, every={every})"
    found.keys["reference"] = f"sync(every={every})" if share == 1 else soft
    if share != 1 and every != 1:
        found.note(
            "changed",
            f"sync_ref_model, ref_model_mixup_alpha={share}, ref_model_sync_steps={every}",
            "the soft share with the hard period, which is neither of the paper's two settings",
            "the paper's are tr_dpo_soft() and tr_dpo_hard()",
        )


def _take_adapters(found: Found) -> None:
    arguments = found.arguments
    named = {
        "rank": ("lora_r", 16),
        "alpha": ("lora_alpha", 32),
        "targets": ("lora_target_modules", None),
        "dropout": ("lora_dropout", 0.05),
    }
    if not arguments.take("use_peft", default=False):
        found.idle([theirs for theirs, _ in named.values()], "without use_peft")
        return
    block = {ours: arguments.take(theirs, default) for ours, (theirs, default) in named.items()}
    if block["targets"] is None:
        block["targets"] = ["q_proj", "v_proj"]
        found.note(
            "default",
            "lora_target_modules=None",
            "peft's choice for the family of models, which is q_proj and v_proj for most",
            "look at lora.targets; all-linear is Truing's own default",
        )
    if block["dropout"]:
        found.note(
            "no equal",
            f"lora_dropout={block['dropout']}",
            "noise in the policy alone",
            "nothing: it is 0 here, as policy and reference are compared token by token",
        )
    if block["targets"] == ["all-linear"]:
        block["targets"] = "all-linear"
    found.keys["lora"] = {**block, "dropout": 0.0, "alpha": float(block["alpha"])}


def _take_data(found: Found) -> None:
    arguments = found.arguments
    mixture = arguments.take("datasets")
    if arguments.has("test_split_size"):
        size = arguments.take("test_split_size")
        fix = "`truing split` makes two files; then set evaluation.data"
        found.note("no equal", f"test_split_size={size}", "a part of the mixture was held out", fix)
    if isinstance(mixture, list) and mixture:
        found.keys["data"] = [path for one in mixture for path in _sources(found, one)]
        alone = ("dataset_name", "dataset_config", "dataset_train_split", "dataset_test_split")
        found.idle(alone, "beside `datasets`")
        return
    name, configuration = arguments.take("dataset_name"), arguments.take("dataset_config")
    train = arguments.take("dataset_train_split", "train")
    is_named = arguments.has("dataset_test_split")
    held = arguments.take("dataset_test_split", "test")
    if name is None:
        found.note("no equal", "data", "no dataset_name is there", "give --data, or write `data:`")
        return
    found.keys["data"] = _split_of(str(name), configuration, str(train))
    if wants_evaluation(arguments):
        found.keys["evaluation"] = {"data": _split_of(str(name), configuration, str(held))}
    elif is_named:
        found.note(
            "no equal",
            f"dataset_test_split={held}",
            "had no effect without eval_strategy",
            "set evaluation.data to score these rows at the end",
        )


def _sources(found: Found, one: Any) -> list[str]:
    """The files or the name of one data set of a mixture."""
    block = dict(one) if isinstance(one, Mapping) else {"path": one}
    paths = [block.pop("path", None)]
    if paths[0] in {None, *_READERS} and isinstance(block.get("data_files"), str | list):
        files = block.pop("data_files")
        paths = files if isinstance(files, list) else [files]
    configuration, split = block.pop("name", None), block.pop("split", "train")
    for key, value in block.items():
        if value is not None:
            what = f"of {paths[0]}"
            found.note("no equal", f"datasets.{key}={value}", what, "convert that source")
    return [_split_of(str(path), configuration, str(split)) for path in paths]


def _split_of(name: str, configuration: Any, split: str) -> str:
    """A data-set name with its split, or the file of a local folder that is named for it."""
    here = Path(name)
    if here.is_dir():
        named = sorted(path for path in here.rglob(f"{split}*") if path.is_file())
        return str(named[0]) if named else name
    if here.exists():
        return name
    parts = [name] if configuration is None else [name, str(configuration)]
    return ":".join([*parts, split]) if split != "train" or len(parts) > 1 else name


def _take_length(found: Found, method: str) -> None:
    arguments = found.arguments
    is_open = "max_length" in arguments.values and arguments.values["max_length"] is None
    if is_open and method in {"cpo", "orpo"}:
        found.note("changed", "max_length=null", f"TRL's {method.upper()}Trainer takes 512 then")
    open_length = 512 if method in {"cpo", "orpo"} else None
    length = arguments.take("max_length", open_length if is_open else 1024)
    if length is not None:
        found.keys["max_length"] = whole_of(found, "max_length", length)
        found.keys["truncation"] = "cut"
    if method != "dpo" or length is None:
        why = "without max_length" if method == "dpo" else "in TRL 1.16: DPO alone has it"
        found.idle(("truncation_mode",), why)
        return
    mode = arguments.take("truncation_mode", "keep_start")
    if mode not in {"keep_start", "keep_end"}:
        raise ConfigError(
            f"TRL 1.16 has no such mode: {mode!r}",
            where="truncation_mode",
            fix="it has keep_start and keep_end",
        )
    if mode == "keep_end":
        found.keys["truncation"] = "keep_end"
        found.note(
            "changed",
            "truncation_mode=keep_end",
            "each side lost the start of its own prompt, so both answered different prompts; "
            "here the row's prompt is shortened once, for both",
        )
