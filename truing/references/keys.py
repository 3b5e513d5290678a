"""Under which key a stored value lies: what it was computed with, and of which tokens.

Never a learning rate, a strength, an output folder, a data set or an order: only what changes the
number.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch

# What is stored under a key; counts up where older values can no longer be taken.
_FORMAT = 1


@dataclass(frozen=True)
class ModelKey:
    """Everything of a model that changes its log-probs.

    Args:
        weights: hash of weights and configuration.
        dtype: of the weights, and of the products where they are cast.
        quantisation: of the weights; "none".
        attention: how rows are laid out and attended, and on what kind of device.
        torch: its minor version, as in "2.13".
        grown: tokens of a tokenizer that the model had no row for, and the seed of the new rows;
            "" where there are none.
    """

    weights: str
    dtype: str
    quantisation: str = "none"
    attention: str = "shared on cpu"
    torch: str = ".".join(torch.__version__.split(".")[:2])
    grown: str = ""

    @property
    def facts(self) -> dict[str, Any]:
        """All of it as plain values, with what is stored under it."""
        return {**asdict(self), "format": _FORMAT}

    @property
    def name(self) -> str:
        """24 hexadecimal digits: the name of a folder."""
        return self.name_of(self.facts)

    @staticmethod
    def name_of(facts: Mapping[str, Any]) -> str:
        """The name under which a key with these facts lies; other facts have no part in it."""
        names = {field.name for field in fields(ModelKey)}
        own = {"format": 1} | {k: v for k, v in facts.items() if k in names | {"format"}}
        text = json.dumps(own, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def row_keys(prompt: np.ndarray, responses: Sequence[np.ndarray]) -> list[bytes]:
    """16 bytes for each response to a prompt: a hash of both as token ids."""
    start = hashlib.blake2b(digest_size=16)
    start.update(len(prompt).to_bytes(8, "little"))
    start.update(np.ascontiguousarray(prompt, dtype=np.int64).tobytes())
    keys = []
    for response in responses:
        one = start.copy()
        one.update(np.ascontiguousarray(response, dtype=np.int64).tobytes())
        keys.append(one.digest())
    return keys
