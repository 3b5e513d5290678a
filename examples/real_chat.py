"""DPO and SamPO, with adapters, on a real chat model and real chat pairs: `make demo-real`.

SmolLM2-135M-Instruct (`make models`) learns from a sample of UltraFeedback: short pairs with a gap
between their scores. Both objectives see the same pairs in the same order; the held-out pairs are
the sample's short test rows and as many of its train rows as it takes, none of which is trained on.
It takes about ten minutes on two free cores, so what it shows is that the way works and how sure
the numbers are, not which method is better.
"""

import argparse
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from truing import train
from truing.cli import console
from truing.engine.models import load_tokenizer

REPOSITORY = Path(__file__).resolve().parents[1]
MODEL = REPOSITORY / "models" / "SmolLM2-135M-Instruct"
SHARED = Path(os.environ.get("TRUING_SHARED", REPOSITORY.parent / "shared"))
PAIRS = SHARED / "data" / "preferences" / "ultrafeedback-sample"

OBJECTIVES = {"dpo": "dpo(beta=0.1)", "sampo": "sampo(beta=0.1)"}
LONGEST = 400  # tokens of the prompt and both responses
LEAST_GAP = 1.0  # of the scores, which run from 1 to 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=None, help="new folder; default real-run")
    parser.add_argument("--pairs", type=int, default=96, help="to train on")
    parser.add_argument("--held-out", type=int, default=48, help="to score")
    parser.add_argument("--samples", type=int, default=6, help="prompts asked before and after")
    given = parser.parse_args()
    refuse_missing()
    output = given.output or next_free(Path("real-run"))
    console.quiet_libraries()
    warnings.simplefilter("ignore", FutureWarning)  # of libraries among themselves
    tokenizer = load_tokenizer(str(MODEL))
    output.mkdir(parents=True)
    pairs = short_pairs([PAIRS / "test.jsonl", PAIRS / "train.jsonl"], tokenizer)
    parts = {
        "test": pairs[: given.held_out],
        "train": pairs[given.held_out : given.held_out + given.pairs],
    }
    for name, lines in parts.items():
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (output / f"{name}.jsonl").write_text(text, encoding="utf-8")
        console.say(f"{len(lines)} {name} pairs of at most {LONGEST} tokens")
    found = {}
    for name, objective in OBJECTIVES.items():
        console.say(f"\n{objective}, adapters of rank 16 on {MODEL.name}")
        found[name] = train(
            model=str(MODEL),
            data=str(output / "train.jsonl"),
            objective=objective,
            output=str(output / name),
            lora={"rank": 16},
            learning_rate=2e-4,
            pairs_per_step=4,
            evaluation={"data": str(output / "test.jsonl"), "samples": given.samples},
            trainer={"save_strategy": "no", "warmup_steps": 0.1},
            progress=console.BARS,
        ).evaluation
    show(output, found)


def refuse_missing() -> None:
    """One sentence and its remedy where something is not there."""
    if not (MODEL / "config.json").is_file():
        sys.exit(f"error: there is no {MODEL}\n  fix: make models")
    if not PAIRS.is_dir():
        sys.exit(
            f"error: there are no chat pairs at {PAIRS}\n"
            "  fix: set TRUING_SHARED to the folder of shared data"
        )


def next_free(folder: Path) -> Path:
    """The folder, or the first with a number behind it that is not taken."""
    number, free = 2, folder
    while free.exists():
        free, number = folder.with_name(f"{folder.name}-{number}"), number + 1
    return free


def short_pairs(paths: list[Path], tokenizer: Any) -> list[dict[str, Any]]:
    """Rows that two cores can train on, whose scores differ; one a prompt."""
    found: dict[str, dict[str, Any]] = {}
    lines = [line for path in paths for line in path.read_text(encoding="utf-8").split("\n")]
    for line in filter(None, lines):
        row = json.loads(line)
        turns = [*row["prompt"], *row["chosen"], *row["rejected"]]
        # A model of this size speaks English.
        is_plain = all(turn["content"].isascii() for turn in turns)
        if not is_plain or row["score_chosen"] - row["score_rejected"] < LEAST_GAP:
            continue
        tokens = [len(tokenizer(turn["content"]).input_ids) for turn in turns]
        if sum(tokens) <= LONGEST and min(tokens) > 3:
            found.setdefault(json.dumps(row["prompt"]), row)
    return list(found.values())


def show(output: Path, found: dict[str, Any]) -> None:
    """Both runs side by side, a response before and after, and where the reports lie."""
    asked = {name: samples(output / name) for name in found}
    rows = [
        ("held-out pairs", *(str(one["pairs"]) for one in found.values())),
        *(
            (title, *(interval(one, key) for one in found.values()))
            for key, title in (
                ("reward_accuracy", "reward accuracy (95 %)"),
                ("margin", "reward margin (95 %)"),
                ("drift_chosen", "log-ratio of chosen, nats"),
                ("drift_rejected", "log-ratio of rejected, nats"),
            )
        ),
        *(
            (f"mean length {when}, tokens", *(mean_length(asked[name], when) for name in found))
            for when in ("before", "after")
        ),
    ]
    console.show_table("", ("measure", *OBJECTIVES.values()), rows)
    first = asked["dpo"][0]
    shown = {
        "prompt": [first["prompt"].split("user\n")[-1].removesuffix("assistant\n")],
        "start": [first["before"]],
        **{OBJECTIVES[name]: [asked[name][0]["after"]] for name in found},
    }
    for title, text in shown.items():
        console.show(f"{title}: {' '.join(' '.join(text).split())[:300]}")
    for name in found:
        console.show(str(output / name / "report.html"))


def interval(numbers: dict[str, Any], key: str) -> str:
    """A number with the ends of its interval."""
    low, high = numbers.get(f"{key}_low"), numbers.get(f"{key}_high")
    ends = f" ({low:.2f} to {high:.2f})" if low is not None and high is not None else ""
    return f"{numbers[key]:.2f}{ends}"


def samples(run: Path) -> list[dict[str, Any]]:
    """What the run's policy said before and after."""
    text = (run / "samples.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def mean_length(asked: list[dict[str, Any]], when: str) -> str:
    """Over the prompts that were asked; a response still unfinished counts as long as it is."""
    lengths = [one[f"tokens_{when}"] for one in asked]
    return f"{sum(lengths) / len(lengths):.0f}"


if __name__ == "__main__":
    main()
