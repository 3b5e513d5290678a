"""The catalogue as a table of Markdown, read off the shelf.

python examples/catalogue.py            prints it
python examples/catalogue.py --write    puts it into docs/objectives.md
"""

import sys
from pathlib import Path

from truing.core import Needs
from truing.recipes import Entry, shelf

PAGE = Path(__file__).parent.parent / "docs" / "objectives.md"
BEGIN, END = "<!-- catalogue: python examples/catalogue.py --write -->", "<!-- end of catalogue -->"


def table() -> str:
    """A row a recipe: its call with all knobs, what it is for, what it reads, where it is from."""
    head = ["| recipe | what it is for | reads | source |", "|---|---|---|---|"]
    return "\n".join([*head, *map(row, shelf())])


def row(entry: Entry) -> str:
    cells = (f"`{call(entry)}`", entry.idea, reads(entry.needs), entry.source)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def call(entry: Entry) -> str:
    """The recipe with its defaults; a knob without one stands alone."""
    knobs = [k.name if k.default is None else f"{k.name}={k.default}" for k in entry.knobs]
    return f"{entry.name}({', '.join(knobs)})"


def reads(needs: Needs) -> str:
    """What is read beyond the policy's log-probs, in few words."""
    reference = "reference" if needs.references <= 1 else f"{needs.references} references"
    said = {
        reference: needs.reference == "sums",
        f"{reference}, token by token": needs.reference == "tokens",
        "the reference itself at each step": needs.live_reference,
        "reference without the prompt": needs.unconditional_reference,
        "scores": needs.scores != "none",
        "win probabilities": needs.win_probability,
        "labels or pairs": needs.labels,
        "mismatched answers": needs.mismatched_responses,
        "prompt tokens": needs.prompt,
        "the vocabulary at each token": bool(needs.vocabulary_statistics),
        "the whole step": needs.couples == "batch",
        "running state": bool(needs.state),
    }
    said |= {f"source `{name}`": True for name in sorted(needs.auxiliary)}
    said |= {f"head `{name}`": True for name in sorted(needs.heads)}
    return ", ".join(text for text, is_read in said.items() if is_read)


def main() -> None:
    if "--write" not in sys.argv[1:]:
        print(table())
        return
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
