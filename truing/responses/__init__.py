"""What does the model respond, and how good is it: sampling and scoring."""

from truing.responses.sample import Response, Sampling, sample

__all__ = ["Response", "Sampling", "sample"]
