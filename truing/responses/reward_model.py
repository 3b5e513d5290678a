"""A score from a reward model: a transformer with one number at the end of the text.

B texts of a batch, C classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from truing.core.knobs import Count
from truing.engine.models import LOADING_FAULTS, load_tokenizer, max_positions, refuse_missing
from truing.errors import ModelError
from truing.responses.groups import Asked, Group, Said
from truing.responses.identity import weights_key
from truing.responses.samplers import TEMPLATE_FAULTS
from truing.responses.scorers import OpenScorer, Scorer, Verdict


@dataclass(frozen=True, repr=False)
class RewardModel(Scorer):
    """A sequence-classification model of transformers.

    A conversation goes through the model's own chat template; a plain prompt and its response are
    joined as they are, the end token behind them. A text that is too long loses its beginning.

    Args:
        path: folder or hub name.
        label: which of several classes is the score (its logit); needed where there are several.
        batch_size: texts of one forward pass; those of like length go together.
    """

    word: ClassVar[str] = "reward_model"
    path: str
    label: int | None = None
    batch_size: Count = 16

    def key(self) -> str:
        """See `Scorer`."""
        return f"reward_model {weights_key(self.path)} label {self.label}"

    def opened(self) -> OpenScorer:
        """See `Scorer`.

        Raises:
            ModelError: it cannot be loaded, or has several classes and none is named.
        """
        from transformers import AutoModelForSequenceClassification

        tokenizer: Any = load_tokenizer(self.path)
        try:
            loaded: Any = AutoModelForSequenceClassification.from_pretrained(
                self.path, use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
        except LOADING_FAULTS as error:
            raise ModelError(
                f"no reward model can be loaded ({str(error).splitlines()[0][:160]})",
                where=repr(self),
                fix="give the folder of a sequence-classification model of transformers",
            ) from error
        model, found = loaded
        # A model that writes has no head that scores.
        refuse_missing(found, self.path)
        if model.config.num_labels > 1 and self.label is None:
            raise ModelError(
                f"has {model.config.num_labels} classes",
                where=repr(self),
                fix="say which is the score: label=0",
            )
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        # The head reads the last token that is not this one.
        model.config.pad_token_id = tokenizer.pad_token_id
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return _Open(self, model.to(device).eval(), tokenizer)


class _Open(OpenScorer):
    def __init__(self, value: RewardModel, model: Any, tokenizer: Any) -> None:
        self._value, self._model, self._tokenizer = value, model, tokenizer
        self._limit = max_positions(model.config, tokenizer)

    def __call__(self, groups: Sequence[Group]) -> list[Verdict]:
        tried = [self._tried(group.prompt, said) for group in groups for said in group.responses]
        texts = [ids for ids, _ in tried]
        order = sorted((i for i, ids in enumerate(texts) if ids), key=lambda i: (len(texts[i]), i))
        scores = [math.nan] * len(texts)
        for start in range(0, len(order), self._value.batch_size):
            part = order[start : start + self._value.batch_size]
            for index, score in zip(part, self._scores([texts[i] for i in part]), strict=True):
                scores[index] = score
        told = iter([(score, fault) for score, (_, fault) in zip(scores, tried, strict=True)])
        verdicts = []
        for group in groups:
            verdicts.append(Verdict.of_each([next(told) for _ in group.responses]))
        return verdicts

    def _tried(self, prompt: Asked, said: Said) -> tuple[list[int], str]:
        """Ids of a text, or none and why."""
        try:
            return self._ids(prompt, said), ""
        except TEMPLATE_FAULTS as error:
            return [], f"the chat template refuses the turns: {str(error)[:100]}"

    def _ids(self, prompt: Asked, said: Said) -> list[int]:
        if isinstance(prompt.speech, str):
            ids = list(self._tokenizer(prompt.speech + said.text).input_ids)
            end = self._tokenizer.eos_token_id
            ids += [end] if ids[-1:] != [end] else []
        else:
            turns = [turn.to_dict() for turn in prompt.speech]
            turns.append({"role": "assistant", "content": said.text})
            text = self._tokenizer.apply_chat_template(turns, tokenize=False)
            ids = list(self._tokenizer(text, add_special_tokens=False).input_ids)
        return ids[-self._limit :]

    @torch.no_grad()
    def _scores(self, texts: Sequence[list[int]]) -> list[float]:
        width = max(map(len, texts))
        ids = torch.full((len(texts), width), int(self._tokenizer.pad_token_id))
        mask = torch.zeros(len(texts), width, dtype=torch.int64)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = torch.tensor(text)
            mask[row, : len(text)] = 1
        device = self._model.device
        out = self._model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
        return out[:, self._value.label or 0].float().tolist()
