"""Jobs on the reference store called and shown."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from truing.cli import console
from truing.cli.show import configured
from truing.config import build_config


def _checked(items: list[str], flags: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a run, checked before anything heavy is imported."""
    values = configured(items, flags)
    build_config({"output": "run", **values})
    console.quiet_libraries()
    return values


def show_computed(items: list[str], flags: Mapping[str, Any], *, as_json: bool) -> None:
    """`truing reference compute`."""
    values = _checked(items, flags)
    from truing.jobs.references import compute
    from truing.references.stored import in_bytes

    done = compute(progress=console.BARS, **values)
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


def show_verified(items: list[str], flags: Mapping[str, Any], *, rows: int, as_json: bool) -> bool:
    """`truing reference verify`; whether all is sound."""
    is_of_run = bool(items or flags)
    values = _checked(items, flags) if is_of_run else {}
    from truing.jobs.references import compare, held

    found = held()
    damaged = {one.key: list(one.damaged) for one in found if one.damaged}
    compared = compare(count=rows, progress=console.BARS, **values) if is_of_run else []
    is_sound = not damaged and all(one.agrees for one in compared)
    if as_json:
        numbers = [{**asdict(one), "agrees": one.agrees} for one in compared]
        shards = sum(len(one.damaged) for one in found)
        console.show_json(
            {"sound": is_sound, "models": len(found), "damaged": damaged, "compared": numbers}
            | {"damaged_shards": shards}
        )
        return is_sound
    console.show(f"{len(found)} models, {sum(one.responses for one in found):,} responses checked")
    for key, names in damaged.items():
        console.show(f"damaged: {key}: {', '.join(names)}")
        console.show("  fix: the next run computes it again, or truing reference prune --damaged")
    for number, one in enumerate(compared, start=1):
        verdict = "agrees" if one.agrees else "does NOT agree"
        console.show(
            f"reference {number}: {one.stored:,} stored, {one.missing:,} missing, {one.checked} "
            f"computed again: mean difference {one.gap:.2g} nats, {verdict}"
        )
    console.show("sound" if is_sound else "not sound")
    return is_sound


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
