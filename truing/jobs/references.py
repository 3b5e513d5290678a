"""`truing reference`: compute a run's references before it, and look after the store."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from truing.config import RunConfig, build_config, read_config
from truing.core.progress import SILENT, Progress
from truing.data import widest
from truing.engine import choose_engine
from truing.engine.models import choose_numerics
from truing.errors import ConfigError, StoreError
from truing.jobs.material import RunMaterial, gather
from truing.jobs.policy import autocast, load_start
from truing.jobs.run_references import RunReferences
from truing.references.fitting import refuse_moving
from truing.references.policies import parse_reference
from truing.references.store import Shelf, shelves, store_folder
from truing.references.stored import Compared, in_bytes

# A run needs a folder for what it writes; preparing its references writes none.
_NOWHERE = "run"


@dataclass(frozen=True)
class Computed:
    """What preparing a run's references did.

    Args:
        store: its folder.
        responses: that the references were asked for.
        stored: those that lay there already.
        computed: those that were computed.
        seconds: of all passes.
        size_before: bytes of the whole store.
        size_after: bytes of the whole store.
    """

    store: str
    responses: int
    stored: int
    computed: int
    seconds: float
    size_before: int
    size_after: int


def compute(
    recipe: str | Path | None = None,
    *,
    progress: Progress = SILENT,
    strict: bool = False,
    skip_bad: str | Path | None = None,
    **keys: Any,
) -> Computed:
    """Compute what a run will ask its references, and store it; the run itself finds it there.

    Args:
        recipe: of the run.
        progress: shows the work.
        strict: as in `train`.
        skip_bad: as in `train`.
        keys: go over the recipe, as in `train`.

    Raises:
        StoreError: it cannot be stored.
        TruingError: what `train` would refuse.
    """
    config, material = _material(recipe, keys, progress, strict=strict, skip_bad=skip_bad)
    before = _size()
    progress.note(f"the store holds {in_bytes(before)} in {store_folder()}")
    references = _read(config, material, progress)
    filled = references.filled
    faults = [one.fault for one in filled if one.fault]
    if faults:
        raise StoreError(
            f"a reference cannot be stored: {faults[0]}",
            where=str(store_folder()),
            fix="make room (truing reference prune), or set TRUING_CACHE to another disk",
        )
    after = _size()
    progress.note(f"the store holds {in_bytes(after)} now")
    return Computed(
        store=str(store_folder()),
        responses=sum(one.hits + one.computed for one in filled),
        stored=sum(one.hits for one in filled),
        computed=sum(one.computed for one in filled),
        seconds=round(sum(one.seconds for one in filled), 3),
        size_before=before,
        size_after=after,
    )


def compare(
    recipe: str | Path | None = None,
    *,
    count: int,
    progress: Progress = SILENT,
    strict: bool = False,
    skip_bad: str | Path | None = None,
    **keys: Any,
) -> Mapping[str, Compared]:
    """A few of a run's stored values computed again, for each of its references; nothing is mended.

    Args:
        recipe: of the run.
        count: responses for each reference.
        progress: shows the work.
        strict: as in `train`.
        skip_bad: as in `train`.
        keys: go over the recipe, as in `train`.

    Raises:
        TruingError: what `train` would refuse.
    """
    config, material = _material(recipe, keys, progress, strict=strict, skip_bad=skip_bad)
    return _read(config, material, progress, compares=count).compared


def _material(
    recipe: str | Path | None,
    keys: Mapping[str, Any],
    progress: Progress,
    *,
    strict: bool,
    skip_bad: str | Path | None,
) -> tuple[RunConfig, RunMaterial]:
    values = {} if recipe is None else read_config(Path(recipe))
    values.update({key: value for key, value in keys.items() if value is not None})
    config = build_config({"output": _NOWHERE, **values})
    if config.data is None:
        raise ConfigError(
            "the rounds make their own pairs, and each computes its reference on them: there "
            "are no rows yet",
            where="rounds",
            fix="train it as it is",
        )
    refuse_moving(parse_reference(config.reference), config.reference)
    aside = None if skip_bad is None else str(skip_bad)
    material = gather(config, progress, strict=strict, skip_bad=aside)
    for note in material.summary.notes:
        progress.note(note)
    return config, material


def _read(
    config: RunConfig, material: RunMaterial, progress: Progress, *, compares: int = 0
) -> RunReferences:
    numerics = choose_numerics(config.dtype)
    references = RunReferences(config, material, numerics, progress)
    references.passes.compares = compares
    references.check()
    references.read_others()
    if references.needs_start:
        # Without its adapters: they are off when it is read.
        model = load_start(config.model, config, len(material.reader.tokenizer), numerics)
        model.eval()
        budget, longest = config.tokens_per_device, widest(material.examples)
        kind = choose_engine(config.engine, model, budget, longest, lambda: autocast(numerics)).name
        references.read_start(model, kind)
    if not (references.filled or references.compared):
        raise ConfigError(
            "the objective reads no reference, and there are no held-out rows: nothing is stored",
            where=config.objective,
            fix="train it as it is",
        )
    return references


@dataclass(frozen=True)
class Held:
    """One shelf of the store, for a table.

    Args:
        key: name of its folder.
        model: where the model lay when it was computed first.
        facts: dtype, quantisation, attention, torch.
        responses: distinct ones.
        tokens: of them.
        size: bytes.
        days_unused: since a run took something from it.
        damaged: shards whose checksum is wrong.
        is_mislabelled: the folder is not the one that such a model's values lie in.
    """

    key: str
    model: str
    facts: Mapping[str, str]
    responses: int
    tokens: int
    size: int
    days_unused: float
    damaged: tuple[str, ...]
    is_mislabelled: bool

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "facts": dict(self.facts), "damaged": list(self.damaged)}


def held() -> list[Held]:
    """Everything in the store, every shard checked against its checksum."""
    return [_held(shelf) for shelf in shelves()]


def _held(shelf: Shelf) -> Held:
    contents, facts = shelf.contents(), shelf.facts
    named = {
        k: str(facts[k]) for k in ("dtype", "quantisation", "attention", "torch") if k in facts
    }
    return Held(
        shelf.folder.name,
        str(facts.get("model", "")),
        named,
        contents.responses,
        contents.tokens,
        contents.size,
        round(min(shelf.days_unused, 1e6), 2),
        contents.damaged,
        shelf.is_mislabelled,
    )


@dataclass(frozen=True)
class Pruned:
    """What was taken away.

    Args:
        shelves: whole models.
        shards: damaged shards of others.
        size_before: bytes of the whole store.
        size_after: bytes of the whole store.
    """

    shelves: tuple[str, ...]
    shards: tuple[str, ...]
    size_before: int
    size_after: int


def prune(
    *,
    older_than: float | None = None,
    max_size: int | None = None,
    key: str | None = None,
    everything: bool = False,
    damaged: bool = False,
) -> Pruned:
    """Take away what is not needed any more; a run computes it again where it is.

    Args:
        older_than: models that no run used for so many days.
        max_size: models used longest ago, until the store has at most so many bytes.
        key: one model, by the first letters of its key.
        everything: the whole store.
        damaged: shards whose checksum is wrong, of the models that stay.

    Raises:
        ConfigError: nothing is asked for, or a key that fits no model or several.
    """
    if not (everything or damaged or key) and older_than is None and max_size is None:
        raise ConfigError(
            "nothing says what to take away",
            where="reference prune",
            fix="give --older-than DAYS, --max-size MB, --key KEY, --damaged or --all",
        )
    there = shelves()
    before = _size()
    gone = [
        shelf
        for shelf in there
        if everything or (older_than is not None and shelf.days_unused > older_than)
    ]
    if key is not None:
        gone.append(_only(there, key))
    if max_size is not None:
        gone += _oldest(there, max_size)
    names = tuple(dict.fromkeys(shelf.folder.name for shelf in gone))
    for shelf in gone:
        shelf.remove()
    shards = [name for shelf in shelves() for name in shelf.sweep()] if damaged else []
    return Pruned(names, tuple(shards), before, _size())


def _only(there: list[Shelf], key: str) -> Shelf:
    found = [shelf for shelf in there if shelf.folder.name.startswith(key)]
    if len(found) != 1:
        raise ConfigError(
            f"{'no model' if not found else f'{len(found)} models'} in the store has such a key",
            where=f"--key {key}",
            fix="truing reference list shows the keys",
        )
    return found[0]


def _oldest(there: list[Shelf], max_size: int) -> list[Shelf]:
    """Those used longest ago, until the rest is small enough."""
    left, gone = sum(shelf.size for shelf in there), []
    for shelf in sorted(there, key=lambda shelf: -shelf.days_unused):
        if left <= max_size:
            break
        left -= shelf.size
        gone.append(shelf)
    return gone


def _size() -> int:
    return sum(shelf.size for shelf in shelves())
