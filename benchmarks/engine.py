"""How fast and in how much memory Truing trains, beside others, on the same rows.

    python benchmarks/engine.py --quick --json out.json     # one case, under 6 minutes on 2 cores
    python benchmarks/engine.py --rounds 3 --json out.json  # all cases
    python benchmarks/engine.py --from-json a.json b.json   # what kept files say together

Every tool is a process of its own that prints one JSON line. Tools run in turns; ratios are taken
inside a round and their median is shown, so that a slow minute of the machine hits both sides.
Tools whose losses differ compute different things: then the benchmark fails. A round in which a
tool beats the lower bound of time was disturbed and counts for nothing.
"""

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import figures
from cases import CASES, GPU_CASES, QUICK, ROUND, Case, Tool, usable_rows
from figures import Run
from peers import PREFERENCES, vocabulary_of
from peers import bench_common as common

LIMIT_S = 3600


def run(tool: Tool, options: list[str], device: str = "cpu") -> Run:
    """The last JSON object that the tool prints, with its name, command and the load before it."""
    command = [sys.executable, *tool.command, *options]
    # A trainer takes a GPU where it sees one.
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    load = round(os.getloadavg()[0], 2)
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env={**os.environ, **hidden},
    )
    for line in reversed(done.stdout.splitlines()):
        if line.startswith("{"):
            more = {"tool": tool.name, "command": shlex.join(command), "load_average": load}
            return {**json.loads(line), **more}
    raise SystemExit(f"no JSON line from {shlex.join(command)}\n{done.stderr[-3000:]}")


def options_of(case: Case, args: argparse.Namespace, folder: Path) -> list[str]:
    """The options that every tool of the case gets."""
    if not case.is_there:
        raise SystemExit(f"{case.model_path} is not there: `make models` puts it there")
    source = CASES["hh-15m"].data if case.in_order else case.data
    own = str(case.model_path) if case.model_path.is_dir() else None
    vocabulary = vocabulary_of(case.model_path)
    tokenizer = common.load_tokenizer(own, str(PREFERENCES / source), vocabulary)
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
                about = {"case": name, "round": number, "in_order": case.in_order}
                found = {**run(tool, options, args.device), **about}
                tell(
                    f"{name}, round {number + 1}, {tool.name}: {found['pairs_per_s']} pairs/s, "
                    f"load average before {found['load_average']}"
                )
                yield found


def write(path: Path, runs: list[Run]) -> None:
    """What was found so far: an hour of runs is not lost with the last one."""
    found = {
        "date": date.today().isoformat(),
        "command": shlex.join(["python", "benchmarks/engine.py", *sys.argv[1:]]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "runs": runs,
        "ratios": list(figures.ratios(runs)),
        "savings": list(figures.savings(runs)),
        "disturbed": figures.disturbed(runs),
        "warnings": figures.warnings(runs),
        "disagreements": figures.disagreements(runs),
    }
    path.write_text(json.dumps(found, indent=1) + "\n")


def kept(paths: list[Path]) -> list[Run]:
    """The runs of files that were written before; a case's rounds count on from file to file."""
    runs: list[Run] = []
    for path in paths:
        found = json.loads(path.read_text())
        told = (found.get(key) for key in ("date", "command", "machine"))
        print(", ".join(one for one in told if one))
        rounds = Counter(case for case, _ in {(one["case"], one["round"]) for one in runs})
        runs += [{**one, "round": one["round"] + rounds[one["case"]]} for one in found["runs"]]
    print()
    return runs


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
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
    parser.add_argument(
        "--from-json",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="tell what kept runs say together, and run nothing",
    )
    return parser.parse_args()


def chosen_cases(args: argparse.Namespace) -> dict[str, Case]:
    """The cases to run, less those whose weights are not there."""
    if args.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise SystemExit("--device cuda: torch finds no CUDA device on this machine")
        if args.quick or not GPU_CASES.keys() >= set(args.case or ()):
            raise SystemExit(f"--device cuda: its cases are {', '.join(GPU_CASES)}")
    if args.quick:
        return {"quick": QUICK}
    cases = dict(GPU_CASES if args.device == "cuda" else CASES)
    if args.case:
        cases = {name: {**CASES, **GPU_CASES}[name] for name in args.case}
    for name in [name for name, case in cases.items() if not case.is_there]:
        path = cases.pop(name).model_path
        tell(f"{name} is left out: {path} is not there (`make models` puts it there)")
    return cases


def main() -> None:
    args = arguments()
    if args.tool:
        args.tool.append("truing")
    runs: list[Run] = []
    if args.from_json:
        runs = kept(args.from_json)
    else:
        for name, case in chosen_cases(args).items():
            for found in measure(name, case, args):
                runs.append(found)
                if args.json:
                    write(args.json, runs)
    print(figures.report(runs))
    wrong = figures.disagreements(runs)
    if wrong:
        raise SystemExit("\n".join(["the tools do not compute the same thing:", *wrong]))


if __name__ == "__main__":
    main()
