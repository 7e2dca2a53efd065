"""The embedded judge's answers to the tasks of other scorers: it looks for words of the explanation, or similar ones, at each token.

No model is fitted. A token matches the explanation if its cosine is at least `grades.TOPICAL`. On the rubric's calibration cases (grades 2
and 3 against two other explanations of the same window; the marked token against one further away) the balanced accuracy is about 0.83
for windows and 0.72 for marked tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from autointerp.judges.embedded import window_similarity
from autointerp.judges.embedded.grades import TOPICAL, match_at_mark
from autointerp.judges.embedded.word_vectors import Lexicon
from autointerp.messages import MarkedText, TaskMaterial

CLEAR = 0.7
"""Cosine at which a word is clearly what the explanation names, or a form of it."""
Answer = dict[str, Any]


def answer_task(material: TaskMaterial, lexicon: Lexicon) -> Answer | None:
    """The reply to a task as a JSON object; None if the embedded judge cannot answer such a task."""
    answer = TASKS.get(material.task)
    return answer(material, lexicon) if answer else None


def strengths(explanation: str, window: MarkedText, lexicon: Lexicon, indices: Sequence[int] = ()) -> list[float]:
    """How well each token, or each of those at `indices`, matches the explanation, from 0 to 1."""
    return [
        match_at_mark(explanation, replace(window, mark=i, marks=()), lexicon) if window.tokens[i].strip() else 0.0
        for i in indices or range(len(window.tokens))
    ]


def _detect(material: TaskMaterial, lexicon: Lexicon) -> Answer:
    return _flags(max(strengths(material.explanation, window, lexicon), default=0) for window in material.windows)


def _marks(material: TaskMaterial, lexicon: Lexicon) -> Answer:
    return _flags(
        max(strengths(material.explanation, window, lexicon, window.marks or (window.mark,)))
        for window in material.windows
    )


def _simulate(material: TaskMaterial, lexicon: Lexicon) -> Answer:
    matches = [s for window in material.windows for s in strengths(material.explanation, window, lexicon)]
    return {
        "strengths": [
            {"token": number, "strength": min(10, round(10 * s))} for number, s in enumerate(matches, 1) if s >= TOPICAL
        ]
    }


def _intruder(material: TaskMaterial, lexicon: Lexicon) -> Answer:
    number = 1 + window_similarity.least_similar(material.windows, lexicon)
    return {"reason": "its marked place is least like the others", "answer": number}


def _sort(material: TaskMaterial, lexicon: Lexicon) -> Answer:
    number = 1 + window_similarity.most_similar_group(material.windows[0], material.sets, lexicon)
    return {"reason": "its marked place is more like those of this group", "answer": number}


def _contrast(material: TaskMaterial, lexicon: Lexicon) -> Answer:
    scores = [window_similarity.best_word(window, material.sets[0], lexicon) for window in material.windows]
    return {"reason": "one of its words is more like the marked places", "answer": 1 + scores.index(max(scores))}


def _pick(material: TaskMaterial, lexicon: Lexicon) -> Answer:
    matches = [strengths(material.explanation, window, lexicon, (window.mark,))[0] for window in material.windows]
    fitting = [number for number, match in enumerate(matches, 1) if match >= TOPICAL]
    closest = [1 + matches.index(max(matches))]
    return {"reason": "their marked places are like the explanation", "answers": fitting or closest}


def _rate(material: TaskMaterial, lexicon: Lexicon) -> Answer:
    best = [max(strengths(material.explanation, window, lexicon)) for window in material.windows]
    return {str(number): (s >= TOPICAL) + (s >= CLEAR) for number, s in enumerate(best, 1)}


def _flags(matches: Iterable[float]) -> Answer:
    return {str(number): strength >= TOPICAL for number, strength in enumerate(matches, 1)}


TASKS: Mapping[str, Callable[[TaskMaterial, Lexicon], Answer]] = {
    "detection": _detect,
    "fuzzing": _marks,
    "simulation": _simulate,
    "intruder": _intruder,
    "sort": _sort,
    "contrastive": _contrast,
    "contrastive_written": _contrast,
    "rating": _rate,
    "distinction": _pick,
}
"""Answers by `TaskMaterial.task`. Tasks that ask for new texts are missing and refused."""
