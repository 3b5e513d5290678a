"""TRL and the matrix-product bound on any device. Prints one JSON line.

The peers' own programs (TRUING_SHARED/bench) run on the CPU only. These take the same options.

    trl_default  TRL's DPOTrainer with its own settings: checkpointing, the reference at each step
    trl_best     precomputed reference, no checkpointing where it fits
    bound        the products of the linear layers alone, each prompt token once
"""

import copy
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from itertools import pairwise
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from peers import bench_common as common
from peers import build_model, vocabulary_of

BEST: Mapping[str, Any] = {"precompute_ref_log_probs": True, "gradient_checkpointing": False}


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def forget_peak() -> None:
    common.reset_peak_rss()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def trl(args: Any, settings: Mapping[str, Any]) -> tuple[list[float], dict[str, Any]]:
    """Seconds of each step, and the first and last loss."""
    from datasets import Dataset
    from torch.utils.data import SequentialSampler
    from transformers import TrainerCallback
    from trl import DPOConfig, DPOTrainer

    ends: list[float] = []
    losses: list[float] = []

    class Clock(TrainerCallback):
        """A step ends when the device has done its work."""

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            forget_peak()
            ends.append(time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            synchronise()
            ends.append(time.perf_counter())

        def on_log(self, _a: Any, _s: Any, _c: Any, logs: Any = None, **__: Any) -> None:
            if logs and "loss" in logs:
                losses.append(float(logs["loss"]))

    class Ordered(DPOTrainer):
        """The rows in the file's order."""

        def _get_train_sampler(self, dataset: Any = None) -> Any:
            return SequentialSampler(self.train_dataset if dataset is None else dataset)

    # Weights stay in float32 and products are cast, as Truing does it: see --dtype.
    model = build_model(args.model, args.seed, "float32")
    tokenizer = common.load_tokenizer(args.tokenizer, args.data, model.config.vocab_size)
    trainer = Ordered(
        model=model,
        ref_model=None if args.lora or settings else copy.deepcopy(model),
        args=DPOConfig(
            output_dir=tempfile.mkdtemp(prefix="truing-bench-trl-"),
            per_device_train_batch_size=args.batch,
            max_length=args.max_length,
            num_train_epochs=1,
            learning_rate=args.lr,
            lr_scheduler_type="constant",
            beta=args.beta,
            seed=args.seed,
            bf16=args.dtype == "bfloat16",
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",
            report_to=[],
            logging_steps=1,
            disable_tqdm=True,
            **settings,
        ),
        train_dataset=Dataset.from_list(common.load_pairs(args.data, args.pairs, args.seed)),
        processing_class=tokenizer,
        peft_config=common.lora_config(args.lora) if args.lora else None,
        callbacks=[Clock()],
    )
    torch.set_num_threads(args.threads)
    trainer.train()
    seconds = [end - start for start, end in pairwise(ends)]
    return seconds, {"loss_first": losses[0], "loss_last": losses[-1]}


def bound(args: Any, _settings: Mapping[str, Any]) -> tuple[list[float], dict[str, Any]]:
    """Seconds of each step's products: forward, input gradient and weight gradient."""
    model = build_model(args.model, args.seed)
    head = model.get_output_embeddings()
    layers = [one for one in model.modules() if isinstance(one, torch.nn.Linear)]
    body = [tuple(one.weight.shape) for one in layers if one is not head]
    top = tuple(head.weight.shape)
    tokenizer = common.load_tokenizer(args.tokenizer, args.data, model.config.vocab_size)
    del model, layers, head
    pairs = common.load_pairs(args.data, args.pairs, args.seed)
    lengths = common.token_lengths(pairs, tokenizer, args.max_length)
    device = "cuda" if torch.cuda.is_available() else "cpu"

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=getattr(torch, args.dtype), device=device)

    weights = {shape: random(*shape) for shape in {*body, top}}
    seconds = []
    forget_peak()
    for first in range(0, len(lengths), args.batch):
        rows = lengths[first : first + args.batch]
        work = [(shape, sum(map(sum, rows))) for shape in body]
        work.append((top, sum(chosen + rejected for _, chosen, rejected in rows)))
        given = {(s, n): (random(n, s[1]), random(n, s[0])) for s, n in set(work)}
        synchronise()
        start = time.perf_counter()
        for shape, n in work:
            inputs, slopes = given[shape, n]
            _ = inputs @ weights[shape].t()
            _ = slopes @ weights[shape]
            if not args.lora:
                _ = slopes.t() @ inputs
        synchronise()
        seconds.append(time.perf_counter() - start)
    return seconds, {}


Program = Callable[[Any, Mapping[str, Any]], tuple[list[float], dict[str, Any]]]
TOOLS: Mapping[str, tuple[Program, Mapping[str, Any]]] = {
    "trl_default": (trl, {}),
    "trl_best": (trl, BEST),
    "bound": (bound, {}),
}


def main() -> None:
    parser = common.arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--tool", choices=tuple(TOOLS), required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    program, settings = TOOLS[args.tool]
    with redirect_stdout(sys.stderr):
        seconds, more = program(args, settings)
    if torch.cuda.is_available():
        more["peak_gpu_mb"] = round(torch.cuda.max_memory_allocated() / 1e6, 1)
    vocabulary = vocabulary_of(args.model)
    tokenizer = common.load_tokenizer(args.tokenizer, args.data, vocabulary)
    pairs = common.load_pairs(args.data, args.pairs, args.seed)
    lengths = common.token_lengths(pairs, tokenizer, args.max_length)
    print(
        common.result_line(
            args.tool, args, seconds, lengths, peak_rss_mb=common.peak_rss_mb(), **more
        )
    )


if __name__ == "__main__":
    main()
