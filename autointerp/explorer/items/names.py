"""Kinds, arms and outcomes of items in words, as pages print them."""

from __future__ import annotations

from autointerp.ledger import calls
from autointerp.report.prose import OUTCOMES

EXPLAIN, GRADE, PROBE = "explain", "grade", "probe"
"""Kinds of items that are not named after an evaluation: explanations, grades of the rubric, and questions that try out a server."""
ARMS = {
    "main": "its own windows",
    "shuffled": "another unit's explanation",
    "base_rate": "silent windows",
    "near": "the words beside the mark",
    "neighbour": "neighbours' windows",
    "variant": "an explanation made with an aid",
}
"""Why an exemplar is judged."""
CALL_STATES = {
    calls.OPEN: "in flight",
    calls.ERROR: "a failed attempt: the question was asked again",
    calls.LOST: "lost: its reply never came, or could not be stored",
    calls.UNSCORED: "the provider failed",
}
"""States of calls that brought no reply."""
STATES = OUTCOMES | CALL_STATES
"""How an item or a call ended, in words."""
UNSCORED = "unscored"
"""The filter for every item without a grade or an answer."""


def kind_of(stage: str | None, scorer: str | None) -> str:
    """The kind of a job's item."""
    if scorer:
        return scorer
    return {"explain": EXPLAIN, "score": GRADE, "regrade": GRADE}.get(stage or "", PROBE)
