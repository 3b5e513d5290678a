"""How fast and in how much memory Truing trains, beside others, on the same rows.

    python benchmarks/engine.py --quick --json out.json     # one case, under 6 minutes on 2 cores
    python benchmarks/engine.py --rounds 3 --json out.json  # all cases

Every tool is a process of its own that prints one JSON line. Tools run in turns; ratios are taken
inside a round and their median is shown, so that a slow minute of the machine hits both sides.
Tools whose losses differ compute different things: then the benchmark fails.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from cases import CASES, GPU_CASES, QUICK, ROUND, Case, Tool, usable_rows
from peers import PREFERENCES
from peers import bench_common as common

# Products in half precision round by as much as this.
LOSS_TOLERANCE = {"float32": 1e-3, "bfloat16": 1e-2}
LIMIT_S = 3600
Run = dict[str, Any]


def run(tool: Tool, options: list[str]) -> Run:
    """The last JSON object that the tool prints, with its name and command."""
    command = [sys.executable, *tool.command, *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=LIMIT_S)
    for line in reversed(done.stdout.splitlines()):
        if line.startswith("{"):
            return {**json.loads(line), "tool": tool.name, "command": shlex.join(command)}
    raise SystemExit(f"no JSON line from {shlex.join(command)}\n{done.stderr[-3000:]}")


def options_of(case: Case, args: argparse.Namespace, folder: Path) -> list[str]:
    """The options that every tool of the case gets."""
    vocabulary = json.loads(case.model_path.read_text())["vocab_size"]
    source = CASES["hh-15m"].data if case.in_order else case.data
    tokenizer = common.load_tokenizer(None, str(PREFERENCES / source), vocabulary)
    tokenizer.save_pretrained(folder / "tokenizer")
    data = usable_rows(case, tokenizer, args.max_length, folder)
    numbers: Mapping[str, Any] = {
        "data": data,
        "model": case.model_path,
        "tokenizer": folder / "tokenizer",
        "pairs": case.pairs,
        "batch": case.batch,
        "skip-steps": case.skip_steps,
        "max-length": args.max_length,
        "threads": args.threads,
        "lora": case.lora,
        "lr": args.lr,
        "dtype": case.dtype,
    }
    return [*(f"--{name}={value}" for name, value in numbers.items()), *case.options]


def measure(name: str, case: Case, args: argparse.Namespace) -> Iterator[Run]:
    """All rounds of a case, each run as it ends."""
    with tempfile.TemporaryDirectory(prefix="truing-bench-") as folder:
        options = options_of(case, args, Path(folder))
        for number in range(args.rounds):
            for tool in (one for one in case.tools if one.name in (args.tool or [one.name])):
                found = {**run(tool, options), "case": name, "round": number}
                tell(f"{name}, round {number + 1}, {tool.name}: {found['pairs_per_s']} pairs/s")
                yield found


def write(path: Path, runs: list[Run]) -> None:
    """What was found so far: an hour of runs is not lost with the last one."""
    found = {
        "date": date.today().isoformat(),
        "command": shlex.join(["python", "benchmarks/engine.py", *sys.argv[1:]]),
        "runs": runs,
        "ratios": list(ratios(runs)),
        "disagreements": disagreements(runs),
    }
    path.write_text(json.dumps(found, indent=1) + "\n")


def ratios(runs: list[Run]) -> Iterator[dict[str, Any]]:
    """Truing against each other tool: medians over the rounds of ratios of medians in a round."""
    cases = dict.fromkeys(one["case"] for one in runs)
    for case in cases:
        here = [one for one in runs if one["case"] == case]
        rounds = {one["round"] for one in here if one["tool"] == "truing"}
        here = [one for one in here if one["round"] in rounds]
        for tool in dict.fromkeys(one["tool"] for one in here):
            if tool == "truing":
                continue
            speed, memory = (_against(here, tool, key) for key in ("pairs_per_s", _memory_of(here)))
            yield {
                "case": case,
                "tool": tool,
                "times_as_fast": round(statistics.median(speed), 3),
                "range": [round(min(speed), 3), round(max(speed), 3)],
                "share_of_memory": round(statistics.median(memory), 3),
            }


def _memory_of(runs: list[Run]) -> str:
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


def disagreements(runs: list[Run]) -> list[str]:
    """Tools of a case whose losses are not the same."""
    found = []
    for case in dict.fromkeys(one["case"] for one in runs):
        here = [one for one in runs if one["case"] == case and "loss_first" in one]
        # Adapters start differently in every tool: after the first step the losses part.
        keys = ["loss_first"] if here[0]["lora"] else ["loss_first", "loss_last"]
        for key in keys:
            values = {one["tool"]: one[key] for one in here}
            if max(values.values()) - min(values.values()) > LOSS_TOLERANCE[here[0]["dtype"]]:
                found.append(f"{case}: {key} differs: {values}")
    return found


def table(runs: list[Run]) -> str:
    """What is read first: one line a tool and case."""
    lines = [
        "| case | tool | pairs/s | tokens/s | peak MB | Truing: times as fast | Truing: memory |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    against = {(one["case"], one["tool"]): one for one in ratios(runs)}
    for case, tool in dict.fromkeys((one["case"], one["tool"]) for one in runs):
        here = [one for one in runs if (one["case"], one["tool"]) == (case, tool)]
        keys = ("pairs_per_s", "tokens_per_s", _memory_of(here))
        speed, tokens, memory = (statistics.median(one[key] for one in here) for key in keys)
        ratio = against.get((case, tool), {"times_as_fast": "", "share_of_memory": ""})
        lines.append(
            f"| {case} | {tool} | {speed:.3f} | {tokens:.0f} | {memory:.0f} "
            f"| {ratio['times_as_fast']} | {ratio['share_of_memory']} |"
        )
    return "\n".join(lines)


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="HH with the 15M shape, one round")
    parser.add_argument("--case", action="append", choices=[*CASES, *GPU_CASES], help="only this")
    parser.add_argument(
        "--tool", action="append", choices=[one.name for one in ROUND], help="beside truing"
    )
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--max-length", type=int, default=1024)
    parser.add_argument("--lr", type=float, default=1e-5)
    parser.add_argument("--json", type=Path, help="every tool's own line, and the ratios")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    if args.tool:
        args.tool.append("truing")
    cases = dict(GPU_CASES if args.device == "cuda" else CASES)
    if args.case:
        cases = {name: {**CASES, **GPU_CASES}[name] for name in args.case}
    if args.quick:
        cases = {"quick": QUICK}
    runs: list[Run] = []
    for name, case in cases.items():
        for found in measure(name, case, args):
            runs.append(found)
            if args.json:
                write(args.json, runs)
    wrong = disagreements(runs)
    print(table(runs))
    if wrong:
        raise SystemExit("\n".join(["the tools do not compute the same thing:", *wrong]))


if __name__ == "__main__":
    main()
