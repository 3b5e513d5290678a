"""Is it better, is it longer, how far from the reference: pure statistics over tables."""

from truing.evaluation.bootstrap import Estimate
from truing.evaluation.frontier import Frontier, Measured, frontier, on_frontier
from truing.evaluation.generations import (
    GenerationResult,
    Generations,
    LogRatios,
    evaluate_generations,
)
from truing.evaluation.judge import JudgeQuality, Verdicts, judge_quality
from truing.evaluation.judgements import Judgements, WinRate, head_to_head, win_rate
from truing.evaluation.kwise import rank_correlation
from truing.evaluation.length_control import (
    Against,
    LengthControlled,
    controlled_win_rate,
    estimated_difficulty,
    length_controlled,
)
from truing.evaluation.pairs import Bucket, PairResult, PairTable, evaluate_pairs
from truing.evaluation.ranking import Ranking, bradley_terry
from truing.evaluation.significance import Difference, corrected, mcnemar, paired_bootstrap
from truing.evaluation.wording import Wording, wording

__all__ = [
    "Against",
    "Bucket",
    "Difference",
    "Estimate",
    "Frontier",
    "GenerationResult",
    "Generations",
    "JudgeQuality",
    "Judgements",
    "LengthControlled",
    "LogRatios",
    "Measured",
    "PairResult",
    "PairTable",
    "Ranking",
    "Verdicts",
    "WinRate",
    "Wording",
    "bradley_terry",
    "controlled_win_rate",
    "corrected",
    "estimated_difficulty",
    "evaluate_generations",
    "evaluate_pairs",
    "frontier",
    "head_to_head",
    "judge_quality",
    "length_controlled",
    "mcnemar",
    "on_frontier",
    "paired_bootstrap",
    "rank_correlation",
    "win_rate",
    "wording",
]
