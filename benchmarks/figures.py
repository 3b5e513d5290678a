"""What the runs of an engine benchmark say together, and which of them say nothing.

A run is the JSON line of one tool, with `tool`, `case` and `round` beside it. Tools of a round ran
in turns: ratios are taken inside a round, and medians over the rounds are told.
"""

import math
import statistics
from collections.abc import Iterator
from typing import Any

Run = dict[str, Any]

# The products of the linear layers alone: no tool that computes them can take less time.
BOUNDS = ("gemm_bound", "bound")
# The products of a quiet machine differ by as much from round to round.
NOISE = 0.05
# Products in half precision round by as much as this.
LOSS_TOLERANCE = {"float32": 1e-3, "bfloat16": 1e-2}
# Truing's own paths start from the same adapters and take the same steps.
OWN_TOLERANCE = {"float32": 1e-4, "bfloat16": 1e-2}
# Attention, norms and the optimizer do not shrink as the tokens of the linear layers do.
POWER = 0.8


def disturbed(runs: list[Run]) -> list[dict[str, Any]]:
    """The rounds in which a tool was faster than the lower bound of time: they measured nothing.

    Something else took the machine away from one of the two.
    """
    found = []
    for one in runs:
        limits = [
            other["pairs_per_s"]
            for other in runs
            if _round_of(other) == _round_of(one) and other["tool"] in BOUNDS
        ]
        if one["tool"] in BOUNDS or not limits:
            continue
        times = one["pairs_per_s"] / statistics.median(limits)
        if times > 1 + NOISE:
            found.append(
                {
                    "case": one["case"],
                    "round": one["round"],
                    "tool": one["tool"],
                    "times_as_fast_as_the_bound": round(times, 3),
                    "load_average": one.get("load_average"),
                }
            )
    return found


def undisturbed(runs: list[Run]) -> list[Run]:
    """The runs of the rounds that count."""
    out = {_round_of(one) for one in disturbed(runs)}
    return [one for one in runs if _round_of(one) not in out]


def _round_of(run: Run) -> tuple[str, int]:
    return run["case"], run["round"]


def ratios(runs: list[Run]) -> Iterator[dict[str, Any]]:
    """Truing against each other tool: medians over the rounds of ratios of medians in a round."""
    counted = undisturbed(runs)
    for case in dict.fromkeys(one["case"] for one in counted):
        here = [one for one in counted if one["case"] == case]
        rounds = {one["round"] for one in here if one["tool"] == "truing"}
        here = [one for one in here if one["round"] in rounds]
        for tool in dict.fromkeys(one["tool"] for one in here):
            if tool == "truing":
                continue
            speed, memory = (_against(here, tool, key) for key in ("pairs_per_s", memory_of(here)))
            yield {
                "case": case,
                "tool": tool,
                "rounds": len(speed),
                "times_as_fast": round(statistics.median(speed), 3),
                "range": [round(min(speed), 3), round(max(speed), 3)],
                "share_of_memory": round(statistics.median(memory), 3),
            }


def memory_of(runs: list[Run]) -> str:
    """Which memory is told of these runs: the device's where there is one."""
    return "peak_gpu_mb" if all("peak_gpu_mb" in one for one in runs) else "peak_rss_mb"


def _against(runs: list[Run], tool: str, key: str) -> list[float]:
    found = []
    for number in sorted({one["round"] for one in runs if one["tool"] == tool}):
        middle = {
            name: statistics.median(
                one[key] for one in runs if one["tool"] == name and one["round"] == number
            )
            for name in ("truing", tool)
        }
        found.append(middle["truing"] / middle[tool])
    return found


def savings(runs: list[Run]) -> Iterator[dict[str, Any]]:
    """What shared prompts save over packed rows, in the cases whose rows share them (`in_order`).

    Tokens are those that go through the model for all rows of the case, time that of the timed
    steps. Reached: the saving of time is at least the saving of tokens to the power 0.8.
    """
    for ratio in ratios(runs):
        lines = [
            one
            for one in runs
            if one["case"] == ratio["case"] and one["tool"] == "truing" and one.get("in_order")
        ]
        if ratio["tool"] != "truing_packed" or not lines:
            continue
        tokens = lines[0]["forward_tokens"]
        times = tokens["packed"] / tokens["shared"]
        yield {
            "case": ratio["case"],
            "tokens_packed": tokens["packed"],
            "tokens_shared": tokens["shared"],
            "saving_of_tokens": round(times, 3),
            "saving_of_time": ratio["times_as_fast"],
            "saving_of_tokens_to_the_0.8": round(times**POWER, 3),
            "reached": ratio["times_as_fast"] >= times**POWER,
        }


def disagreements(runs: list[Run]) -> list[str]:
    """What shows that tools of a case do not compute the same thing, over the runs of all rounds.

    Adapters start differently in every tool: with LoRA the losses after the first step are compared
    among Truing's own paths alone.
    """
    found = []
    for case in dict.fromkeys(one["case"] for one in runs):
        here = [one for one in runs if one["case"] == case and "loss_first" in one]
        if not here:
            continue
        own = [one for one in here if one["tool"].startswith("truing")]
        dtype = here[0]["dtype"]
        groups = [(here, LOSS_TOLERANCE[dtype], key) for key in ("loss_first", "loss_last")]
        if any(one["lora"] for one in here):
            groups.pop()
        groups += [(own, OWN_TOLERANCE[dtype], key) for key in ("loss_first", "loss_last")]
        told = (_difference(some, key, tolerance) for some, tolerance, key in groups)
        found += [f"{case}: {line}" for line in dict.fromkeys(told) if line]
    return found


def _difference(runs: list[Run], key: str, tolerance: float) -> str:
    values: dict[str, list[float]] = {}
    for one in runs:
        values.setdefault(one["tool"], []).append(one[key])
    every = [value for some in values.values() for value in some]
    # A loss that is no number is no agreement: every comparison with it is false.
    if not every or (all(map(math.isfinite, every)) and max(every) - min(every) <= tolerance):
        return ""
    return f"{key} differs by more than {tolerance:g}: {values}"


def warnings(runs: list[Run]) -> list[str]:
    """One line a disturbed round, and one a case that has no other."""
    lines = {}
    for one in disturbed(runs):
        lines.setdefault(_round_of(one), []).append(
            f"{one['tool']} {one['times_as_fast_as_the_bound']:.2f} times as fast as the bound"
            f" (load average before: {one['load_average']})"
        )
    told = [
        f"disturbed, left out of the medians: {case}, round {number + 1}: {', '.join(tools)}"
        for (case, number), tools in lines.items()
    ]
    left = {one["case"] for one in undisturbed(runs)}
    cases = dict.fromkeys(case for case, _ in lines)
    return [
        *told,
        *(f"no figure for {case}: no round was undisturbed" for case in cases if case not in left),
    ]


def table(runs: list[Run]) -> str:
    """What is read first: one line a tool and case, medians of the rounds that count."""
    lines = [
        "| case | tool | pairs/s | tokens/s | peak MB | Truing: times as fast | Truing: memory |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    against = {(one["case"], one["tool"]): one for one in ratios(runs)}
    counted = undisturbed(runs)
    for case, tool in dict.fromkeys((one["case"], one["tool"]) for one in counted):
        here = [one for one in counted if (one["case"], one["tool"]) == (case, tool)]
        keys = ("pairs_per_s", "tokens_per_s", memory_of(here))
        speed, tokens, memory = (statistics.median(one[key] for one in here) for key in keys)
        ratio = against.get((case, tool))
        times, share = (_times(ratio), ratio["share_of_memory"]) if ratio else ("", "")
        lines.append(
            f"| {case} | {tool} | {speed:.3f} | {tokens:.0f} | {memory:.0f} | {times} | {share} |"
        )
    return "\n".join(lines)


def _times(ratio: dict[str, Any]) -> str:
    lowest, highest = ratio["range"]
    spread = f" ({lowest:.2f}-{highest:.2f})" if ratio["rounds"] > 1 else ""
    return f"{ratio['times_as_fast']:.2f}{spread}"


def report(runs: list[Run]) -> str:
    """The table, the savings of shared prompts and the rounds that do not count, as Markdown."""
    parts = [table(runs)]
    saved = list(savings(runs))
    if saved:
        lines = [
            "| case | tokens, packed | tokens, shared | saved in tokens | saved in time "
            "| tokens ** 0.8 | reached |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        lines += [
            f"| {one['case']} | {one['tokens_packed']} | {one['tokens_shared']} "
            f"| {one['saving_of_tokens']:.2f} | {one['saving_of_time']:.2f} "
            f"| {one['saving_of_tokens_to_the_0.8']:.2f} | {'yes' if one['reached'] else 'no'} |"
            for one in saved
        ]
        parts.append("\n".join(lines))
    told = warnings(runs)
    if told:
        parts.append("\n".join(f"* {line}" for line in told))
    return "\n\n".join(parts)
