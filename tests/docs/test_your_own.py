"""The worked example of a method of your own: one file, one line, nothing else."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .test_blocks import ROOT, following

LINE = "from truing.recipes.cauchy import cauchy_dpo"
PROGRAM = """
import json
from truing.recipes import cauchy_dpo, parse, shelf
from truing.testing import check_recipe

check_recipe(cauchy_dpo)
entry = next(entry for entry in shelf() if entry.name == "cauchy_dpo")
print(json.dumps([repr(parse("cauchy_dpo(beta=0.5) + 0.2*sft()")), entry.formula, entry.idea]))
"""


def test_a_method_is_one_short_file_and_one_line(tmp_path):
    code = following("your own")
    assert len(code.splitlines()) < 40
    assert LINE in (ROOT / "docs" / "objectives.md").read_text(encoding="utf-8")
    package = tmp_path / "truing"
    shutil.copytree(ROOT / "truing", package, ignore=shutil.ignore_patterns("start", "__pycache__"))
    (package / "recipes" / "cauchy.py").write_text(code)
    with (package / "recipes" / "__init__.py").open("a") as init:
        init.write(f"{LINE}\n")
    answer = run(PROGRAM, tmp_path)
    assert answer[0] == "cauchy_dpo(beta=0.5) + 0.2*sft()"
    assert "log(1 + " in answer[1][0]
    assert answer[2].startswith("DPO with a target")


def run(program: str, folder: Path):
    """What a fresh Python prints that imports the package of this folder."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
