"""A judge that knows which words each explanation covers, and errs at a given rate.

It stands for the best possible reader: an explanation that it cannot tell from a right one is the evaluation's fault, not the
judge's. It knows nothing of the units.
"""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from autointerp.league.claims import Claim
from autointerp.league.vocabulary import BETWEEN
from autointerp.messages import MarkedText, Prompt, Reply, ScoreMaterial, TaskMaterial, Usage

STRENGTH = 7
"""The predicted activation at a covered word, in tenths of the unit's maximum."""
WRITTEN, WRITTEN_WORDS, WRITTEN_PHRASES = 10, 12, 3
"""Texts that are written in answer to one question; of each, the words that say nothing and the phrases that fit the explanation."""
NEARBY = 1
"""The grade of a window in which the explanation covers a word, but not the marked one."""


class KnowingJudge:
    """Answers by the claims. A share `error` of its answers about single windows is the opposite of the right one.

    An error is a function of the seed, the explanation and the window: the same question always gets the same answer.
    """

    def __init__(self, claims: Mapping[str, Claim], error: float, seed: int) -> None:
        """`claims` by explanation."""
        self._claims, self._error, self._seed = claims, error, seed
        self._seen: dict[tuple[str, MarkedText], list[bool]] = {}

    def ask(self, prompt: Prompt) -> Reply:
        """The reply to a scorer's question, texts, or a grade. Raises KeyError for a task that is not in `TASKS`."""
        material = prompt.material
        if isinstance(material, ScoreMaterial):
            answer = self._grade(material)
        elif isinstance(material, TaskMaterial):
            is_writing = material.task == "write"
            answer = (
                self._write(material.explanation, prompt.user) if is_writing else TASKS[material.task](self, material)
            )
        else:
            raise TypeError(f"{type(material).__name__} is no question about an explanation")
        return Reply(json.dumps(answer), "complete", Usage(), "knowing")

    def _write(self, explanation: str, question: str) -> dict[str, Any]:
        """Texts that the explanation covers in some places; a wrong one has none. Without an explanation, texts of other words."""
        claim, texts = self._claims.get(explanation), []
        for n in range(WRITTEN):
            rng = random.Random(f"{self._seed}/{question}/{n}")
            words = rng.choices(BETWEEN, k=WRITTEN_WORDS)
            if claim and not self.errs("write", question, n):
                for phrase in rng.choices(claim.phrases, k=WRITTEN_PHRASES):
                    place = rng.randrange(1, len(words))
                    words[place:place] = phrase
            texts.append(" ".join(words))
        return {"texts": texts}

    def covered(self, explanation: str, window: MarkedText) -> list[bool]:
        """Whether the explanation covers each word of the window, without error."""
        key = explanation, window
        if key not in self._seen:
            words = [word for token in window.tokens for word in token.split()]
            self._seen[key] = self._claims[explanation].covers(words)
        return self._seen[key]

    def errs(self, task: str, explanation: str, window: object) -> bool:
        """Whether the answer about this window is wrong."""
        if not self._error:
            return False
        return zlib.crc32(f"{self._seed}/{task}/{explanation}/{window}".encode()) < self._error * 2**32

    def _grade(self, material: ScoreMaterial) -> dict[str, Any]:
        covered = self.covered(material.explanation, material.window)
        fits = covered[material.window.mark] != self.errs("grade", material.explanation, material.window)
        return {"reason": "", "grade": 3 if fits else NEARBY if any(covered) else 0}


def _flags(fits: Callable[[KnowingJudge, str, MarkedText], bool]) -> Callable[[KnowingJudge, TaskMaterial], Any]:
    """Answers true or false about each window."""

    def answer(judge: KnowingJudge, material: TaskMaterial) -> dict[str, bool]:
        return {
            str(n): fits(judge, material.explanation, w) != judge.errs(material.task, material.explanation, w)
            for n, w in enumerate(material.windows, 1)
        }

    return answer


def _anywhere(judge: KnowingJudge, explanation: str, window: MarkedText) -> bool:
    return any(judge.covered(explanation, window))


def _all_marks(judge: KnowingJudge, explanation: str, window: MarkedText) -> bool:
    covered = judge.covered(explanation, window)
    return all(covered[i] for i in window.marks or (window.mark,))


def _simulate(judge: KnowingJudge, material: TaskMaterial) -> dict[str, Any]:
    """The covered words of each window; in a wrong answer none of them, or one other word."""
    listed, first = [], 1
    for window in material.windows:
        covered = list(judge.covered(material.explanation, window))
        if judge.errs(material.task, material.explanation, window):
            covered = [not any(covered) and i == len(covered) // 2 for i in range(len(covered))]
        listed += [{"token": first + i, "strength": STRENGTH} for i, is_covered in enumerate(covered) if is_covered]
        first += len(window.tokens)
    return {"strengths": listed}


def _rate(judge: KnowingJudge, material: TaskMaterial) -> dict[str, int]:
    flags = _flags(_anywhere)(judge, material)
    return {n: 2 * fits for n, fits in flags.items()}


def _choose(judge: KnowingJudge, material: TaskMaterial) -> dict[str, Any]:
    """The windows whose marked place the explanation covers."""

    def fits(window: MarkedText) -> bool:
        covered = judge.covered(material.explanation, window)[window.mark]
        return covered != judge.errs(material.task, material.explanation, window)

    return {"reason": "", "answers": [n for n, window in enumerate(material.windows, 1) if fits(window)]}


TASKS: Mapping[str, Callable[[KnowingJudge, TaskMaterial], Any]] = {
    "detection": _flags(_anywhere),
    "fuzzing": _flags(_all_marks),
    "simulation": _simulate,
    "rating": _rate,
    "distinction": _choose,
}
"""Replies by `TaskMaterial.task`. A new scorer that shows an explanation needs an entry here."""
