"""The pairs of values that are held against each other before anything is spent: a table for the docs, which a test tries row by row."""

from __future__ import annotations

from typing import NamedTuple


class Pair(NamedTuple):
    """Two values that have to agree, and a part of the message if they do not."""

    first: str
    second: str
    message: str


PAIRS = (
    Pair("`corpus.context_tokens`", "the subject's positions", "exceeds the"),
    Pair("token ids of the corpus", "the subject's embeddings", "has embeddings of"),
    Pair(
        "BOS wanted by `corpus.bos` or the dictionary's files", "the tokenizer's BOS or EOS", "neither a BOS nor an EOS"
    ),
    Pair("width that the dictionary reads", "width of the hook point", "reads"),
    Pair("layer of the hook point", "layers of the subject", "has no layer"),
    Pair("`harvest.window_tokens`", "`corpus.context_tokens`", "exceeds corpus.context_tokens"),
    Pair("`corpus.context_tokens`", "`corpus.max_tokens`", "exceeds corpus.max_tokens"),
    Pair("`harvest.skip_positions`", "`corpus.context_tokens`", "leaves no token"),
)
"""Each raises an error of one line. BOS and context of the dictionary's training, if its files state them, are held against the corpus,
too: a difference is not an error but a caution in the report."""


def table() -> list[str]:
    """The pairs as lines of a Markdown table."""
    head = ["| value | held against | the message says |", "|---|---|---|"]
    return head + [f"| {first} | {second} | *... {message} ...* |" for first, second, message in PAIRS]
