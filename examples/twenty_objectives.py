"""Twenty objectives on the same pairs: what each of them improved on the embedded world.

python examples/twenty_objectives.py                     about ten minutes on two cores
python examples/twenty_objectives.py --only "dpo(beta=1.0)" --pairs 64 --prompts 32

The start is sampled, the best and the worst response to each prompt become a pair (the label drawn,
so some are wrong), every objective trains one epoch on the same pairs, and each trained policy
responds to prompts that nobody trained on. The knobs are sized for this world, whose responses have
35 tokens; the table is a tour of the catalogue, not a ranking: one seed, one learning rate.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from random import Random

import numpy as np
import torch
from transformers.utils.logging import disable_progress_bar

from truing import train
from truing.engine.models import load_model, load_tokenizer
from truing.evaluation.generations import evaluate_generations
from truing.jobs.demo import Asked, draw_pairs
from truing.responses import Sampling, sample
from truing.world import assess, model_folder, prompts

OBJECTIVES = (
    "dpo(beta=1.0)",
    "ipo(beta=0.2, average=False)",
    "averaged(dpo(beta=35.0))",
    "sampo(beta=1.0, keep_end=True)",
    "odpo(beta=1.0, alpha=0.5)",
    "minor_dpo(beta=1.0)",
    "r_dpo(beta=1.0, alpha=0.02)",
    "dpop(beta=1.0, lam=1.0)",
    "rpo(beta=1.0, eta=0.02)",
    "cdpo(beta=1.0, epsilon=0.1)",
    "dr_dpo(beta=1.0)",
    "hinge(beta=0.5)",
    "chi2po(beta=0.5)",
    "exo(beta=1.0, epsilon=0.05)",
    "nca(beta=0.5)",
    "apo_zero(beta=0.5)",
    "kto(beta=0.5)",
    "wpo(beta=1.0)",
    "simpo(beta=10.0, gamma=1.0)",
    "dpo(beta=1.0) + 0.2*sft()",
)
COLUMNS = ("score gain", "win rate", "accuracy", "drift chosen", "length")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--only", action="append", help="an expression; may be repeated")
    arguments.add_argument("--pairs", type=int, default=400)
    arguments.add_argument("--prompts", type=int, default=200, help="unseen ones")
    options = arguments.parse_args()
    disable_progress_bar()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), options.pairs, options.prompts)
        print(f"the start: score {world.before.score.mean():.2f}, {world.length:.0f} tokens")
        print(f"{'':32}{''.join(f'{name:>14}' for name in COLUMNS)}   improved")
        for number, expression in enumerate(options.only or OBJECTIVES):
            print(f"{expression:32}{world.trained_by(expression, number)}", flush=True)
    print(f"in {time.monotonic() - begin:.0f} s; intervals are 95 % over the unseen prompts")


class World:
    """Pairs for training, held-out pairs, and unseen prompts with the start's responses."""

    def __init__(self, folder: Path, num_pairs: int, num_prompts: int) -> None:
        self.folder = folder
        self.tokenizer = load_tokenizer(str(model_folder()))
        self.unseen = prompts("test")[:num_prompts]
        start = load_model(str(model_folder()), torch.float32)
        for name, asked in (
            ("pairs", prompts("train")[:num_pairs]),
            ("held_out", prompts("test")[-num_prompts // 2 :]),
        ):
            pairs = draw_pairs(self.ask(start, asked, 4), 0.5, Random(0))
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(p) + "\n" for p in pairs))
        self.before = self.ask(start, self.unseen, 1).generations()
        self.length = float(np.mean(self.before.length))

    def ask(self, model: object, asked: object, number: int) -> Asked:
        """Sample and judge; equal seeds give equal noise to every policy."""
        ids = self.tokenizer([prompt.text for prompt in asked])["input_ids"]
        responses = sample(model, self.tokenizer, ids, sampling=Sampling(num_responses=number))
        judged = [
            [assess(prompt, one.text, finished=one.finished) for one in group]
            for prompt, group in zip(asked, responses, strict=True)
        ]
        return Asked(asked, ids, responses, judged)

    def trained_by(self, expression: str, number: int) -> str:
        """A line of the table."""
        result = train(
            model=str(model_folder()),
            data=str(self.folder / "pairs.jsonl"),
            objective=expression,
            output=str(self.folder / f"run{number}"),
            learning_rate=5e-4,
            pairs_per_step=16,
            evaluation={"data": str(self.folder / "held_out.jsonl")},
            trainer={"save_strategy": "no"},
        )
        policy = load_model(str(result.output), torch.float32)
        after = self.ask(policy, self.unseen, 1).generations()
        found = evaluate_generations(after, self.before).to_json()
        last = (result.output / "metrics.jsonl").read_text().splitlines()
        steps = [json.loads(line) for line in last if '"loss"' in line]
        drift = np.mean([step.get("logps_drift/chosen", np.nan) for step in steps[-10:]])
        cells = (
            f"{found['score_gain']:+.2f} ±{interval(found, 'score_gain'):.2f}",
            f"{found['win_rate']:.2f} ±{interval(found, 'win_rate'):.2f}",
            f"{result.evaluation['reward_accuracy']:.2f}",
            "no reference" if np.isnan(drift) else f"{drift:+.1f} nats",
            f"{found['length']:.0f} tokens",
        )
        gains = {
            "score": found["score_gain_low"] > 0,
            "win rate": found["win_rate_low"] > 0.5,
            "ranking of unseen pairs": result.evaluation["reward_accuracy_low"] > 0.5,
            "likelihood of the chosen": drift > 0,
        }
        improved = ", ".join(name for name, is_better in gains.items() if is_better)
        return f"{''.join(f'{cell:>14}' for cell in cells)}   {improved or 'nothing beyond noise'}"


def interval(found: dict, name: str) -> float:
    return (found[f"{name}_high"] - found[f"{name}_low"]) / 2


if __name__ == "__main__":
    main()
