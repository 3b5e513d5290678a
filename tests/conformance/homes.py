"""What both sides train: a small model, another one as its reference, and rows of each kind."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from truing.world import model_folder, prompts

ROWS = 24
LONGEST = 600  # characters of a prompt with its longer response, as the file writes them

# Begins with the begin token, ends each turn with the end token and puts nothing behind it;
# no token reaches across the line break before a response.
TEMPLATE = (
    "{{ bos_token }}"
    "{% for m in messages %}{{ m['role'] + ':\n' + m['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Home:
    """A model folder, another folder of the same shape, and rows.

    Args:
        model: the policy's start, with its tokenizer and a chat template.
        other: other weights, for a reference that is not the start.
        plain: pairs of texts.
        conversational: the same as lists of messages.
        unpaired: one response a row with a label; good and bad in turns.
    """

    model: str
    other: str
    plain: list[dict[str, Any]]
    conversational: list[dict[str, Any]]
    unpaired: list[dict[str, Any]]

    @property
    def tokenizer(self) -> Any:
        return AutoTokenizer.from_pretrained(self.model)

    def policy(self) -> Any:
        return AutoModelForCausalLM.from_pretrained(self.model, dtype=torch.float32)

    def reference(self) -> Any:
        return AutoModelForCausalLM.from_pretrained(self.other, dtype=torch.float32)


def real_home(shared: Path, folder: Path) -> Home:
    """A pretrained model of 260,000 parameters, people's pairs and people's dialogues."""
    model = AutoModelForCausalLM.from_pretrained(shared / "data/models/stories260K")
    tokenizer = AutoTokenizer.from_pretrained(shared / "data/tokenizers/tok512-chatml")
    model.resize_token_embeddings(len(tokenizer))
    # ChatML puts a line break behind the last turn, which is a case of its own (test_tokens.py).
    tokenizer.chat_template = TEMPLATE
    sets = shared / "data/preferences"
    plain = _short(_lines(sets / "pandalm/train.jsonl"))
    dialogues = _short(_lines(sets / "hh-harmless/train.jsonl"))
    return _home(folder, model, tokenizer, plain, dialogues)


def tiny_home(random_llama: Callable[..., Any], folder: Path) -> Home:
    """A random model, and sentences of our own."""
    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    tokenizer.chat_template = TEMPLATE
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model = random_llama(tokenizer, 3, **ids)
    rows = [
        {
            "prompt": prompt.text,
            # Of many lengths: what a mean is taken over must be seen.
            "chosen": f" Number {number} is good" + " and fair and well made" * (number % 5) + ".",
            "rejected": " I do not care" + ", and I never did" * (number * number % 7) + ".",
        }
        for number, prompt in enumerate(prompts("train")[:ROWS])
    ]
    dialogues = [
        {
            "prompt": [{"role": "user", "content": row["prompt"]}],
            "chosen": [{"role": "assistant", "content": row["chosen"].strip()}],
            "rejected": [{"role": "assistant", "content": row["rejected"].strip()}],
        }
        for row in rows
    ]
    return _home(folder, model, tokenizer, rows, dialogues)


def _home(folder: Path, model: Any, tokenizer: Any, plain: list[Any], dialogues: list[Any]) -> Home:
    model.save_pretrained(folder / "start")
    torch.manual_seed(11)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * weight.std() * torch.randn_like(weight))
    model.save_pretrained(folder / "other")
    for name in ("start", "other"):
        tokenizer.save_pretrained(folder / name)
    sides = ("chosen", "rejected")
    unpaired = [
        {
            "prompt": row["prompt"],
            "completion": row[sides[number % 2]],
            "label": number % 2 == 0,
        }
        for number, row in enumerate(_with_other_prompts(plain))
    ]
    return Home(str(folder / "start"), str(folder / "other"), plain, dialogues, unpaired)


def _with_other_prompts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first row of each prompt."""
    return list({str(row["prompt"]): row for row in rows}.values())


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _short(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The shortest pairs, one a prompt, in the order of the file."""
    found = []
    for row in _with_other_prompts(list(rows)):
        sides = [row["chosen"], row["rejected"]]
        text = str(row["prompt"]) + max(map(str, sides), key=len)
        if len(text) <= LONGEST and sides[0] != sides[1] and _says_something(sides):
            found.append(({key: row[key] for key in ("prompt", "chosen", "rejected")}, len(text)))
    shortest = sorted(length for _, length in found)[:ROWS][-1]
    return [row for row, length in found if length <= shortest][:ROWS]


def _says_something(sides: list[Any]) -> bool:
    texts = [side if isinstance(side, str) else side[-1]["content"] for side in sides]
    return all(text.strip() for text in texts)
