"""The start-up probe tells a leak between responses from the rounding of a large trained model."""

import pytest
import torch

from truing.engine import choose_engine
from truing.engine.logps import LOGPS_ONLY
from truing.engine.padded import PaddedEngine
from truing.engine.probe import TOLERANCE, _widest, fault_of, short_rows
from truing.engine.shared import SharedEngine

from .rows import small_llama


@pytest.fixture
def loud():
    """Log-probs of hundreds of nats, as far from what is likely as random tokens are."""
    model = small_llama(hidden_size=64, intermediate_size=128).float()
    with torch.no_grad():
        model.lm_head.weight *= 100
    return model.eval()


def test_a_model_that_rounds_much_keeps_the_fast_engine(loud):
    rows = short_rows(61)
    with torch.no_grad():
        packed = SharedEngine(1000, block=2).logps(loud, rows, LOGPS_ONLY).logps
        padded = PaddedEngine(1000).logps(loud, rows, LOGPS_ONLY).logps
    assert _widest(packed, padded) > TOLERANCE, "the case is one"
    assert choose_engine("auto", loud, 1000).name == "shared"


def test_a_leak_is_found_in_such_a_model_too(loud):
    class Leaking(SharedEngine):
        """Takes a thousandth of another token's log-prob along."""

        def logps(self, model, rows, wanted):
            found = super().logps(model, rows, wanted)
            object.__setattr__(found, "logps", found.logps + 1e-3 * found.logps.roll(1))
            return found

    assert "differ" in fault_of(Leaking(1000, block=2), loud)
