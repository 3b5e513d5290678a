"""How long a comparison page takes to open, and a table of pairs to be evaluated.

    python benchmarks/compare.py --json compare.json

Five runs with 500 samples each in headless Chromium (`open_s`: load event and every plot in sight
drawn; `drawn_s`: all plots, which follow while one reads; medians of five), and 100,000 pairs with
their bootstrap intervals. Fails where a target is missed: 2 s and 15 MB, 10 s.
"""

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TESTS = Path(__file__).parents[1] / "tests"
TARGETS = {"open_s": 2.0, "page_mb": 15.0, "pairs_s": 10.0}
PAIRS = 100_000


def module(path):
    spec = importlib.util.spec_from_file_location(path.stem + "_of_tests", path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def page_times(folder):
    from truing.report.compare_page import write_comparison

    fake_runs = module(TESTS / "fake_run.py")
    made = module(TESTS / "browser" / "test_compare.py")
    browser_of = module(TESTS / "browser" / "conftest.py")
    comparison = made.made_up(fake_runs, folder, [f"run-{i}" for i in range(5)], 500)
    page = write_comparison(comparison, folder / "compare.html")
    import shutil

    program = next(filter(None, map(shutil.which, browser_of.NAMES)))
    browser = browser_of.Browser(program, folder / "profile")
    opened, drawn = [], []
    for _ in range(5):
        begin = time.perf_counter()
        tab = browser.open(page, until="in sight")
        opened.append(time.perf_counter() - begin)
        tab.settle()
        drawn.append(time.perf_counter() - begin)
        tab.close()
    browser.close()
    times = {"open_s": statistics.median(opened), "drawn_s": statistics.median(drawn)}
    return {**times, "page_mb": page.stat().st_size / 1e6}


def pair_time():
    from truing.evaluation import PairTable, evaluate_pairs

    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 200, (2, PAIRS))
    logps = -1.3 * lengths + rng.normal(0, 5, (2, PAIRS))
    references = logps - rng.normal(0, 3, (2, PAIRS))
    rewards = 0.1 * (logps - references)
    scores = rng.normal(0, 1, (2, PAIRS))
    prompts = rng.integers(0, PAIRS // 2, PAIRS)
    begin, cpu = time.perf_counter(), time.process_time()
    evaluate_pairs(PairTable(*logps, *lengths, *rewards, *references, *scores, prompts))
    # On a busy machine the wall clock waits for others; both are shown, the wall clock counts.
    return {"pairs_s": time.perf_counter() - begin, "pairs_cpu_s": time.process_time() - cpu}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {**pair_time(), **page_times(Path(folder))}
    missed = [name for name, most in TARGETS.items() if found[name] > most]
    for name, value in found.items():
        print(f"{name:12} {value:8.2f}   {f'target {TARGETS[name]:g}' if name in TARGETS else ''}")
    if options.json:
        options.json.write_text(json.dumps({**found, "missed": missed}, indent=2))
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
