"""Trains the embedded models: `python -m truing.world.build --model NAME --output DIR`.

Text is written on the fly from the seed. The start learns clean text first, until it binds what it
says to what was asked, then the mixture of good and bad responses that it is meant to speak; once
more, with a fresh optimizer, because the binding comes late and suddenly; and then stories too.
The stronger model is the start, continued on cleaner text; the foreign one, of another family and
tokenizer, learns cleaner text from the beginning. The loss is taken on response tokens only. The
folder gets weights, tokenizer and `manifest.json`; a build that was stopped goes on after its last
whole cycle.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any

import tokenizers
import torch
import transformers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    Olmo2Config,
    PretrainedConfig,
    PreTrainedTokenizerFast,
)

from truing.world.corpus import (
    END_ID,
    MAX_POSITIONS,
    PAD_ID,
    Batch,
    Corpus,
    held_out,
    train_tokenizer,
    write_texts,
)
from truing.world.models import MAX_NEW_TOKENS, MODELS, ModelName, model_folder
from truing.world.prompts import KINDS, SHORT, Kind, Prompt, prompts
from truing.world.scoring import Assessment, assess
from truing.world.writer import MIXTURE, STYLES

PART = "part.pt"
_MORE_NOTES: tuple[Kind, ...] = ("notes", "notes", "notes", "advice")
_ALL: tuple[Kind, ...] = ("notes", "notes", "advice", "story")
"""Notes, of which a response is right or wrong, come oftener: binding is what is hard."""


@dataclass(frozen=True)
class Phase:
    """Optimizer steps on text of one style, on prompts of some kinds."""

    style: str
    steps: int
    kinds: tuple[Kind, ...]


@dataclass(frozen=True)
class Cycle:
    """Phases under one optimizer; the learning rate rises fast and falls to 0 over all of them."""

    phases: tuple[Phase, ...]
    learning_rate: float

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        return sum(phase.steps for phase in self.phases)

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0; its peak is a twentieth of the way in."""
        warmup = max(self.steps // 20, 1)
        return self.learning_rate * min(
            (step + 1) / warmup, (self.steps - step) / max(self.steps - warmup, 1)
        )


@dataclass(frozen=True)
class Plan:
    """How an embedded model is trained.

    Args:
        what: the model in a few words.
        begins_with: the embedded model that it goes on from, tokenizer included.
        family: of transformers' models; a key of `FAMILIES`.
        tokenizer_kinds: prompts of the texts that the tokenizer learns its words from, and
        tokenizer_texts: their number.
        step_tokens: tokens of one optimizer step, padding included.
        threads: of torch; another number gives other bits, and more than the idle cores is slow.
        speech_prompts: test prompts of each kind asked for the manifest; 0: none.
    """

    what: str
    cycles: tuple[Cycle, ...]
    seed: int = 0
    begins_with: ModelName | None = None
    family: str = "llama"
    vocabulary: int = 1024
    hidden: int = 128
    layers: int = 4
    tokenizer_kinds: tuple[Kind, ...] = SHORT
    tokenizer_texts: int = 20_000
    step_tokens: int = 2048
    weight_decay: float = 0.01
    threads: int = 1
    speech_prompts: int = 200


PLANS: MappingProxyType[ModelName, Plan] = MappingProxyType(
    {
        "start": Plan(
            what="what one trains",
            cycles=(
                Cycle((Phase("clean", 1200, SHORT), Phase("mixture", 1600, SHORT)), 4e-3),
                Cycle((Phase("clean", 600, SHORT), Phase("mixture", 800, SHORT)), 3e-3),
                Cycle((Phase("clean", 200, _ALL), Phase("mixture", 1000, _ALL)), 3e-3),
            ),
        ),
        "stronger": Plan(
            what="the start, continued on cleaner text",
            cycles=(Cycle((Phase("cleaner", 800, _ALL),), 2e-3),),
            seed=1,
            begins_with="start",
        ),
        "foreign": Plan(
            what="of another family, with another tokenizer, on cleaner text",
            cycles=(
                Cycle((Phase("clean", 1100, _MORE_NOTES), Phase("clean", 100, _ALL)), 4e-3),
                Cycle((Phase("cleaner", 800, _ALL),), 3e-3),
                Cycle((Phase("cleaner", 1000, _ALL),), 3e-3),
            ),
            seed=2,
            family="olmo2",
            vocabulary=1400,
            tokenizer_kinds=KINDS,
        ),
    }
)
"""The plans that gave the weights of the package."""

FAMILIES: MappingProxyType[str, Callable[..., PretrainedConfig]] = MappingProxyType(
    {"llama": LlamaConfig, "olmo2": Olmo2Config}
)


def new_model(plan: Plan, vocabulary: int) -> Any:
    """A small model, its embedding shared with the head."""
    torch.manual_seed(plan.seed)
    config = FAMILIES[plan.family](
        vocab_size=vocabulary,
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
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def beginning(plan: Plan) -> tuple[Any, PreTrainedTokenizerFast]:
    """Model and tokenizer before the first step."""
    if plan.begins_with:
        folder = model_folder(plan.begins_with)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), tokenizer
    random = Random(f"tokenizer {plan.seed}")
    seen = write_texts(random, plan.tokenizer_texts, "train", MIXTURE, plan.tokenizer_kinds)
    tokenizer = train_tokenizer(seen, plan.vocabulary)
    return new_model(plan, len(tokenizer)), tokenizer


def train(
    plan: Plan, part: Path, tell: Callable[[str], None]
) -> tuple[Any, PreTrainedTokenizerFast, list[dict]]:
    """Train tokenizer and model; returns them with what the manifest says about each cycle.

    `part` is the file in which whole cycles are kept until the folder is written.
    """
    torch.set_num_threads(plan.threads)
    model, tokenizer = beginning(plan)
    facts: list[dict] = []
    if part.exists():
        kept = torch.load(part, weights_only=True)
        model.load_state_dict(kept["weights"])
        facts = kept["facts"]
        tell(f"going on after cycle {len(facts)}")
    for index in range(len(facts), len(plan.cycles)):
        tell(f"cycle {index + 1} of {len(plan.cycles)}: {plan.cycles[index].steps} steps")
        facts.append(train_cycle(model, tokenizer, plan, index, tell))
        torch.save({"weights": model.state_dict(), "facts": facts}, part)
    return model, tokenizer, facts


def corpus_of(plan: Plan, index: int, tokenizer: PreTrainedTokenizerFast) -> Corpus:
    """The text of one cycle, from its beginning."""
    random = Random(plan.seed if index == 0 else f"{plan.seed}, cycle {index}")
    return Corpus(random, tokenizer, plan.step_tokens)


def train_cycle(
    model: Any,
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
    corpus, began, tokens = corpus_of(plan, index, tokenizer), time.monotonic(), 0
    unseen = held_out(tokenizer, cycle.phases[-1].kinds)
    stream = (
        batch
        for phase in cycle.phases
        for batch in corpus.batches(STYLES[phase.style], phase.kinds, phase.steps)
    )
    for step, batch in enumerate(stream, start=1):
        loss = batch.loss(model)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        tokens += int(batch.is_response.sum())
        if step % 200 == 0:
            seconds = time.monotonic() - began
            tell(
                f"cycle {index + 1}, step {step}/{cycle.steps}: held out {_losses(model, unseen)}, "
                f"{seconds:.0f} s, {seconds / step * (cycle.steps - step):.0f} s to go"
            )
    return {
        "data_sha256": corpus.hash.hexdigest(),
        "texts": corpus.texts,
        "response_tokens": tokens,
        "loss": _losses(model, unseen),
        "seconds": round(time.monotonic() - began),
    }


@torch.no_grad()
def _losses(model: Any, unseen: dict[str, Batch]) -> dict[str, float]:
    return {name: round(batch.loss(model).item(), 4) for name, batch in unseen.items()}


@torch.no_grad()
def speak(
    model: Any, tokenizer: PreTrainedTokenizerFast, asked: list[Prompt]
) -> list[tuple[str, bool]]:
    """One response to each prompt at temperature 1, and whether it came to its end."""
    inputs = tokenizer([prompt.text for prompt in asked], return_tensors="pt", padding=True)
    inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    rows = model.generate(**inputs, do_sample=True, top_k=0, max_new_tokens=MAX_NEW_TOKENS)
    said = rows[:, inputs["input_ids"].shape[1] :]
    texts = tokenizer.batch_decode(said, skip_special_tokens=True)
    finished = (said == END_ID).any(dim=1).tolist()
    return list(zip(texts, finished, strict=True))


def describe(model: Any, tokenizer: PreTrainedTokenizerFast, plan: Plan) -> dict:
    """What the model says to test prompts of each kind: score, truth, length, samples."""
    if plan.speech_prompts == 0:
        return {}
    torch.manual_seed(plan.seed)
    return {kind: _describe_kind(model, tokenizer, plan, kind) for kind in KINDS}


def _describe_kind(
    model: Any, tokenizer: PreTrainedTokenizerFast, plan: Plan, kind: Kind
) -> dict[str, Any]:
    asked = list(prompts("test", (kind,))[: plan.speech_prompts])
    said = speak(model, tokenizer, asked)
    judged = [
        assess(prompt, text, finished=finished)
        for prompt, (text, finished) in zip(asked, said, strict=True)
    ]
    lengths = [len(ids) + 1 for ids in tokenizer([text for text, _ in said])["input_ids"]]
    return {
        "prompts": len(asked),
        **_mean("score", [one.score for one in judged]),
        "accuracy": round(sum(one.is_accurate for one in judged) / len(judged), 3),
        "broken_sentences": _share(judged, ("broken",)),
        "cut": sum(not finished for _, finished in said),
        **_mean("tokens", [float(length) for length in lengths]),
        "samples": [
            {"prompt": prompt.text, "response": text, "score": round(one.score, 2)}
            for prompt, (text, _), one in zip(asked[:4], said, judged, strict=False)
        ],
    }


def _mean(name: str, values: list[float]) -> dict[str, float]:
    """Mean and 95 % interval, by the normal law."""
    numbers = torch.tensor(values, dtype=torch.float64)
    mean, reach = float(numbers.mean()), 1.96 * float(numbers.std()) / len(values) ** 0.5
    ends = {"": mean, "_low": mean - reach, "_high": mean + reach}
    return {name + end: round(value, 3) for end, value in ends.items()}


def _share(judged: list[Assessment], kinds: tuple[str, ...]) -> float:
    sentences = sum(len(one.verdicts) for one in judged)
    return round(sum(one.count(*kinds) for one in judged) / sentences, 4)


def build(name: ModelName, output: Path, plan: Plan, tell: Callable[[str], None]) -> dict:
    """Train, write the folder, and return what its manifest says."""
    output.mkdir(parents=True, exist_ok=True)
    model, tokenizer, training = train(plan, output / PART, tell)
    model.eval()
    model.generation_config.max_new_tokens = MAX_NEW_TOKENS
    model.generation_config.do_sample = True
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    manifest = {
        "what": plan.what,
        "script": f"python -m truing.world.build --model {name}",
        "plan": json.loads(json.dumps(asdict(plan))),
        "training": training,
        "parameters": model.num_parameters(),
        "vocabulary": len(tokenizer),
        "sha256": {
            file: sha256((output / file).read_bytes()).hexdigest()
            for file in ("model.safetensors", "tokenizer.json", "config.json")
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
    (output / PART).unlink()
    return manifest


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m truing.world.build", description=__doc__)
    parser.add_argument("--model", choices=MODELS, default="start", help="which of them")
    parser.add_argument("--output", type=Path, required=True, help="folder for the model")
    given = parser.parse_args()

    def tell(line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    manifest = build(given.model, given.output, PLANS[given.model], tell)
    tell(json.dumps(manifest["speech"], indent=2, ensure_ascii=False))
    sys.stdout.write(f"{given.output}\n")


if __name__ == "__main__":
    main()
