import numpy as np
import pytest

from truing.evaluation import PairTable


@pytest.fixture
def table() -> PairTable:
    """300 pairs of 100 prompts: chosen is a little likelier, longer and better."""
    rng = np.random.default_rng(5)
    num = 300
    length_chosen, length_rejected = rng.integers(2, 60, num), rng.integers(1, 50, num)
    reference_chosen = -1.1 * length_chosen + rng.normal(0, 4, num)
    reference_rejected = -1.1 * length_rejected + rng.normal(0, 4, num)
    drift_chosen, drift_rejected = rng.normal(-0.5, 3, num), rng.normal(-2, 3, num)
    return PairTable(
        logp_chosen=reference_chosen + drift_chosen,
        logp_rejected=reference_rejected + drift_rejected,
        length_chosen=length_chosen,
        length_rejected=length_rejected,
        reward_chosen=0.2 * drift_chosen,
        reward_rejected=0.2 * drift_rejected,
        reference_chosen=reference_chosen,
        reference_rejected=reference_rejected,
        score_chosen=np.round(rng.normal(1, 1, num), 1),
        score_rejected=np.round(rng.normal(0, 1, num), 1),
        prompt=np.repeat(np.arange(100), 3),
    )
