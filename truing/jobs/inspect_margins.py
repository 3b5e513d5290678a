"""How length alone moves the margin of a pair, on some rows under a model, before any training.

Of each response: T tokens with log-ratio a_t = log pi - log pi_ref. A sum over tokens (DPO) is
T times a mean, so a difference in length moves a margin even where the means are equal. SamPO
sums the same number of tokens on both sides; the averaged form has no length in it at all.
Source: Lu et al. 2024 (arXiv:2406.10957), which shows the same on trained models.

At the start policy and reference are the same model and every a_t is 0. Without another model to
stand as the reference, a_t is taken as log pi less its mean over all these tokens: what a token
says beyond what any token says, so that length enters through T alone.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from truing.core.progress import Progress
from truing.data import Row, Tokeniser
from truing.data.tokenise import TokenisedRow
from truing.engine import PaddedEngine
from truing.engine.models import grow_embedding, load_model, load_tokenizer
from truing.errors import RowError
from truing.evaluation.bootstrap import Correlation, estimate
from truing.jobs.inspect_measures import spread
from truing.jobs.inspect_rows import LONGEST
from truing.references.fill import fill

Floats = NDArray[np.float64]
_BUCKETS = 8
# Correlations with the length difference from which the summed form is said to follow length.
_FOLLOWS = 0.2


def margins_of(
    rows: Sequence[Row],
    model: str | Path,
    count: int,
    *,
    reference: str | Path | None = None,
    max_length: int | None,
    progress: Progress,
) -> dict[str, Any]:
    """Margins of some pair rows in three forms of the reward, against the length difference.

    Args:
        rows: pairs with signal; the first `count` by row id are taken.
        model: the policy as it starts.
        count: how many rows.
        reference: another model to take log-ratios to; None: see above.
        max_length: longer rows are passed over.
        progress: is shown how far it has come.

    Raises:
        RowError: no pair row is left.
        ModelError: a model cannot be loaded.
    """
    tokenizer = load_tokenizer(str(model))
    some = _chosen_rows(rows, Tokeniser(tokenizer), count, max_length or LONGEST)
    policy = _token_logps(model, tokenizer, some, progress)
    if reference is None:
        mean = np.concatenate(policy).mean()
        ratios = [values - mean for values in policy]
    else:
        other = _token_logps(reference, tokenizer, some, progress)
        ratios = [one - two for one, two in zip(policy, other, strict=True)]
    return _facts(some, ratios, has_reference=reference is not None)


def _chosen_rows(
    rows: Sequence[Row], tokeniser: Tokeniser, count: int, limit: int
) -> list[TokenisedRow]:
    pairs = sorted(rows, key=lambda row: row.row_id)
    found: list[TokenisedRow] = []
    for start in range(0, len(pairs), 256):
        for item in tokeniser.rows(pairs[start : start + 256]):
            if isinstance(item, TokenisedRow) and _length(item) <= limit:
                found.append(item)
        if len(found) >= count:
            break
    if not found:
        raise RowError(
            "there is no pair with signal within the limit to score",
            where="--margins",
            fix="give pairs, or a larger max_length",
        )
    return found[:count]


def _length(row: TokenisedRow) -> int:
    return len(row.prompt) + max(map(len, row.responses))


def _token_logps(
    path: str | Path, tokenizer: Any, rows: Sequence[TokenisedRow], progress: Progress
) -> list[np.ndarray]:
    model = load_model(str(path), torch.float32)
    grow_embedding(model, len(tokenizer), 0)
    engine = PaddedEngine(max(LONGEST, 2 * max(map(_length, rows))))
    return fill(model, rows, engine, progress, "margins")


def _facts(
    rows: Sequence[TokenisedRow], ratios: Sequence[np.ndarray], *, has_reference: bool
) -> dict[str, Any]:
    lengths = np.array([[len(response) for response in row.responses] for row in rows], dtype=float)
    parts = [
        np.split(values.astype(float), [int(n[0])])
        for values, n in zip(ratios, lengths, strict=True)
    ]
    sums = np.array([[part.sum() for part in row] for row in parts])
    means, shared = sums / lengths, lengths.min(axis=1, keepdims=True)
    forms = {
        "sum (DPO)": sums,
        "same number of tokens (SamPO)": means * shared,
        "mean (averaged)": means,
    }
    difference = lengths[:, 0] - lengths[:, 1]
    sequence = estimate({"correlation": Correlation(lengths, sums)})
    described = [_form(name, difference, values) for name, values in forms.items()]
    return {
        "rows": len(rows),
        "unit": "margin (nats)" if has_reference else "margin of centred log-probs (nats)",
        "what": "SamPO is shown by its expectation over the drawn tokens.",
        "lead": (
            "Log-ratio of the model to the given reference, taken as each reward takes it."
            if has_reference
            else "At the start every log-ratio is 0; shown is what a token's log-prob, less the "
            "mean of all tokens, would make of each reward."
        ),
        "forms": described,
        "sequence": spread(sums.ravel()) | sequence["correlation"].to_json("length_correlation"),
        "recommendation": _recommendation(described),
    }


def _form(name: str, difference: Floats, values: Floats) -> dict[str, Any]:
    margin = values[:, 0] - values[:, 1]
    found = estimate({"correlation": Correlation(difference[:, None], margin[:, None])})
    order = np.argsort(difference, kind="stable")
    buckets = [part for part in np.array_split(order, min(_BUCKETS, len(order))) if len(part)]
    return {
        "name": name,
        "difference": [float(difference[part].mean()) for part in buckets],
        "margin": [float(margin[part].mean()) for part in buckets],
        "low": [float(np.quantile(margin[part], 0.1)) for part in buckets],
        "high": [float(np.quantile(margin[part], 0.9)) for part in buckets],
        "mean": float(margin.mean()),
        "spread": float(margin.std()),
        "accuracy": float((margin > 0).mean()),
        **found["correlation"].to_json("correlation"),
    }


def _recommendation(forms: Sequence[dict[str, Any]]) -> str:
    summed, sampled = forms[0], forms[1]
    low, high = summed["correlation_low"], summed["correlation_high"]
    if low is None or high is None:
        return "too few rows with different lengths to say whether length moves the margin"
    if low > -_FOLLOWS and high < _FOLLOWS:
        return "the summed margin hardly follows length on these rows: dpo() is as good as sampo()"
    now, then = summed["correlation"], sampled["correlation"] or 0.0
    words = f"correlation with the length difference {now:+.2f}, with as many tokens {then:+.2f}"
    if min(abs(low), abs(high)) > _FOLLOWS and low * high > 0 and abs(then) < abs(now):
        return f"the summed margin follows length ({words}): use sampo() or averaged(dpo(...))"
    return f"the summed margin may follow length ({words}): compare dpo() with sampo()"
