"""Which log-prob has this token."""

import os

# Activations of a step are fresh memory; on huge pages the kernel hands it over in one piece in
# place of 512. torch reads this once, at its first allocation, so it stands before what allocates.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

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
