"""Responsiveness and purity: the judge rates ordinary texts by the explanation. Do the ratings go with the unit's activation?

FADE's definitions with its defects mended. Texts rated 1 are left out, as there. Responsiveness keeps its sign, and FADE's absolute
value stands beside it. Without texts of both ratings FADE ends in an error; here the figures are undefined. Purity is an
average precision, whose worth to a guess is the share of texts rated 2: that share is given, and purity above it. FADE turns a
unit's activations round before it computes purity when they are lower on the concept; here they stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Literal

from autointerp.scorers.base import Brought, Case, Question, Read, Scores, Steer
from autointerp.scorers.common_questions import ratings, spread_out, text_of
from autointerp.scorers.window_choice import answers, evenly, of_others, peak, strongest
from autointerp.scorers.yes_no_items import draw
from autointerp.stats.answer_metrics import auprc, separation

ACTIVE, QUIET, NATURAL = 20, 10, 20
"""Texts of each origin: windows of the unit, from its strongest to its weakest; its silent windows; windows of other units.
FADE rates 500, a tenth of them the strongest and the rest from four ranges of activation."""
PER_CALL = 10


class Responsiveness:
    """Is the unit stronger on ordinary texts that express the explanation than on those that do not?"""

    name = "responsiveness"
    source = "FADE, 2025 (arXiv 2502.16994), responsiveness and purity; fade-language 0.1.2"
    needs_explanation = True
    steps: tuple[Literal["ask", "run"], ...] = ("run", "ask")
    figures: Mapping[str, str] = {
        "responsiveness": "2 AUROC - 1 of texts rated 2 against those rated 0: 1 where all are stronger, 0 by chance, -1 if weaker",
        "responsiveness_fade": "its absolute value, as FADE has it",
        "purity": "average precision of activation in telling texts rated 2 from those rated 0; by chance the concept's share",
        "purity_fade": "the same, of the activation turned round where responsiveness is negative, as FADE has it",
        "purity_above_chance": "purity from 0 by chance to 1: what remains when the concept's share is taken off",
        "concept_share": "texts rated 2 among those rated 2 or 0: no merit, but what purity has to be compared with",
    }
    chance: float | None = 0.0

    def work(self, case: Case, step: int, brought: Brought) -> Sequence[Read | Steer]:
        """All texts, read as the judge sees them: alone."""
        return [Read(text) for text in self._texts(case)]

    def questions(self, case: Case, step: int, brought: Brought) -> Sequence[Question]:
        """Ten texts a question."""
        return ratings(case.explanation, self._texts(case), PER_CALL) if case.explanation else []

    def score(self, case: Case, brought: Brought) -> Scores:
        """Figures over the texts that were read and rated."""
        texts = self._texts(case) if case.explanation else []
        peaks = [peak(seen) for seen in answers(brought, 0, len(texts))]
        rated = spread_out(answers(brought, 1, -(-len(texts) // PER_CALL)), len(texts), PER_CALL)
        known = [(rating, p) for rating, p in zip(rated, peaks, strict=True) if rating is not None and p is not None]
        return Scores(figures_of(known), len(known), len(texts) - len(known))

    def _texts(self, case: Case) -> list[str]:
        windows = [*evenly(strongest(case.active), ACTIVE), *case.quiet[:QUIET], *of_others(case, NATURAL, self.name)]
        texts = list(dict.fromkeys(map(text_of, windows)))
        draw(case, self.name).shuffle(texts)
        return texts


def figures_of(rated: Sequence[tuple[int, float]]) -> dict[str, float | None]:
    """All figures of ratings, 0 to 2, and activations."""
    clear = [(rating == 2, activation) for rating, activation in rated if rating != 1]
    concept, activations = [c for c, _ in clear], [a for _, a in clear]
    found, purity = separation(concept, activations), auprc(concept, activations)
    share = fmean(concept) if concept else None
    turned = found is not None and found < 0
    return {
        "responsiveness": found,
        "responsiveness_fade": None if found is None else abs(found),
        "purity": purity,
        "purity_fade": auprc(concept, [-a for a in activations]) if turned else purity,
        "purity_above_chance": None if purity is None or share is None else (purity - share) / (1 - share),
        "concept_share": share,
    }
