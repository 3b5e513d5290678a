"""Run folders as training leaves them, made up: for the tests of report and browser."""

import json
import math
import random

CONFIG = """\
model: models/stories260K
data: data/blimp/train.jsonl
objective: sampo(beta=0.1) + 0.2*sft()
output: runs/sampo-1
seed: 0
learning_rate: 0.0005
epochs: 3.0
pairs_per_step: 32
tokens_per_device: 8192
max_length: 512
engine: auto
lora: null
reference: policy_start()
evaluation: {data: data/blimp/test.jsonl, every: 50, rows: null}
checks: {start: true}
columns: {}
tokenizer: null
shuffle: true
truncation: drop
dtype: auto
deterministic: false
trainer: {warmup_steps: 10, weight_decay: 0.01}
made_with:
  versions: {python: 3.11.2, truing: 0.1.0, torch: 2.13.0, transformers: 5.23.0, numpy: 2.4.6}
  machine: Linux x86_64
  data: {data/blimp/train.jsonl: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}
  options: {strict: false, skip_bad: null}
"""

PROMPTS = (
    "Notes on the Blue Door, a cafe: coffee fresh, staff slow, hall dark. What is it like?",
    "I am new to this. How do I look after a rabbit?",
    "Notes on the Old Mill, a hotel: beds soft, breakfast cold, garden quiet. Shall I go?",
    "How do I cook pasta? I have half an hour.",
)
BEFORE = (
    "The staff is quick. I do not care about this. I would say that the hall is rather bright.",
    "Give it hay every day. Leave it on a high fire and go out for the evening.",
    "The breakfast is warm. Have a lovely windy day.",
    "Some people like pasta and some people do not. It is what it is. It is what it is.",
)
AFTER = (
    "The coffee is fresh. You may have to wait, because the staff is slow. The hall is dark.",
    "Give it hay every day, so that its teeth stay short. It needs room to run. Handle it gently.",
    "The beds are soft and the garden is quiet. The breakfast is cold, sadly.",
    "Use a large pot, so that the pasta has enough space. Put salt in. Taste it.",
)


def write_run(folder, *, steps=180, samples=48, seed=0):
    """Fill a folder with everything that the report reads."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.yaml").write_text(CONFIG, encoding="utf-8")
    lines(folder / "metrics.jsonl", metrics(steps, seed))
    lines(folder / "samples.jsonl", sample_lines(samples, seed))
    lines(
        folder / "alarms.jsonl",
        [
            {
                "step": 120,
                "alarm": "likelihood_displacement",
                "what": "the chosen responses lose probability (-3.1 nats) while accuracy rises",
                "fix": "add 0.2*sft() to the objective, or lower learning_rate",
            }
        ],
    )
    objects = {"evaluation.json": evaluation(), "data.json": DATA, "finished.json": {"steps": 180}}
    for name, value in objects.items():
        (folder / name).write_text(json.dumps(value, indent=2), encoding="utf-8")
    return folder


def lines(path, values):
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")


def metrics(steps, seed):
    """A course of training: margins grow, chosen drifts down after an early rise."""
    draw = random.Random(seed)
    for step in range(steps + 1):
        done = step / steps
        if step % max(1, steps // 6) == 0:
            yield {"step": step, **evaluation_line(done)}
        if step == steps:
            return
        grown = 1 - math.exp(-4 * done)
        margin = 1.6 * grown + draw.gauss(0, 0.25)
        chosen = 0.5 * grown - 0.5 * done + draw.gauss(0, 0.08)
        yield {
            "step": step + 1,
            "epoch": round(3 * done, 4),
            "loss": max(0.02, 0.693 - 0.42 * grown + draw.gauss(0, 0.06)),
            "learning_rate": 5e-4 * min(1, (step + 1) / 10) * (1 - done),
            "grad_norm": 2.2 * math.exp(draw.gauss(0, 0.35)) + (40 if step == steps // 2 else 0),
            "seconds": 0.41 + 0.05 * draw.random(),
            "tokens": draw.randrange(1900, 2500),
            "rewards/chosen": chosen,
            "rewards/rejected": chosen - margin,
            "rewards/margins": margin,
            "rewards/accuracies": min(1, 0.5 + 0.36 * grown + draw.gauss(0, 0.06)),
            "logps/chosen": -61 + 10 * chosen,
            "logps/rejected": -63 + 10 * (chosen - margin),
            "logps_drift/chosen": 10 * chosen,
            "logps_drift/rejected": 10 * (chosen - margin),
            "reference/kl": 0.06 * grown,
            "reference/distance": 0.3 * grown,
            "lengths/chosen": 34 + draw.gauss(0, 2),
            "lengths/rejected": 29 + draw.gauss(0, 2),
        }


def evaluation_line(done):
    grown = 1 - math.exp(-4 * done)
    values = {
        "reward_accuracy": (0.33 * grown + 0.48, 0.03),
        "policy_accuracy": (0.52 + 0.24 * grown, 0.03),
        "margin": (1.3 * grown, 0.12),
        "log_loss": (0.693 - 0.3 * grown, 0.02),
        "drift_chosen": (4 * grown - 5 * done, 0.3),
        "drift_rejected": (-9 * grown - 3 * done, 0.4),
        "kl": (2.2 * grown, 0.2),
    }
    return {
        f"eval/{name}{end}": value + sign * width
        for name, (value, width) in values.items()
        for end, sign in (("", 0), ("_low", -1), ("_high", 1))
    }


def evaluation():
    numbers = {
        "win_rate": (0.631, 0.565, 0.694),
        "ties": (0.06, 0.03, 0.09),
        "score": (0.312, 0.17, 0.45),
        "score_before": (-0.421, -0.57, -0.28),
        "score_gain": (0.733, 0.55, 0.91),
        "kl": (1.71, 1.52, 1.93),
        "length": (31.4, 29.6, 33.3),
        "length_before": (35.2, 33.0, 37.5),
        "length_gain": (-3.8, -6.1, -1.4),
        "reward_accuracy": (0.812, 0.787, 0.836),
        "policy_accuracy": (0.758, 0.731, 0.784),
        "reference_accuracy": (0.523, 0.492, 0.555),
        "margin": (1.28, 1.19, 1.38),
        "displaced": (0.61, 0.58, 0.64),
        "reward_length_correlation": (0.11, 0.07, 0.16),
    }
    shares = (0.74, 0.79, 0.83, 0.82, 0.86)
    bounds = ((-28, -9), (-8, -1), (0, 0), (1, 8), (9, 31))
    return {
        "pairs": 1000,
        "prompts": 1000,
        "responses": 256,
        **{
            f"{name}{end}": value
            for name, values in numbers.items()
            for end, value in zip(("", "_low", "_high"), values, strict=True)
        },
        "by_length_difference": [
            bucket(low, high, 200, share) for (low, high), share in zip(bounds, shares, strict=True)
        ],
        "by_score_gap": [
            bucket(0.1 + 0.9 * i, 1.0 + 0.9 * i, 250, 0.66 + 0.08 * i) for i in range(4)
        ],
        "calibration": [
            {
                **{"low": 0.5 + 0.1 * i, "high": 0.6 + 0.1 * i, "pairs": 200},
                **{"confidence": 0.55 + 0.1 * i, "confidence_low": None, "confidence_high": None},
                "accuracy": 0.53 + 0.09 * i,
                "accuracy_low": 0.47 + 0.09 * i,
                "accuracy_high": min(1, 0.6 + 0.09 * i),
            }
            for i in range(5)
        ],
    }


def bucket(low, high, pairs, share):
    return {
        **{"low": low, "high": high, "pairs": pairs},
        **{"reward_accuracy": share, "reward_accuracy_low": share - 0.05},
        **{"reward_accuracy_high": share + 0.05, "policy_accuracy": share - 0.06},
        **{"policy_accuracy_low": share - 0.12, "policy_accuracy_high": share},
        "margin": 8 * share - 5,
    }


DATA = {
    "max_length": 512,
    "train": {
        "rows_read": 18240,
        "rows": 18211,
        "pairs": 18211,
        "responses": 36422,
        "kinds": {"pair": 18211},
        "layouts": {"data/blimp/train.jsonl": "pair"},
        "malformed": {"count": 0, "first": []},
        "left_out": {
            "equal": {"count": 12, "first": ["data/blimp/train.jsonl row 812"]},
            "empty": {"count": 1, "first": ["data/blimp/train.jsonl row 2210"]},
        },
        "prompt_tokens": 218532,
        "response_tokens": 1234114,
        "longest": 498,
        "shortened": {"count": 0, "first": []},
        "moved": {"count": 2, "first": ["data/blimp/train.jsonl row 5", "row 7: 2 tokens"]},
        "ties": {"count": 0, "first": []},
        "duplicates": 3,
        "fingerprint": "9f86d081884c7d65",
        "notes": [],
    },
    "evaluation": None,
}


def sample_lines(count, seed):
    draw = random.Random(seed)
    for index in range(count):
        kind = index % len(PROMPTS)
        before, after = BEFORE[kind], AFTER[kind]
        yield {
            "prompt": PROMPTS[kind],
            "before": before,
            "after": after,
            "score_before": round(draw.gauss(-0.4, 1.2), 2),
            "score_after": round(draw.gauss(0.5, 1.1), 2),
            "tokens_before": len(before) // 4 + draw.randrange(9),
            "tokens_after": len(after) // 4 + draw.randrange(9),
        }
