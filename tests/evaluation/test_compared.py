"""What runs are told apart by, from tables alone."""

import numpy as np
import pytest

from truing.jobs.compared import method_of, reply_measures
from truing.jobs.evaluated import Generated, Spoken


@pytest.mark.parametrize(
    ("objective", "method"),
    [
        ("dpo(beta=0.1)", "dpo()"),
        ("dpo()", "dpo()"),
        ("odpo(beta=0.5, alpha=1.0)", "odpo(alpha=1.0)"),
        ("averaged(dpo(beta=30.0))", "averaged(dpo())"),
        ("sampo(beta=0.1) + 0.2 * sft()", "sampo() + 0.2 * sft()"),
        ("no objective at all", "no objective at all"),
    ],
)
def test_runs_at_several_strengths_are_one_method(objective, method):
    assert method_of(objective) == method


def said(seed, number=30):
    """What one policy said to as many prompts, scored, of several lengths."""
    rng = np.random.default_rng(seed)
    replies = []
    for place in range(number):
        tokens = tuple(rng.integers(0, 9, rng.integers(2, 20)).tolist())
        score = float(rng.normal())
        replies.append(
            Spoken(
                f"p{place}", f"k{place}", 0, "", tokens, (), (), -1.0, finished=True, score=score
            )
        )
    return Generated({}, tuple(replies))


def test_it_is_said_that_length_is_taken_out_by_the_light_form():
    table = reply_measures(("one", "two"), [said(0), said(1)], said(2))
    assert "length_controlled_win_rate" in {measure.key for measure in table.measures}
    assert sum("light form" in note for note in table.notes) == 1
