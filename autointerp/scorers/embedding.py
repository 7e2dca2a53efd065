"""Embedding: are windows in which the unit is active more like the explanation than windows in which it is silent?

No judge is asked. The likeness is the cosine of static word vectors (`judges.lexicon`: wordllama, averaged over a text), which know
neither order nor context. delphi uses a sentence-embedding model with an instruction before the explanation; ours is weaker,
costs nothing, and its figure is no language model's opinion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from autointerp.judges.embedded.word_vectors import lexicon
from autointerp.scorers import yes_no_items
from autointerp.scorers.base import Brought, Case, Question, Read, Scores, Steer
from autointerp.stats import answer_metrics


class Embedding:
    """How like the explanation are the windows, by word vectors alone?"""

    name = "embedding"
    source = "Paulo et al. 2024 (arXiv 2410.13928), section on scoring; delphi's EmbeddingScorer, with other vectors"
    needs_explanation = True
    steps: tuple[Literal["ask", "run"], ...] = ()
    figures: Mapping[str, str] = {
        "auroc": "chance that a window in which the unit is active is more like the explanation than one in which it is silent",
        "auprc": "average precision of the same ranking; depends on how many windows are active",
    }
    chance: float | None = 0.5

    def questions(self, case: Case, step: int, brought: Brought) -> Sequence[Question]:
        """None."""
        return ()

    def work(self, case: Case, step: int, brought: Brought) -> Sequence[Read | Steer]:
        """None."""
        return ()

    def score(self, case: Case, brought: Brought) -> Scores:
        """Both figures over all judged windows. Raises `UsageError` when wordllama cannot be loaded."""
        windows = [(e, True) for e in case.active if not yes_no_items.silent(e)]
        windows += [(e, False) for e in case.quiet if yes_no_items.silent(e)]
        if not case.explanation or len({truth for _, truth in windows}) < 2:
            return Scores(dict.fromkeys(self.figures), 0, 0)
        sought = lexicon().text(case.explanation)
        likeness = [float(sought @ lexicon().text("".join(e.tokens))) for e, _ in windows]
        truth = [truth for _, truth in windows]
        return Scores(
            {"auroc": answer_metrics.auroc(truth, likeness), "auprc": answer_metrics.auprc(truth, likeness)},
            len(truth),
            0,
        )
