"""Builds pairs in children that are killed at random moments, until one comes to its end.

python killed.py OUTPUT KILLS SEED
"""

import os
import random
import signal
import sys
import time

import torch

from truing.jobs.pairs import build_pairs
from truing.world import model_folder


def build(output: str) -> None:
    """Ten prompts in five shards."""
    build_pairs(
        output,
        policy=str(model_folder()),
        prompts="world(rows=10)",
        sampler="generate(num_responses=2, max_new_tokens=16)",
        scorer="world()",
        select="all_pairs()",
        shard_rows=2,
        keep_cut=True,
    )


def main(output: str, kills: int, seed: int) -> None:
    """Kill so many times, then let it finish; prints how many were killed indeed."""
    torch.set_num_threads(1)
    draw = random.Random(seed)
    began = time.monotonic()
    build(output + ".calm")
    whole_s = time.monotonic() - began
    killed = 0
    while True:
        child = os.fork()
        if child == 0:
            build(output)
            os._exit(0)
        if killed < kills:
            time.sleep(draw.uniform(0, whole_s / 3))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            killed += 1
        elif killed >= kills:
            break
        else:
            kills -= 1  # it had come to its end before
    sys.stdout.write(f"{killed}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
