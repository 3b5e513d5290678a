"""Where the words go: terminals of any width, pipes, files, and a shell that completes."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from truing.cli.console import number
from truing.jobs.chat import open_conversation
from truing.responses import Sampling
from truing.world import model_folder, prompts

COMMAND = [sys.executable, "-m", "truing"]
WRONG = ("train", "learnig_rate=1", "data=x")  # answered before torch is imported
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9]m")


def at_terminal(*arguments, columns=80, **environment):
    """A command at a terminal of so many columns: what it showed."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    wanted = {"TERM": "xterm-256color", **environment}
    left_out = {"NO_COLOR", "FORCE_COLOR", "COLUMNS"} - set(wanted)
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={k: v for k, v in os.environ.items() if k not in left_out} | wanted,
    )
    os.close(theirs)
    shown = b""
    while piece := _read(ours):
        shown += piece
    os.close(ours)
    process.wait(timeout=60)
    return shown.decode()


def _read(handle):
    try:
        return os.read(handle, 4096)
    except OSError:  # the other end is closed
        return b""


def piped(*arguments, text=""):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], input=text, capture_output=True, text=True, check=False
    )


def test_errors_are_red_unless_no_colour_is_wanted():
    assert COLOUR.search(at_terminal(*WRONG))
    assert not COLOUR.search(at_terminal(*WRONG, NO_COLOR="1"))
    assert "\x1b" not in at_terminal(*WRONG, TERM="dumb")


@pytest.mark.parametrize("columns", [30, 47, 80])
def test_nothing_is_wider_than_the_terminal(columns):
    shown = at_terminal(*WRONG, columns=columns, NO_COLOR="1")
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown).splitlines()
    assert max(map(len, lines)) <= columns
    assert "did you mean" in " ".join(" ".join(lines).split())


def test_a_table_is_a_table_at_a_terminal_and_lines_with_tabs_in_a_pipe():
    assert "┃" in at_terminal("doctor", columns=60)
    found = piped("doctor")
    assert "\x1b" not in found.stdout
    rows = [line.split("\t") for line in found.stdout.splitlines()]
    assert {len(row) for row in rows} == {2}
    assert "torch" in dict(rows)


def test_a_conversation_at_a_terminal_is_no_json_value():
    shown = at_terminal("chat", model_folder(), "--alone", "--json", NO_COLOR="1")
    assert "no JSON value" in " ".join(shown.split())


def test_a_sentence_is_whole_in_a_file():
    found = piped("check", "/nowhere/" + "a" * 90 + ".yaml")
    assert "cannot be read (No such file or directory)" in found.stdout
    found = piped("train", "--model", "/nowhere/" + "a" * 90, "--data", "x", "--output", "y")
    [line] = [line for line in found.stderr.splitlines() if line.startswith("error:")]
    assert "there is no such folder or file" in line


def test_a_small_number_is_not_nothing():
    assert [number(x) for x in (0, 0.5, -1.25, 0.012, 0.0004, -8.1e-6)] == [
        "0.000",
        "0.500",
        "-1.250",
        "0.012",
        "0.0004",
        "-8.1e-06",
    ]


def test_a_reader_that_has_enough_is_no_fault():
    command = [*COMMAND, "objectives"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        complaint = process.stderr.read().decode()
    assert process.returncode == 0
    assert "bug" not in complaint
    assert "Error" not in complaint


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete(shell):
    code = "import sys; sys.argv[0] = 'truing'; from truing.cli.app import main; main()"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "_TRUING_COMPLETE": f"source_{shell}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "_TRUING_COMPLETE" in found.stdout


def test_a_question_from_a_pipe_gets_the_response_alone():
    question = prompts("test")[0].text
    options = ("--alone", "--temperature", "0")
    found = piped("chat", model_folder(), *options, text=f"{question}\n")
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip()
    alone = open_conversation(str(model_folder()), is_alone=True, sampling=Sampling(temperature=0))
    [pieces] = alone.ask(question).values()
    assert list(pieces)[-1].text == found.stdout.removesuffix("\n")
