"""How alike two marked places are: what the embedded judge goes by where no explanation is given and windows are to be told apart.

Two places are alike as far as their marked words are (the same stem, or word vectors of one direction), the words around them, and
the classes of both. Among windows that one explanation of the rubric fits (grades 2 and 3, 17 explanations with three or more) it
finds one of another explanation among four in 0.77 of cases (chance 0.25), and sorts between two explanations right in 0.94 (chance
0.5). The weights were chosen among nine by these figures, so expect somewhat less elsewhere.
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
"""Words on either side of the mark that count as around it."""
AT, AROUND, CLASSES = 1.0, 1.0, 0.5
"""Weights of marked words, of the words around, and of classes."""


@dataclass(frozen=True)
class Place:
    """A marked place as it is compared."""

    stems: frozenset[str]
    at: Vector
    around: Vector
    classes: frozenset[str]


def place(window: MarkedText, lexicon: Lexicon) -> Place:
    """What stands at a window's mark and around it."""
    reading = read(window)
    around = " ".join(word.text for word in reading.near(NEAR))
    at = " ".join(word.text for word in reading.at) or window.tokens[window.mark]
    stems = frozenset(word.stem for word in reading.at) or frozenset([at])
    return Place(stems, lexicon.word(at), lexicon.word(around), reading.classes | reading.setting)


def alike(one: Place, other: Place) -> float:
    """How alike two places are, at most 2.5."""
    same = 1.0 if one.stems & other.stems else float(one.at @ other.at)
    classes = len(one.classes & other.classes) / max(1, len(one.classes | other.classes))
    return AT * same + AROUND * float(one.around @ other.around) + CLASSES * classes


def least_alike(windows: Sequence[MarkedText], lexicon: Lexicon) -> int:
    """Index of the window that is least like all others."""
    places = [place(window, lexicon) for window in windows]
    means = [fmean(alike(one, other) for other in places if other is not one) for one in places]
    return int(np.argmin(means))


def likest_group(window: MarkedText, groups: Sequence[Sequence[MarkedText]], lexicon: Lexicon) -> int:
    """Index of the group whose windows are likest on average."""
    one = place(window, lexicon)
    return int(np.argmax([fmean(alike(one, place(other, lexicon)) for other in group) for group in groups]))


def best_word(window: MarkedText, group: Sequence[MarkedText], lexicon: Lexicon) -> float:
    """How like the group's marked places the likest word or sign of a text without a mark is."""
    text, places = window.text, [place(other, lexicon) for other in group]
    words = (
        MarkedText((text[: found.start()], found[0], text[found.end() :]), 1)
        for found in re.finditer(r"\w+|[^\w\s]", text)
    )
    return max((fmean(alike(place(word, lexicon), other) for other in places) for word in words), default=0.0)
