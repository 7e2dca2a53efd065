"""Embedding: are windows in which the unit is active more similar to the explanation than windows in which it is silent?

No judge is asked. Similarity is the cosine of static word vectors (wordllama, averaged over a text), which ignore order and context.
delphi uses a sentence-embedding model with an instruction before the explanation; this is weaker and costs nothing, and its figure
is not a language model's opinion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from autointerp.judges.embedded.word_vectors import lexicon
from autointerp.records import Exemplar
from autointerp.scorers.base import Case, Scorer, Scores, Shape, StepAnswers
from autointerp.scorers.equal_lengths import matched
from autointerp.scorers.yes_no_items import one_class_only, told_apart
from autointerp.stats import answer_metrics


class Embedding(Scorer):
    """Measures how similar the windows are to the explanation, by word vectors alone."""

    name = "embedding"
    source = "Paulo et al. 2024 (arXiv 2410.13928), section on scoring; delphi's EmbeddingScorer, with other vectors"
    needs_explanation = True
    steps = ()
    figures: ClassVar[Mapping[str, str]] = {
        "auroc": "probability that an active window is more similar to the explanation than a silent one",
        "auprc": "average precision of the same ranking; depends on how many windows are active",
    }
    chance = 0.5

    def shapes(self, case: Case, answers: StepAnswers) -> Sequence[Shape]:
        """Active windows against silent ones."""
        return [Shape.of(is_active, e.marked_text, marked=False) for e, is_active in _windows(case)]

    def score(self, case: Case, answers: StepAnswers) -> Scores:
        """Both figures over judged windows of equal lengths. Raises `UsageError` if wordllama cannot be loaded."""
        windows = _windows(case)
        truth = [is_active for _, is_active in windows]
        if not case.explanation or len(set(truth)) < 2:
            return Scores(dict.fromkeys(self.figures), 0, 0, one_class_only(case))
        explanation = lexicon().text(case.explanation)
        similarities = [float(explanation @ lexicon().word(e.text)) for e, _ in windows]
        values = {
            "auroc": answer_metrics.auroc(truth, similarities),
            "auprc": answer_metrics.auprc(truth, similarities),
        }
        return Scores(values, len(truth), 0)


def _windows(case: Case) -> list[tuple[Exemplar, bool]]:
    """Windows of equal lengths, and whether the unit is active in them."""
    active, silent = matched(*told_apart(case))
    return [(e, True) for e in active] + [(e, False) for e in silent]
