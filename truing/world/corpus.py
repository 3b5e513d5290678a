"""The text that the embedded models learn: drawn from a seed, tokenized, cut into batches.

B texts of a batch, T tokens.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from random import Random
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from truing.world.prompts import SHORT, Kind, Side, draw_prompt
from truing.world.writer import STYLES, Style, write_response

END, PAD = "<|end|>", "<|pad|>"
END_ID, PAD_ID = 0, 1
"""Special tokens come first in the vocabulary."""
MAX_POSITIONS = 512
POOL = 2048
"""Texts drawn at a time, sorted by length and cut into batches of one optimizer step each."""

Text = tuple[str, str]
"""A prompt and its response."""


def write_texts(
    random: Random, number: int, side: Side, style: Style, kinds: tuple[Kind, ...] = SHORT
) -> list[Text]:
    """Draw prompts of one side, each with one response."""
    drawn = [draw_prompt(random, side, kinds) for _ in range(number)]
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


@dataclass(frozen=True)
class Batch:
    """Texts padded on the right; a response includes its end token."""

    ids: Int[Tensor, "B T"]
    is_response: Bool[Tensor, "B T"]

    def loss(self, model: Any) -> Float[Tensor, ""]:
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


class Corpus:
    """The stream of batches, and the hash of all text that went into it.

    Args:
        random: that the text is drawn from.
        step_tokens: of one batch, padding included.
    """

    def __init__(
        self, random: Random, tokenizer: PreTrainedTokenizerFast, step_tokens: int
    ) -> None:
        self.random, self.tokenizer, self.step_tokens = random, tokenizer, step_tokens
        self.hash = sha256()
        self.texts = 0

    def batches(self, style: Style, kinds: tuple[Kind, ...], number: int) -> Iterator[Batch]:
        """`number` batches of about `step_tokens` tokens, texts of like length together."""
        for group in self.groups(style, kinds, number):
            yield to_batch(group, self.tokenizer)

    def groups(self, style: Style, kinds: tuple[Kind, ...], number: int) -> Iterator[list[Text]]:
        """The texts of so many batches."""
        made = 0
        while made < number:
            groups = self._cut(write_texts(self.random, POOL, "train", style, kinds))
            self.random.shuffle(groups)
            for group in groups[: number - made]:
                self.hash.update("".join(p + r + END for p, r in group).encode())
                self.texts += len(group)
                yield group
            made += len(groups)

    def _cut(self, texts: list[Text]) -> list[list[Text]]:
        """Cut the texts into groups of like length that fit one step when padded."""
        ids = self.tokenizer([prompt + response for prompt, response in texts])["input_ids"]
        lengths = [len(row) + 1 for row in ids]
        groups: list[list[Text]] = []
        longest = 0
        for index in sorted(range(len(texts)), key=lambda i: -lengths[i]):
            if not groups or longest * (len(groups[-1]) + 1) > self.step_tokens:
                groups.append([])
                longest = lengths[index]
            groups[-1].append(texts[index])
        return groups


def held_out(tokenizer: PreTrainedTokenizerFast, kinds: tuple[Kind, ...]) -> dict[str, Batch]:
    """Text on prompts that no model is trained on, of each kind, as good and bad as it comes."""
    return {
        kind: to_batch(
            write_texts(Random(f"held out, {kind}"), 192, "test", STYLES["mixture"], (kind,)),
            tokenizer,
        )
        for kind in dict.fromkeys(kinds)
    }
