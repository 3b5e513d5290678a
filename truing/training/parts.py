"""The optimizer's state in parts: a safetensors file or more from each process, read by any number.

Torch's distributed checkpoints cut and join the tensors; what they hold is numbers alone, unlike
torch's own format, whose table of contents is a pickle. Numbers that are the same in every process
(steps, rates) and the list of files lie beside them.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from truing.engine import ranks
from truing.errors import ResumeError

# Of a checkpoint: the folder of the parts, the list in it, and the schedule beside it.
PARTS, INDEX, SCHEDULE = "optimizer", "index.pt", "scheduler.pt"
# A process writes so many bytes at once, and needs them once more in memory while it does.
_FILE_BYTES = 2**30


def save_parts(model: Any, optimizer: Any, schedule: Any, checkpoint: Path) -> None:
    """Each process writes its part of the moments; the first one what is the same in all.

    Raises:
        OSError: a process cannot write; every process raises.
    """
    folder = checkpoint / PARTS
    state = get_optimizer_state_dict(model, _bare(optimizer))
    moments = _moments(state)
    writer = HuggingFaceStorageWriter(
        str(folder), fqn_to_index_mapping=_files_of(moments), save_distributed=True
    )
    with _said_plainly():
        save(moments, storage_writer=writer, no_dist=ranks.world() == 1)
    if not ranks.is_first():
        return
    index = {
        "files": _sizes(folder),
        "groups": state["param_groups"],
        "same": {
            name: {key: value for key, value in values.items() if not _is_moment(value)}
            for name, values in _by_name(state).items()
        },
    }
    torch.save(index, folder / INDEX)
    torch.save(schedule.state_dict(), checkpoint / SCHEDULE)


def load_parts(model: Any, optimizer: Any, schedule: Any, checkpoint: Path) -> None:
    """Each process reads its part, however many wrote them.

    Raises:
        ResumeError: a part is missing or cut short.
    """
    folder = checkpoint / PARTS
    index = torch.load(folder / INDEX, map_location="cpu", weights_only=True)
    _refuse_lost_parts(index["files"], folder)
    state = get_optimizer_state_dict(model, _bare(optimizer))
    with _said_plainly():
        reader = HuggingFaceStorageReader(str(folder))
        load(_moments(state), storage_reader=reader, no_dist=ranks.world() == 1)
    for name, values in index["same"].items():
        _by_name(state)[name].update(values)
    found: Any = {**state, "param_groups": index["groups"]}
    set_optimizer_state_dict(model, _bare(optimizer), found)
    schedule.load_state_dict(torch.load(checkpoint / SCHEDULE, weights_only=True))


def _by_name(state: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return state["state"]


def _moments(state: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors that are as large as a weight, which the loader fills in place."""
    return {
        f"{name}.{key}": value
        for name, values in _by_name(state).items()
        for key, value in values.items()
        if _is_moment(value)
    }


def _is_moment(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0


def _files_of(moments: Mapping[str, Tensor]) -> dict[str, int]:
    """The number of the file of each tensor, from 1."""
    found, filled = {}, 0
    for name, value in moments.items():
        found[name] = 1 + filled // (ranks.world() * _FILE_BYTES)
        filled += value.numel() * value.element_size()
    return found


def _sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.glob("*.safetensors"))}


def _refuse_lost_parts(files: Mapping[str, int], folder: Path) -> None:
    """The reader would leave numbers as they are for which there is no file."""
    there = _sizes(folder)
    lost = sorted(name for name, size in files.items() if there.get(name) != size)
    if lost or len(there) != len(files):
        strange = sorted(set(there) - set(files))
        raise ResumeError(
            f"{len(lost)} of {len(files)} parts of the optimizer's state are missing or cut short, "
            f"and {len(strange)} belong to another one ({', '.join([*lost, *strange][:3])})",
            where=str(folder.parent),
            fix="remove the folder; the run then goes on from the checkpoint before it, or anew",
        )


@contextmanager
def _said_plainly() -> Iterator[None]:
    """What the first process that failed met, instead of torch's table of all failures.

    One process alone is meant, and no warning: it goes on with what several began.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            yield
    except CheckpointException as error:
        cause, _ = next(iter(error.failures.values()))
        raise cause from error


def _bare(optimizer: Any) -> Any:
    return getattr(optimizer, "optimizer", optimizer)
