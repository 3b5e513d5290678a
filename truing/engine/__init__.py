"""Which log-prob has this token."""

from truing.engine.choose import ENGINES, EngineChoice, choose_engine
from truing.engine.logps import LOGPS_ONLY, Engine, TokenLogps, TokenRow, Wanted
from truing.engine.padded import PaddedEngine
from truing.engine.shared import PackedEngine, SharedEngine

__all__ = [
    "ENGINES",
    "LOGPS_ONLY",
    "Engine",
    "EngineChoice",
    "PackedEngine",
    "PaddedEngine",
    "SharedEngine",
    "TokenLogps",
    "TokenRow",
    "Wanted",
    "choose_engine",
]
