"""Is it better, is it longer, how far from the reference: pure statistics over tables."""

from truing.evaluation.bootstrap import Estimate
from truing.evaluation.generations import (
    GenerationResult,
    Generations,
    LogRatios,
    evaluate_generations,
)
from truing.evaluation.kwise import rank_correlation
from truing.evaluation.pairs import Bucket, PairResult, PairTable, evaluate_pairs

__all__ = [
    "Bucket",
    "Estimate",
    "GenerationResult",
    "Generations",
    "LogRatios",
    "PairResult",
    "PairTable",
    "evaluate_generations",
    "evaluate_pairs",
    "rank_correlation",
]
