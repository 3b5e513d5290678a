"""Long curves made light, noisy ones readable, without hiding a spike.

n points of a curve.
"""

import numpy as np
from jaxtyping import Float
from scipy.ndimage import uniform_filter1d

Array = np.ndarray

POINTS = 800  # more than the plot of a curve is pixels wide, twice over
_WIDTH = 0.012  # of the curve: the smoothing's standard deviation
_SHORT = 30  # curves of fewer points are shown as they are


def smooth(values: Float[Array, "n"]) -> Float[Array, "n"]:
    """A near-Gaussian average, centred (so it lags nowhere); NaN counts as absent and stays NaN.

    Its standard deviation is 1.2 % of the curve and at least one point.
    """
    if len(values) < _SHORT:
        return values
    sigma = max(1.0, _WIDTH * len(values))
    known = np.isfinite(values)
    # Average of what is known over the share that is known: gaps draw no curve towards 0.
    total = _blurred(np.where(known, values, 0.0), sigma)
    share = _blurred(known.astype(float), sigma)
    average = np.divide(total, share, out=np.full(len(values), np.nan), where=known)
    return np.where(known, average, np.nan)


def _blurred(values: Float[Array, "n"], sigma: float) -> Float[Array, "n"]:
    """Three running means: nearly a Gaussian of this width, in time that does not grow with it."""
    width = 2 * round(0.5 * np.sqrt(4 * sigma**2 + 1) - 0.5) + 1  # odd, so that nothing shifts
    for _ in range(3):
        values = uniform_filter1d(values, width, mode="nearest")
    return values


def thin_keeping_extremes(
    step: Float[Array, "n"], values: Float[Array, "n"], points: int = POINTS
) -> tuple[Float[Array, "m"], Float[Array, "m"]]:
    """At most `points` points: the lowest and highest of each stretch, and both ends.

    What is left looks the same at this size: every spike is still there.
    """
    known = np.isfinite(values)
    step, values = step[known], values[known]
    if len(values) <= points:
        return step, values
    stretches = np.array_split(np.arange(len(values)), max(1, points // 2 - 1))
    lowest = [stretch[np.argmin(values[stretch])] for stretch in stretches]
    highest = [stretch[np.argmax(values[stretch])] for stretch in stretches]
    keep = np.unique([0, *lowest, *highest, len(values) - 1])
    return step[keep], values[keep]


def thin_evenly(
    step: Float[Array, "n"], values: Float[Array, "n"], points: int = POINTS
) -> tuple[Float[Array, "m"], Float[Array, "m"]]:
    """At most `points` points, evenly spread, both ends among them; for curves already smooth."""
    known = np.isfinite(values)
    step, values = step[known], values[known]
    if len(values) <= points:
        return step, values
    keep = np.unique(np.linspace(0, len(values) - 1, points).round().astype(int))
    return step[keep], values[keep]
