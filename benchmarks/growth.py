"""How the engine's cost grows with prompt length, responses per prompt, vocabulary and model size.

    python benchmarks/growth.py --json growth.json --plots docs/images

One figure an axis, everything else held at the base case: seconds of forward and backward a row,
for the engines shared, packed and padded. Rows are random tokens of exact lengths, so that a figure
shows the axis and nothing else; `engine.py` beside this file measures real rows in real steps.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from transformers import LlamaConfig, LlamaForCausalLM

from truing.engine import ENGINES as BY_NAME
from truing.engine.forward import install
from truing.engine.logps import Wanted

ROWS = 2
# `auto` is one of these three.
ENGINES = {name: BY_NAME[name] for name in ("shared", "packed", "padded")}
LOOKS = {"shared": ("#00735a", "o-"), "packed": ("#0066a6", "s--"), "padded": ("#b84a00", "^:")}


@dataclass(frozen=True)
class Point:
    """One model and one length of rows."""

    prompt: int = 256
    response: int = 96
    responses: int = 2
    vocabulary: int = 32768
    hidden: int = 256
    layers: int = 8


@dataclass(frozen=True)
class Axis:
    """What grows, and how its figure is called."""

    name: str
    title: str
    points: dict[int, Point]


def _along(name: str, values: tuple[int, ...]) -> dict[int, Point]:
    return {value: replace(Point(), **{name: value}) for value in values}


SIZES = ((128, 4), (256, 8), (384, 12), (512, 16))
AXES = (
    Axis("prompt", "tokens of the prompt", _along("prompt", (32, 128, 512, 1536))),
    Axis("responses", "responses to a prompt (K)", _along("responses", (1, 2, 4, 8))),
    Axis("vocabulary", "size of the vocabulary", _along("vocabulary", (4096, 32768, 131072))),
    Axis(
        "parameters",
        "parameters of the model's body",
        {12 * width**2 * depth: Point(hidden=width, layers=depth) for width, depth in SIZES},
    ),
)


@dataclass(frozen=True)
class TokenIds:
    """A row of random tokens."""

    prompt: np.ndarray
    responses: tuple[np.ndarray, ...]


def rows_of(point: Point) -> list[TokenIds]:
    ids = np.random.default_rng(0)

    def draw(count: int) -> np.ndarray:
        return ids.integers(3, point.vocabulary, count, dtype=np.int32)

    return [
        TokenIds(draw(point.prompt), tuple(draw(point.response) for _ in range(point.responses)))
        for _ in range(ROWS)
    ]


def model_of(point: Point) -> LlamaForCausalLM:
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=point.vocabulary,
            hidden_size=point.hidden,
            intermediate_size=8 * point.hidden // 3 // 32 * 32,
            num_hidden_layers=point.layers,
            num_attention_heads=point.hidden // 64,
            num_key_value_heads=point.hidden // 64,
            max_position_embeddings=4096,
            tie_word_embeddings=True,
        )
    )
    install(model)
    return model.train()


def seconds_a_row(engine: Any, model: LlamaForCausalLM, rows: list[TokenIds]) -> float:
    model.zero_grad()
    start = time.perf_counter()
    for indices in engine.plan(rows):
        found = engine.logps(model, [rows[i] for i in indices], Wanted())
        found.logps.sum().backward()
    return (time.perf_counter() - start) / len(rows)


def measure(point: Point, rounds: int) -> dict[str, float]:
    """Median seconds a row of each engine; the engines take turns, the first round warms up."""
    model, rows = model_of(point), rows_of(point)
    found: dict[str, list[float]] = {name: [] for name in ENGINES}
    for number in range(rounds + 1):
        for name, build in ENGINES.items():
            seconds = seconds_a_row(build(32768), model, rows)
            if number:
                found[name].append(seconds)
    return {name: statistics.median(times) for name, times in found.items()}


def draw(axis: Axis, found: list[dict[str, Any]], folder: Path) -> None:
    """One figure, as SVG that is the same bytes for the same numbers."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": axis.name, "svg.fonttype": "none", "font.size": 12})
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure, plot = pyplot.subplots(figsize=(7.2, 4.4), layout="constrained")
    values = [one[axis.name] for one in found]
    for name, (colour, mark) in LOOKS.items():
        times = [1000 * one["seconds_a_row"][name] for one in found]
        plot.plot(values, times, mark, color=colour, lw=2, ms=7, label=name)
    plot.set(xscale="log", yscale="log", xlabel=axis.title, ylabel="milliseconds a row")
    plot.set_title(f"Cost of a row over the {axis.title}", loc="left", fontsize=13)
    plot.set_xticks(values, [in_short(value) for value in values])
    plot.xaxis.set_minor_formatter(NullFormatter())
    plot.tick_params(axis="x", which="minor", length=0)
    # Less than a decade has at most one power of ten: that is no scale.
    plot.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    plot.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    plot.yaxis.set_minor_formatter(NullFormatter())
    plot.grid(alpha=0.3)
    plot.legend(frameon=False)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"growth-{axis.name}.svg", metadata={"Date": None})
    pyplot.close(figure)


def in_short(value: int) -> str:
    """Half a million and more in millions, what is less in full."""
    return f"{value / 1e6:.1f} M" if value >= 5e5 else f"{value:,}"


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="all figures")
    parser.add_argument("--plots", type=Path, help="folder for one SVG an axis")
    parser.add_argument("--from-json", type=Path, help="draw figures that were measured before")
    args = parser.parse_args()
    if args.from_json:
        found = json.loads(args.from_json.read_text())["axes"]
    else:
        torch.set_num_threads(args.threads)
        work = [(axis, value, point) for axis in AXES for value, point in axis.points.items()]
        found = {axis.name: [] for axis in AXES}
        for axis, value, point in track(work, description="measuring"):
            seconds = measure(point, args.rounds)
            found[axis.name].append(
                {axis.name: value, "seconds_a_row": seconds, "point": asdict(point)}
            )
    if args.json:
        command = " ".join(["python", "benchmarks/growth.py", *sys.argv[1:]])
        about = {"command": command, "torch": torch.__version__, "machine": platform.machine()}
        args.json.write_text(json.dumps({**about, "axes": found}, indent=1) + "\n")
    for axis in AXES:
        for one in found[axis.name]:
            times = ", ".join(f"{name} {s:.4f}" for name, s in one["seconds_a_row"].items())
            print(f"{axis.title} {one[axis.name]:,}: {times} s a row")
        if args.plots:
            draw(axis, found[axis.name], args.plots)


if __name__ == "__main__":
    main()
