"""Rows of any layout in, token ids out; nothing silently lost."""

from truing.data.beside import mismatched_responses, partners, prepare_auxiliary
from truing.data.examples import Example
from truing.data.limits import Truncation
from truing.data.preparation import Prepared, prepare
from truing.data.reading import RowReader, read_rows
from truing.data.rows import Message, Row
from truing.data.signal import check_needs
from truing.data.sources import Source
from truing.data.summary import DataSummary, Tally
from truing.data.table import widest
from truing.data.tokenise import Tokeniser
from truing.data.where import Where

__all__ = [
    "DataSummary",
    "Example",
    "Message",
    "Prepared",
    "Row",
    "RowReader",
    "Source",
    "Tally",
    "Tokeniser",
    "Truncation",
    "Where",
    "check_needs",
    "mismatched_responses",
    "partners",
    "prepare",
    "prepare_auxiliary",
    "read_rows",
    "widest",
]
