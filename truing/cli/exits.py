"""How a command ends: one sentence for the user, one exit code for the caller.

0 done, 1 the user's input, 2 usage, 3 the run stopped itself with its state saved, 70 a bug,
130 interrupted.
"""

import errno
import os
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

from truing.errors import TruingError

BUG, INTERRUPTED = 70, 130
# What the system refuses at a path that the user gave, and no code of ours could have known.
_REFUSALS = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.ENOSPC,
    errno.EDQUOT, errno.ENAMETOOLONG, errno.ENOENT, errno.EEXIST,
}  # fmt: skip


def run(command: Callable[[], object], *, debug: bool, as_json: bool = False) -> int:
    """Run a command; its exit code. Nothing but a bug leaves a trace, and that in a file.

    Wrong usage and `--help` end the command themselves (SystemExit).

    Args:
        command: the whole command line, parsing included.
        debug: let errors through with their trace.
        as_json: whoever reads stdout gets one JSON value, of an error too.
    """
    if not debug:
        # Advice of libraries on their own interfaces is not for the user of a command.
        warnings.simplefilter("ignore")
    # A polite request to end is an interrupt, wherever the command stands.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    output = sys.stdout
    try:
        try:
            command()
        finally:
            # What is still held back is written while a closed pipe can be caught.
            sys.stdout.flush()
    except BrokenPipeError:
        return _reader_is_gone()
    except SystemExit:
        # Typer meets a closed pipe by exit code 1 and another stdout.
        if sys.stdout is output:
            raise
        return _reader_is_gone()
    except KeyboardInterrupt:
        _complain("interrupted")
        if as_json:
            _show_json({"what": "interrupted", "where": "", "fix": ""})
        return INTERRUPTED
    except Exception as error:
        if debug:
            raise
        known = error if isinstance(error, TruingError) else _refused(error)
        if known is None:
            _complain(_bug(error))
            return BUG
        return _tell(known, as_json=as_json)
    return 0


def _reader_is_gone() -> int:
    """Whoever reads our lines has enough of them (`truing objectives | head`): no fault of ours."""
    # Python flushes once more at its end, and would complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0


def _tell(error: TruingError, *, as_json: bool) -> int:
    _complain(str(error))
    if as_json:
        _show_json({"what": error.what, "where": error.where, "fix": error.fix})
    return error.exit_code


def _refused(error: Exception) -> TruingError | None:
    """A path that the system does not let be read or written."""
    if not isinstance(error, OSError) or error.errno not in _REFUSALS or not error.filename:
        return None
    return TruingError(
        f"the system refuses: {error.strerror}",
        where=os.fsdecode(error.filename),
        fix="name another path, or make room or get leave there",
    )


def _complain(text: str) -> None:
    from truing.cli import console

    number = os.environ.get("RANK", "0")
    console.complain(text if number == "0" else f"[rank {number}] {text}")


def _show_json(error: Mapping[str, str]) -> None:
    from truing.cli import console

    # Of several processes one speaks.
    if os.environ.get("RANK", "0") == "0":
        console.show_json({"error": error})
        sys.stdout.flush()


def _bug(error: Exception) -> str:
    with tempfile.NamedTemporaryFile(
        "w", prefix="truing-", suffix=".trace", delete=False, encoding="utf-8"
    ) as file:
        traceback.print_exception(error, file=file)
    name = type(error).__name__
    return (
        f"this is a bug in Truing ({name}: {str(error).splitlines()[0] if str(error) else ''})\n"
        f"  fix: report it with the trace in {Path(file.name)}"
    )
