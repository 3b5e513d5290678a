"""A peer's program on the weights of a folder in place of random ones. Prints its JSON line.

    python benchmarks/peers_with_weights.py peer_trl.py --mode reference --model FOLDER ...

The peers build their model from a configuration, in one function of theirs that knows no folder.
Here that function reads the folder; everything else is theirs.
"""

import runpy
import sys

from peers import BENCH, bench_common, build_model


def main() -> None:
    program = BENCH / sys.argv.pop(1)
    vars(bench_common)["build_model"] = build_model
    runpy.run_path(str(program), run_name="__main__")


if __name__ == "__main__":
    main()
