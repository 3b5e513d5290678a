"""How far the forecast of memory is from what a run takes.

    python benchmarks/memory.py --json memory.json

Each case and engine is a run of its own of some steps. What is compared is the growth over the
loaded model: the highest resident memory of training less that with the model loaded, against the
forecast's parts but the weights. Fails where one is further off than a quarter.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from cases import CASES, TRUING, TRUING_PACKED, TRUING_PADDED, Case, Tool
from engine import options_of, run

FAR = 0.25
STEPS = 3
TOOLS = {"shared": TRUING, "packed": TRUING_PACKED, "padded": TRUING_PADDED}


def measure(name: str, case: Case, engine: str, threads: int) -> dict[str, Any]:
    """Growth and forecast of one run, in MB."""
    args = argparse.Namespace(max_length=1024, threads=threads, lr=5e-6)
    few = Case(**{**vars(case), "pairs": STEPS * case.batch, "skip_steps": 0})
    with tempfile.TemporaryDirectory(prefix="truing-memory-") as folder:
        tool: Tool = TOOLS[engine]
        line = run(tool, options_of(few, args, Path(folder)))
    told = {part: size for part, size in line["forecast_mb"].items() if part != "weights"}
    growth = line["peak_rss_mb"] - line["loaded_rss_mb"]
    return {
        "case": name,
        "engine": engine,
        "growth_mb": round(growth, 1),
        "forecast_mb": round(sum(told.values()), 1),
        "ratio": round(sum(told.values()) / growth, 3),
        "parts_mb": told,
        "loaded_mb": line["loaded_rss_mb"],
        "torch": line["versions"]["torch"],
    }


def table(found: list[dict[str, Any]]) -> str:
    lines = [
        "| case | engine | growth over the loaded model, MB | forecast, MB | forecast / growth |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in found:
        lines.append(
            f"| {one['case']} | {one['engine']} | {one['growth_mb']:.0f} "
            f"| {one['forecast_mb']:.0f} | {one['ratio']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--case", action="append", choices=CASES, help="default: all")
    parser.add_argument("--engine", action="append", choices=TOOLS, help="default: all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="all figures")
    args = parser.parse_args()
    found = []
    for name in args.case or CASES:
        for engine in args.engine or TOOLS:
            found.append(measure(name, CASES[name], engine, args.threads))
            print(json.dumps(found[-1]), flush=True)
    print(table(found))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    far = [one for one in found if abs(one["ratio"] - 1) > FAR]
    if far:
        raise SystemExit(f"{len(far)} of {len(found)} forecasts are further off than a quarter")


if __name__ == "__main__":
    main()
