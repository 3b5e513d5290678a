"""Which log-prob has this token."""

from truing.engine.logps import LOGPS_ONLY, Engine, TokenLogps, TokenRow, Wanted
from truing.engine.padded import PaddedEngine
from truing.engine.shared import PackedEngine, SharedEngine

__all__ = [
    "LOGPS_ONLY",
    "Engine",
    "PackedEngine",
    "PaddedEngine",
    "SharedEngine",
    "TokenLogps",
    "TokenRow",
    "Wanted",
]
