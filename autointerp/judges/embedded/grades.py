"""Grades from text similarity: how much of an explanation is found at the mark, near it and in the window.

Ten measures between 0 and 1 (`MEASURES`) compare an explanation with a window: exact matches of words and classes, and cosines of static
word vectors. A proportional-odds model (McCullagh 1980, "Regression models for ordinal data") maps them to a grade. Its slopes are
non-negative, so that a better match never lowers a grade, and are fitted to the rubric's calibration cases with a ridge penalty.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from autointerp.errors import UsageError
from autointerp.judges.embedded.explanation_parser import Claims, parse
from autointerp.judges.embedded.token_classes import SETTINGS, Reading, Word, read, stem
from autointerp.judges.embedded.word_vectors import Lexicon
from autointerp.messages import MarkedText
from autointerp.spec.rubric import Rubric

Floats = NDArray[np.float64]

MEASURES = (
    "exact at mark",
    "at mark and setting agrees",
    "word before mark",
    "exact near",
    "exact anywhere",
    "setting",
    "cosine at mark",
    "cosine near",
    "cosine of neighbourhood",
    "cosine of window",
)
TOPICAL = 0.35
"""Cosine at which two texts are clearly on one topic. Larger values say no more about the mark and are capped."""
NEAR = 6
"""Words on either side of the mark that count as near it."""
RIDGE = 0.004
"""Penalty on the mean squared slope."""
ZERO_SHARE = 0.4
"""Weight of grade 0 in the fit; the other grades share the rest. Most items of a run (explanations of other units, silent windows)
deserve 0."""


@dataclass(frozen=True)
class Comparison:
    """The measures, (10,) in the order of `MEASURES`, and a sentence on the clearest match."""

    values: Floats
    reason: str


def compare(explanation: str, window: MarkedText, lexicon: Lexicon) -> Comparison:
    """Measure how much of `explanation` is found in `window`, and where."""
    claims, reading = parse(explanation), read(window)
    around, everywhere = _stems(reading.near(NEAR)), _stems(reading.words)
    (term, term_word), (topic, topic_word), classes = _at_mark(
        claims, reading.token, reading.at, reading.classes, around, lexicon
    )
    before, before_word = _best(
        (_phrase(p, _stems(reading.before(2)), _stems(reading.before(4))), _text(p)) for p in claims.before
    )
    sought = [*claims.topics, *(w for phrase in claims.terms for w in phrase)]
    near, near_word = _best_match(sought, around, lexicon)
    anywhere, any_word = _best_match(sought, everywhere, lexicon)
    setting = sorted(claims.classes & reading.setting)
    cosine_mark, cosine_near, cosine_place, cosine_window = _cosines(claims, reading, lexicon)
    exact = max(term, topic, float(bool(classes)))
    # A quoted term alone is not enough if the explanation also claims a topic, a word before it or a class of text.
    agrees = 1.0
    if claims.terms and (claims.topics or claims.before or claims.classes & SETTINGS):
        agrees = max(_share(claims.topics, everywhere, lexicon) ** 0.5, before, float(bool(setting)), cosine_window)
    # A match at the mark is also a match near it and in the window: the measures are nested.
    near, anywhere = max(near, exact), max(anywhere, near, exact)
    values = [exact, exact * agrees, before, near, anywhere, float(bool(setting)), max(cosine_mark, exact)]
    values += [max(cosine_near, near), cosine_place, cosine_window]
    reasons = (
        (term == 1, f'"{term_word}" is the marked token'),
        (bool(classes), f"the marked token is of the class: {', '.join(classes[:1])}"),
        (topic > 0, f'"{topic_word}" is the marked token'),
        (before > 0, f'"{before_word}" stands before the mark'),
        (near > 0.3, f'"{near_word}" stands near the mark'),
        (anywhere > 0.3, f'"{any_word}" occurs in the text'),
        (bool(setting), f"the text is of the class: {', '.join(setting[:1])}"),
        (not claims.empty, f"no word matches; cosine {cosine_mark:.2f} at the mark, {cosine_window:.2f} with the text"),
        (True, "the explanation names nothing that could match"),
    )
    return Comparison(np.array(values), next(reason for holds, reason in reasons if holds))


def match_at_mark(explanation: str, window: MarkedText, lexicon: Lexicon) -> float:
    """The measure "cosine at mark" alone, from 0 to 1: a fraction of the work of `compare`, for all words of many windows."""
    reading = read(window)
    has_phrases = any(len(phrase) > 1 for phrase in parse(explanation).terms)
    around = _stems(reading.near(NEAR)) if has_phrases else frozenset[str]()
    return _match_of_word(explanation, reading.token, reading.at, reading.classes, around, lexicon)


@lru_cache(maxsize=100_000)
def _match_of_word(
    explanation: str,
    token: str,
    at: tuple[Word, ...],
    classes: frozenset[str],
    around: frozenset[str],
    lexicon: Lexicon,
) -> float:
    claims = parse(explanation)
    term, topic, common = _at_mark(claims, token, at, classes, around, lexicon)
    vectors = _claimed_vectors(claims, lexicon)
    cosine = 0.0 if vectors is None else _closest(vectors, at, lexicon)
    return max(cosine, term[0], topic[0], float(bool(common)))


def _at_mark(
    claims: Claims, token: str, at: tuple[Word, ...], classes: frozenset[str], around: frozenset[str], lexicon: Lexicon
) -> tuple[tuple[float, str], tuple[float, str], list[str]]:
    """The best match of a quoted term and of a topic with the marked token, each with its text, and the classes that it has."""
    stems = _stems(at) | ({stem(token)} if token.strip() else set())
    term = _best((_phrase(p, stems, around), _text(p)) for p in claims.terms)
    return term, _best_match(claims.topics, stems, lexicon), sorted(claims.classes & classes)


class GradeModel:
    """The proportional-odds model: P(grade >= k) = sigmoid(slopes . measures - cut_k), with slopes of at least zero."""

    def __init__(self, measures: Floats, grades: NDArray[np.int64], levels: int) -> None:
        """Fit to `measures` (n, 10) and `grades` (n,) in 0..levels-1.

        Grade 0 has `ZERO_SHARE` of the weight, the other grades equal shares. Raises `UsageError` for fewer than two cases of a grade.
        """
        self.levels = levels
        counts = np.bincount(grades, minlength=levels)
        if counts.min() < 2:
            raise UsageError(
                f"the rubric's calibration has {counts.min()} cases of grade {counts.argmin()}: add at least 2 of each"
            )
        width = measures.shape[1]
        shares = np.full(levels, (1 - ZERO_SHARE) / (levels - 1))
        shares[0] = ZERO_SHARE
        weights = (shares / counts)[grades]

        def loss(parameters: Floats) -> float:
            slopes, cuts = parameters[:width], _cuts(parameters[width:])
            likelihoods = _probabilities(measures @ slopes, cuts)[np.arange(len(grades)), grades]
            fit = -float(weights @ np.log(np.maximum(likelihoods, 1e-12)))
            penalty: float = RIDGE * float(slopes @ slopes) / width
            return fit + penalty

        # The cuts are parametrised by the first one and the logarithms of the gaps, which keeps them ascending.
        start = np.concatenate([np.ones(width), [0.5], np.zeros(levels - 2)])
        bounds = [(0.0, 30.0)] * width + [(-10.0, 20.0)] + [(-4.0, 3.0)] * (levels - 2)
        fitted = minimize(loss, start, method="L-BFGS-B", bounds=bounds, options={"maxiter": 300}).x
        self.slopes: Floats = fitted[:width]
        self.cuts: Floats = _cuts(fitted[width:])

    def grade(self, measures: Floats) -> int:
        """The median grade for `measures` (10,)."""
        at_least = expit(float(measures @ self.slopes) - self.cuts)
        return int((at_least > 0.5).sum())

    def probabilities(self, measures: Floats) -> Floats:
        """The probability of each grade, (levels,), for `measures` (10,)."""
        return np.asarray(_probabilities((measures @ self.slopes)[None], self.cuts)[0])


def calibrate(rubric: Rubric, lexicon: Lexicon, leave_out: str | None = None) -> GradeModel:
    """The model fitted to the rubric's calibration cases and examples, without those of the explanation `leave_out`.

    Raises `UsageError` if the rubric has too few.
    """
    rows = [row for row in cases(rubric) if row[0] != leave_out]
    if not rows:
        raise UsageError(f"rubric {rubric.name} has no calibration cases: the embedded judge needs some of each grade")
    measures = np.array([compare(explanation, window, lexicon).values for explanation, window, _ in rows])
    return GradeModel(measures, np.array([grade for *_, grade in rows]), len(rubric.levels))


def cases(rubric: Rubric) -> list[tuple[str, MarkedText, int]]:
    """The explanation, window and grade of every graded case in the rubric."""
    graded = [(group.explanation, case.window, case.grade) for group in rubric.calibration for case in group.cases]
    return graded + [(example.explanation, example.window, example.grade) for example in rubric.examples]


def _cuts(raw: Floats) -> Floats:
    """Ascending cut points from the first one and the logarithms of the gaps."""
    return np.cumsum(np.concatenate([raw[:1], np.exp(raw[1:])]))


def _probabilities(scores: Floats, cuts: Floats) -> Floats:
    """The probability of each grade, (n, levels), as differences of the cumulative probabilities P(grade >= k)."""
    at_least = expit(scores[:, None] - cuts[None, :])
    bounded = np.hstack([np.ones((len(scores), 1)), at_least, np.zeros((len(scores), 1))])
    return np.asarray(bounded[:, :-1] - bounded[:, 1:])


def _cosines(claims: Claims, reading: Reading, lexicon: Lexicon) -> tuple[float, float, float, float]:
    """Four cosines: the closest pair of words at the mark, and near it; all claimed words with the neighbourhood, and with the window."""
    rows = _claimed_vectors(claims, lexicon)
    if rows is None:
        return (0.0, 0.0, 0.0, 0.0)
    around, whole = reading.near(NEAR), rows[0]
    at_mark = _closest(rows, reading.at, lexicon)
    near = _closest(rows, [w for w in around if lexicon.weight(w.stem) > 0.3], lexicon)
    place, context = (float(whole @ lexicon.word(_text(some))) for some in (around, reading.words))
    return (at_mark, max(near, at_mark), min(max(0.0, place), TOPICAL), min(max(0.0, context), TOPICAL))


@lru_cache(maxsize=1024)
def _claimed_vectors(claims: Claims, lexicon: Lexicon) -> NDArray[np.float32] | None:
    """The vector of all claimed words together and then of each, (1 + words, 256); None if no word is claimed."""
    claimed = [*claims.topics, *(w for phrase in claims.terms for w in phrase if w.lexical)]
    if not claimed:
        return None
    return np.stack([lexicon.word(_text(claimed)), *(lexicon.word(w.text) for w in claimed)])


def _closest(rows: NDArray[np.float32], words: Sequence[Word], lexicon: Lexicon) -> float:
    vectors = [lexicon.word(w.text) for w in words if w.lexical]
    return max(0.0, float((rows @ np.stack(vectors).T).max())) if vectors else 0.0


def _match(sought: Word, where: frozenset[str]) -> float:
    """1 if `where` has the same stem, 0.6 if it has a word of which one begins with the other (at least four letters), else 0."""
    key = sought.stem
    if key in where:
        return 1.0
    if len(key) < 4 or not key.isalpha():
        return 0.0
    return 0.6 if any(s.startswith(key) or (len(s) >= 4 and key.startswith(s)) for s in where) else 0.0


def _stems(words: Iterable[Word]) -> frozenset[str]:
    return frozenset(w.stem for w in words)


def _phrase(phrase: Sequence[Word], at: frozenset[str], near: frozenset[str]) -> float:
    """How much of a phrase is at the mark: the best match of one of its words there, times the share of its words nearby."""
    hit = max((_match(p, at) for p in phrase), default=0.0)
    return hit * sum(_match(p, near) > 0 for p in phrase) / len(phrase) if hit and len(phrase) > 1 else hit


def _best_match(sought: Iterable[Word], where: frozenset[str], lexicon: Lexicon) -> tuple[float, str]:
    """The largest match of a word, weighted by its rarity, and that word."""
    return _best((_match(t, where) * lexicon.weight(t.stem), t.text) for t in sought)


def _share(topics: Sequence[Word], where: frozenset[str], lexicon: Lexicon) -> float:
    """The share of the topics that are found, weighted by rarity."""
    weights = [lexicon.weight(t.stem) for t in topics]
    hits = [_match(t, where) for t in topics]
    total = sum(weights)
    return sum(w * h for w, h in zip(weights, hits, strict=True)) / total if total else 0.0


def _best(matches: Iterable[tuple[float, str]]) -> tuple[float, str]:
    return max(matches, key=lambda pair: pair[0], default=(0.0, ""))


def _text(phrase: Sequence[Word]) -> str:
    return " ".join(w.text for w in phrase)
