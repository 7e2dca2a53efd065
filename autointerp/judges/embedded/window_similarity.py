"""Window similarity, used by the embedded judge for tasks without an explanation.

The similarity of two windows is that of their marked words (the same stem, or the cosine of their vectors), of the words around the
marks, and of their classes. Tested on windows that one explanation of the rubric fits (grades 2 and 3, 17 explanations with three or
more): it finds the window of another explanation among four in 0.77 of cases (chance 0.25), and sorts between two explanations
correctly in 0.94 (chance 0.5). The weights were chosen among nine by these figures, so expect less elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from autointerp.judges.embedded.token_classes import read
from autointerp.judges.embedded.word_vectors import Lexicon, Vector
from autointerp.messages import MarkedText

NEAR = 6
"""Number of words on either side of the mark that are compared."""
AT, AROUND, CLASSES = 1.0, 1.0, 0.5
"""Weights of the marked words, of the words around them, and of classes."""


@dataclass(frozen=True)
class MarkFeatures:
    """The features of a window by which its mark is compared."""

    stems: frozenset[str]
    at: Vector
    around: Vector
    classes: frozenset[str]


def features_of(window: MarkedText, lexicon: Lexicon) -> MarkFeatures:
    """The features of a window's mark and of the words around it."""
    reading = read(window)
    around = " ".join(word.text for word in reading.near(NEAR))
    at = " ".join(word.text for word in reading.at) or window.tokens[window.mark]
    stems = frozenset(word.stem for word in reading.at) or frozenset([at])
    return MarkFeatures(stems, lexicon.word(at), lexicon.word(around), reading.classes | reading.setting)


def similarity(one: MarkFeatures, other: MarkFeatures) -> float:
    """The similarity of two marks, at most 2.5."""
    same = 1.0 if one.stems & other.stems else float(one.at @ other.at)
    classes = len(one.classes & other.classes) / max(1, len(one.classes | other.classes))
    return AT * same + AROUND * float(one.around @ other.around) + CLASSES * classes


def least_similar(windows: Sequence[MarkedText], lexicon: Lexicon) -> int:
    """Index of the window with the least mean similarity to all others."""
    marks = [features_of(window, lexicon) for window in windows]
    means = [fmean(similarity(one, other) for other in marks if other is not one) for one in marks]
    return int(np.argmin(means))


def most_similar_group(window: MarkedText, groups: Sequence[Sequence[MarkedText]], lexicon: Lexicon) -> int:
    """Index of the group with the greatest mean similarity to the window."""
    mark = features_of(window, lexicon)
    means = [fmean(similarity(mark, features_of(other, lexicon)) for other in group) for group in groups]
    return int(np.argmax(means))


def best_word(window: MarkedText, group: Sequence[MarkedText], lexicon: Lexicon) -> float:
    """The greatest mean similarity that any word or sign of the window, taken as its mark, has to the group's marks."""
    text, marks = window.text, [features_of(other, lexicon) for other in group]
    words = (
        MarkedText((text[: match.start()], match[0], text[match.end() :]), 1)
        for match in re.finditer(r"\w+|[^\w\s]", text)
    )
    return max((fmean(similarity(features_of(word, lexicon), other) for other in marks) for word in words), default=0.0)
