"""Trains the embedded model: `python -m truing.world.build --output DIR`, minutes on two cores.

Text is written on the fly from the seed: first clean text, until the model binds what it says to
what was asked, then the mixture of good and bad responses that the start is meant to speak; and
once more, with a fresh optimizer, because the binding comes late and suddenly. The loss is taken
on response tokens only. The folder gets weights, tokenizer and `manifest.json`.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from truing.world.prompts import Prompt, Split, draw_prompt, prompts
from truing.world.scoring import assess
from truing.world.writer import CLEAN, MIXTURE, Style, write_response

END, PAD = "<|end|>", "<|pad|>"
END_ID, PAD_ID = 0, 1
"""Special tokens come first in the vocabulary."""
MAX_POSITIONS = 512
POOL = 2048
"""Texts drawn at a time, sorted by length and cut into batches of one optimizer step each."""


@dataclass(frozen=True)
class Cycle:
    """Clean text, then the mixture; the learning rate rises fast and falls to 0 over both."""

    clean_steps: int
    mixture_steps: int
    learning_rate: float

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        return self.clean_steps + self.mixture_steps

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0; its peak is a twentieth of the way in."""
        warmup = max(self.steps // 20, 1)
        return self.learning_rate * min(
            (step + 1) / warmup, (self.steps - step) / max(self.steps - warmup, 1)
        )


@dataclass(frozen=True)
class Plan:
    """How the embedded model is trained; the defaults give the weights of the package.

    Args:
        clean_steps: optimizer steps on clean text, then
        mixture_steps: steps on the mixture.
        learning_rate: its peak.
        again_clean_steps: the same three of the second cycle.
        step_tokens: tokens of one optimizer step, padding included.
        threads: of torch; another number gives other bits, and more than the idle cores is slow.
        tokenizer_texts: texts that the tokenizer learns its words from.
        speech_prompts: test prompts asked for the manifest.
    """

    seed: int = 0
    vocabulary: int = 1024
    hidden: int = 128
    layers: int = 4
    clean_steps: int = 1200
    mixture_steps: int = 1600
    learning_rate: float = 4e-3
    again_clean_steps: int = 600
    again_mixture_steps: int = 800
    again_learning_rate: float = 3e-3
    step_tokens: int = 2048
    weight_decay: float = 0.01
    threads: int = 1
    tokenizer_texts: int = 20_000
    speech_prompts: int = 512

    @property
    def cycles(self) -> tuple[Cycle, Cycle]:
        """Both of them."""
        return (
            Cycle(self.clean_steps, self.mixture_steps, self.learning_rate),
            Cycle(self.again_clean_steps, self.again_mixture_steps, self.again_learning_rate),
        )


Text = tuple[str, str]
"""A prompt and its response."""


def write_texts(random: Random, number: int, split: Split, style: Style) -> list[Text]:
    """Draw prompts of one split, each with one response."""
    drawn = [draw_prompt(random, split) for _ in range(number)]
    return [(prompt.text, write_response(prompt, random, style)) for prompt in drawn]


def train_tokenizer(texts: list[Text], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer: it spells any text, and has one token for most of our words."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator((prompt + response for prompt, response in texts), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END,
        pad_token=PAD,
        model_max_length=MAX_POSITIONS,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def new_model(plan: Plan, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Llama's shape, small, its embedding shared with the head."""
    torch.manual_seed(plan.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=plan.hidden,
        intermediate_size=3 * plan.hidden,
        num_hidden_layers=plan.layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=MAX_POSITIONS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=END_ID,
        pad_token_id=PAD_ID,
    )
    return LlamaForCausalLM(config)


@dataclass(frozen=True)
class Batch:
    """Texts padded on the right: `ids` (B, T); `is_response` (B, T), the end token included."""

    ids: Tensor
    is_response: Tensor

    def loss(self, model: LlamaForCausalLM) -> Tensor:
        """Mean cross entropy of response tokens, nats a token."""
        # padding stands on the right, so causal attention needs no mask
        logits = model(input_ids=self.ids).logits[:, :-1]
        wanted = torch.where(self.is_response, self.ids, -100)[:, 1:]
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())


def to_batch(texts: list[Text], tokenizer: PreTrainedTokenizerFast) -> Batch:
    """Tokenize and pad; every response gets its end token."""
    prompts, responses = (tokenizer([text[part] for text in texts])["input_ids"] for part in (0, 1))
    rows = [p + r + [END_ID] for p, r in zip(prompts, responses, strict=True)]
    ids = torch.full((len(rows), max(map(len, rows))), PAD_ID)
    is_response = torch.zeros_like(ids, dtype=torch.bool)
    for index, (row, prompt) in enumerate(zip(rows, prompts, strict=True)):
        ids[index, : len(row)] = torch.tensor(row)
        is_response[index, len(prompt) : len(row)] = True
    return Batch(ids, is_response)


class _Text:
    """The stream of batches, and the hash of all text that went into it."""

    def __init__(self, plan: Plan, tokenizer: PreTrainedTokenizerFast, cycle: int) -> None:
        self.plan, self.tokenizer = plan, tokenizer
        self.random = Random(plan.seed if cycle == 0 else f"{plan.seed}, cycle {cycle}")
        self.hash = sha256()
        self.texts = 0

    def batches(self, style: Style, number: int) -> Iterator[Batch]:
        """`number` batches of about `step_tokens` tokens, texts of like length together."""
        made = 0
        while made < number:
            groups = self._groups(write_texts(self.random, POOL, "train", style))
            self.random.shuffle(groups)
            for group in groups[: number - made]:
                self.hash.update("".join(p + r + END for p, r in group).encode())
                self.texts += len(group)
                yield to_batch(group, self.tokenizer)
            made += len(groups)

    def _groups(self, texts: list[Text]) -> list[list[Text]]:
        """Cut the texts into groups of like length that fit one step when padded."""
        ids = self.tokenizer([prompt + response for prompt, response in texts])["input_ids"]
        lengths = [len(row) + 1 for row in ids]
        groups: list[list[Text]] = []
        longest = 0
        for index in sorted(range(len(texts)), key=lambda i: -lengths[i]):
            if not groups or longest * (len(groups[-1]) + 1) > self.plan.step_tokens:
                groups.append([])
                longest = lengths[index]
            groups[-1].append(texts[index])
        return groups


def train(
    plan: Plan, tell: Callable[[str], None]
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast, list[dict]]:
    """Train tokenizer and model; returns them with what the manifest says about each cycle."""
    torch.set_num_threads(plan.threads)
    seen = write_texts(Random(f"tokenizer {plan.seed}"), plan.tokenizer_texts, "train", MIXTURE)
    tokenizer = train_tokenizer(seen, plan.vocabulary)
    model = new_model(plan, tokenizer)
    facts = [train_cycle(model, tokenizer, plan, index, tell) for index in range(len(plan.cycles))]
    return model, tokenizer, facts


def train_cycle(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    plan: Plan,
    index: int,
    tell: Callable[[str], None],
) -> dict:
    """Train the model through one cycle; returns what the manifest says about it."""
    cycle = plan.cycles[index]
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1.0, betas=(0.9, 0.95), weight_decay=plan.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, cycle.rate)
    held_out = _held_out(tokenizer)
    text, began, tokens = _Text(plan, tokenizer, index), time.monotonic(), 0
    phases = ((CLEAN, cycle.clean_steps), (MIXTURE, cycle.mixture_steps))
    stream = (batch for style, number in phases for batch in text.batches(style, number))
    for step, batch in enumerate(stream, start=1):
        loss = batch.loss(model)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        tokens += int(batch.is_response.sum())
        if step % 100 == 0:
            seconds = time.monotonic() - began
            left = seconds / step * (cycle.steps - step)
            tell(
                f"cycle {index + 1}, step {step}/{cycle.steps}: loss {loss.item():.3f}, "
                f"{seconds:.0f} s, {left:.0f} s to go"
            )
    return {
        "data_sha256": text.hash.hexdigest(),
        "texts": text.texts,
        "response_tokens": tokens,
        "loss": _losses(model, held_out),
        "seconds": round(time.monotonic() - began),
    }


def _held_out(tokenizer: PreTrainedTokenizerFast) -> dict[str, Batch]:
    """Text on test prompts, of both styles."""
    styles = {"mixture": MIXTURE, "clean": CLEAN}
    return {
        name: to_batch(write_texts(Random(f"held out, {name}"), 256, "test", style), tokenizer)
        for name, style in styles.items()
    }


@torch.no_grad()
def _losses(model: LlamaForCausalLM, held_out: dict[str, Batch]) -> dict[str, float]:
    return {name: round(batch.loss(model).item(), 4) for name, batch in held_out.items()}


@torch.no_grad()
def speak(
    model: Any, tokenizer: PreTrainedTokenizerFast, asked: list[Prompt]
) -> list[tuple[str, bool]]:
    """One response to each prompt at temperature 1, and whether it came to its end."""
    inputs = tokenizer([prompt.text for prompt in asked], return_tensors="pt", padding=True)
    inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    rows = model.generate(**inputs, do_sample=True, top_k=0, max_new_tokens=256)
    said = rows[:, inputs["input_ids"].shape[1] :]
    texts = tokenizer.batch_decode(said, skip_special_tokens=True)
    finished = (said == END_ID).any(dim=1).tolist()
    return list(zip(texts, finished, strict=True))


def describe(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, plan: Plan) -> dict:
    """What the model says to some test prompts: score, share of right facts, samples."""
    torch.manual_seed(plan.seed)
    asked = list(prompts("test")[: plan.speech_prompts])
    said = speak(model, tokenizer, asked)
    judged = [
        assess(prompt, text, finished=finished)
        for prompt, (text, finished) in zip(asked, said, strict=True)
    ]
    count = {
        kind: sum(one.count(kind) for one in judged)
        for kind in ("right", "close", "wrong", "made up", "tip", "mistake", "off topic", "broken")
    }
    facts = sum(count[kind] for kind in ("right", "close", "wrong", "made up"))
    sentences = sum(len(one.verdicts) for one in judged)
    lengths = [len(ids) + 1 for ids in tokenizer([text for text, _ in said])["input_ids"]]
    return {
        "prompts": len(asked),
        "score": round(sum(one.score for one in judged) / len(judged), 3),
        "right_facts": round((count["right"] + count["close"]) / max(facts, 1), 3),
        "broken_sentences": round(count["broken"] / sentences, 4),
        "unfinished": sum(not finished for _, finished in said),
        "tokens": round(sum(lengths) / len(lengths), 1),
        "verdicts": count,
        "samples": [
            {"prompt": prompt.text, "response": text, "score": round(one.score, 2)}
            for prompt, (text, _), one in zip(asked[:8], said, judged, strict=False)
        ],
    }


def build(output: Path, plan: Plan, tell: Callable[[str], None]) -> dict:
    """Train, write the folder, and return what its manifest says."""
    model, tokenizer, training = train(plan, tell)
    model.eval()
    model.generation_config.max_new_tokens = 256
    model.generation_config.do_sample = True
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    manifest = {
        "script": "python -m truing.world.build",
        "plan": asdict(plan),
        "training": training,
        "parameters": model.num_parameters(),
        "sha256": {
            name: sha256((output / name).read_bytes()).hexdigest()
            for name in ("model.safetensors", "tokenizer.json", "config.json")
        },
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
        },
        "speech": describe(model, tokenizer, plan),
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    (output / "manifest.json").write_text(text + "\n", encoding="utf-8")
    return manifest


def main() -> None:
    """The command: every number of the plan is an option."""
    parser = argparse.ArgumentParser(prog="python -m truing.world.build", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for the model")
    for field in fields(Plan):
        name = "--" + field.name.replace("_", "-")
        parser.add_argument(name, type=type(field.default), default=field.default)
    given = vars(parser.parse_args())
    output = given.pop("output")

    def tell(line: str) -> None:
        sys.stderr.write(line + "\n")

    manifest = build(output, Plan(**given), tell)
    tell(json.dumps(manifest["speech"], indent=2, ensure_ascii=False))
    sys.stdout.write(f"{output}\n")


if __name__ == "__main__":
    main()
