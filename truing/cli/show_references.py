"""Jobs on the reference store called and shown."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from truing.cli import console
from truing.cli.show import configured
from truing.config import build_config
from truing.errors import ConfigError

if TYPE_CHECKING:
    from truing.jobs.references import Held
    from truing.references.stored import Compared


def _checked(items: list[str], flags: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a run, checked before anything heavy is imported."""
    values = configured(items, flags)
    build_config({"output": "run", **values})
    console.quiet_libraries()
    return values


def show_computed(
    items: list[str], flags: Mapping[str, Any], options: Mapping[str, Any], *, as_json: bool
) -> None:
    """`truing reference compute`; `options` say what becomes of bad rows."""
    values = _checked(items, flags)
    from truing.jobs.references import compute
    from truing.references.stored import in_bytes

    done = compute(progress=console.BARS, **options, **values)
    if as_json:
        console.show_json(asdict(done))
        return
    rows = [
        ("responses", f"{done.responses:,}"),
        ("stored already", f"{done.stored:,}"),
        ("computed", f"{done.computed:,} in {done.seconds:.1f} s"),
        ("store before", in_bytes(done.size_before)),
        ("store after", in_bytes(done.size_after)),
    ]
    console.show_table(done.store, ("reference", ""), rows)


def show_store(*, as_json: bool) -> None:
    """`truing reference list`."""
    from truing.jobs.references import held
    from truing.references.store import store_folder
    from truing.references.stored import in_bytes

    found = held()
    if as_json:
        shelves = [one.to_json() for one in found]
        size = sum(one.size for one in found)
        console.show_json({"store": str(store_folder()), "size": size, "models": shelves})
        return
    rows = [
        (
            one.key[:8],
            one.model,
            ", ".join(value for value in one.facts.values() if value != "none"),
            f"{one.responses:,}",
            in_bytes(one.size) + (f", {len(one.damaged)} damaged" if one.damaged else ""),
            f"{one.days_unused:.1f}",
        )
        for one in found
    ]
    columns = ("key", "model", "computed as", "responses", "size", "days unused")
    console.show_table("", columns, rows, numbers=False)
    total = in_bytes(sum(one.size for one in found))
    console.show(f"{total} in {store_folder()}")


def show_verified(
    items: list[str],
    flags: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    rows: int,
    as_json: bool,
) -> bool:
    """`truing reference verify`; whether all is sound. Nothing is mended."""
    is_of_run = bool(items or flags)
    values = _checked(items, flags) if is_of_run else {}
    if not is_of_run and any(options.values()):
        raise ConfigError(
            "--strict and --skip-bad are of a run's rows, and no run is given",
            where="reference verify",
            fix="leave them out, or give the run: a recipe, or --model and --data",
        )
    from truing.jobs.references import compare, held

    found = held()
    compared = compare(count=rows, progress=console.BARS, **options, **values) if is_of_run else {}
    faults = [*_faults_of_store(found), *_faults_of_run(compared)]
    if as_json:
        console.show_json(
            {
                "sound": not faults,
                "models": len(found),
                "damaged": {one.key: list(one.damaged) for one in found if one.damaged},
                "damaged_shards": sum(len(one.damaged) for one in found),
                "mislabelled": [one.key for one in found if one.is_mislabelled],
                "compared": [
                    {"reference": name, **asdict(one), "agrees": one.agrees}
                    for name, one in compared.items()
                ],
                "faults": [{"what": what, "fix": fix} for what, fix in faults],
            }
        )
        return not faults
    console.show(f"{len(found)} models, {sum(one.responses for one in found):,} responses checked")
    for name, one in compared.items():
        console.show(
            f"{name}: {one.stored:,} stored, {one.missing:,} missing, {one.checked} computed "
            f"again: mean difference {one.gap:.2g} nats"
        )
    for what, fix in faults:
        console.show(what)
        console.show(f"  fix: {fix}")
    console.show("not sound" if faults else "sound")
    return not faults


def _faults_of_store(found: Sequence["Held"]) -> Iterator[tuple[str, str]]:
    """What is wrong, and what mends it, of files as they lie."""
    for one in found:
        if one.damaged:
            shards = f"{len(one.damaged)} shard{'s' * (len(one.damaged) > 1)}"
            yield (
                f"{one.key[:8]} ({one.model}): {shards} damaged: {', '.join(one.damaged)}",
                "truing reference compute, with its run, computes what is lost again (so does the "
                "run itself); truing reference prune --damaged takes the damaged shards away",
            )
        if one.is_mislabelled:
            yield (
                f"{one.key[:8]} ({one.model}): what it says of its model belongs to another key",
                f"truing reference prune --key {one.key[:8]}",
            )


def _faults_of_run(compared: Mapping[str, "Compared"]) -> Iterator[tuple[str, str]]:
    """What is wrong, and what mends it, of what a run would be given."""
    for name, one in compared.items():
        if one.stale:
            yield (
                f"{name}: the weights' files are not those that were remembered under their size "
                f"and times; what was stored since lies under the wrong key, {one.stale[:8]}",
                f"truing reference prune --key {one.stale[:8]}, then truing reference compute",
            )
        elif not one.agrees:
            yield (
                f"{name}: stored values are NOT what the model says now ({one.gap:.2g} nats "
                f"a token where rounding leaves {one.limit:g})",
                "truing reference compute, with this run, throws them away and computes them again",
            )


def show_pruned(*, as_json: bool, **what: Any) -> None:
    """`truing reference prune`."""
    from truing.jobs.references import prune
    from truing.references.stored import in_bytes

    gone = prune(**what)
    if as_json:
        console.show_json({**asdict(gone), "shelves": list(gone.shelves)})
        return
    console.show(
        f"took away {len(gone.shelves)} models and {len(gone.shards)} damaged shards: "
        f"{in_bytes(gone.size_before)} before, {in_bytes(gone.size_after)} now"
    )
