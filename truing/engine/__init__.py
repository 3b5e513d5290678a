"""Which log-prob has this token."""

from truing.engine.logps import LOGPS_ONLY, Engine, TokenLogps, TokenRow, Wanted
from truing.engine.padded import PaddedEngine

__all__ = ["LOGPS_ONLY", "Engine", "PaddedEngine", "TokenLogps", "TokenRow", "Wanted"]
