"""Tokens of prompts and replies, estimated without a provider."""

from __future__ import annotations

import re

EXPLANATION_TOKENS = 28
"""Output tokens of a typical explanation in its JSON."""


JUDGEMENT_TOKENS = 36
"""Output tokens of a typical reason and grade in their JSON."""


GRADE_TOKENS = 7
"""Output tokens of a grade alone in its JSON."""


FRAME_TOKENS = 12
"""Tokens that a chat template adds around a prompt."""


def rough_tokens(text: str) -> int:
    """Tokens of `text` by rule of thumb: about one a short word, more for long words, digits, symbols and other scripts.

    Between large vocabularies, which make up to a tenth fewer of our prompts, and small ones, which make up to a tenth more.
    """
    count = 0
    for piece in re.findall(r"[A-Za-z]+|\d+|\s+|[^\sA-Za-z\d]", text):
        if piece.isspace():
            count += len(piece) > 1
        elif piece[0].isascii() and piece.isalpha():
            count += 1 + len(piece) // 7
        else:
            count += 1 + (len(piece) - 1) // 3
    return count
