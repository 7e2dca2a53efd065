"""Measures of the embedded judge's grades."""

from __future__ import annotations

from dataclasses import replace

from autointerp.judges.embedded.grades import MEASURES, cases, compare, match_at_mark
from autointerp.judges.embedded.word_vectors import lexicon
from autointerp.spec import rubric


def test_the_match_of_a_mark_alone_is_the_measure_of_the_whole_comparison() -> None:
    graded = cases(rubric.load("specificity"))
    measure = MEASURES.index("cosine at mark")
    for n, (explanation, window, _) in enumerate(graded):
        for other in (explanation, graded[n * 7 % len(graded)][0]):
            for mark in range(0, len(window.tokens), 3):
                marked = replace(window, mark=mark, marks=())
                assert match_at_mark(other, marked, lexicon()) == compare(other, marked, lexicon()).values[measure]
