"""The verbs as they are typed: wrong usage is told before anything is loaded."""

import re
import shutil

import pytest
from typer.testing import CliRunner

from truing.cli.app import app


def usage(*arguments):
    found = CliRunner().invoke(app, arguments)
    return found.exit_code, " ".join(found.output.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "run", "--score", "world()"], "no effect without --prompts"),
        (["evaluate", "run", "--number", "3"], "no effect without --prompts"),
        (["evaluate", "run", "--max-new-tokens", "3"], "no effect without --prompts"),
        (["compare", "a", "b", "--seed", "3"], "no effect without --prompts"),
        (["compare", "a", "b", "--prompts", "world", "--judgements", "x"], "takes --baseline only"),
        (["compare", "a", "b", "--baseline", "x"], "no effect without --judgements"),
        (["compare", "a", "b", "--judgements", "x"], "takes --baseline only"),
    ],
)
def test_an_option_without_effect_is_wrong_usage(arguments, words):
    code, output = usage(*arguments)
    assert code == 2
    assert words in output


def test_a_run_is_shown_by_length_difference(world_runs, world_rows):
    code, output = usage(
        "evaluate", str(world_runs["dpo"]), "--data", str(world_rows / "held.jsonl")
    )
    assert code == 0
    assert "chosen − rejected, tokens" in output
    assert "by log p, per token" in output


def test_few_runs_are_shown_with_intervals_and_many_without(world_runs, world_rows, tmp_path):
    data = ["--data", str(world_rows / "held.jsonl"), "--output", str(tmp_path / "page.html")]
    runs = [str(run) for run in world_runs.values()]
    code, output = usage("compare", *runs, *data)
    assert code == 0
    assert re.search(r"Reward accuracy \S+% \(\S+% to \S+%\)", output)
    shutil.copytree(runs[0], tmp_path / "fourth")
    code, output = usage("compare", *runs, str(tmp_path / "fourth"), *data)
    assert code == 0
    assert re.search(r"Reward accuracy \S+% \S+% \S+% \S+% ", output)
