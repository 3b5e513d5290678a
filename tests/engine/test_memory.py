"""A training process does not fetch its memory anew at every step."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from truing.engine.memory import keep_freed_memory
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def cost():
    before = faults()
    for _ in range(10):
        torch.ones(2**22)
    return faults() - before
cost(); before = cost(); assert keep_freed_memory(); cost(); print(before, cost())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_used_again():
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], check=True, capture_output=True, text=True
    )
    before, after = map(int, done.stdout.split())
    assert after * 10 < before
