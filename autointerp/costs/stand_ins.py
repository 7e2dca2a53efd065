"""Stand-ins for questions that cannot be built yet, as long as a spec lets them be: before the harvest, or before an explanation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice

from autointerp.harvest import explainer_windows
from autointerp.messages import ExplainMaterial, MarkedText, Prompt, ScoreMaterial
from autointerp.prompts import explanation, grouped_grades, single_grade
from autointerp.spec.rubric import Rubric
from autointerp.spec.spec import Spec

EXPLANATION = "mentions of a particular place, person or thing, and words that commonly stand beside them in the text"
"""Stands for an explanation."""
WORD = " written"
"""Stands for a token: as many bytes as few vocabularies reach on average over a window."""


def window(spec: Spec) -> MarkedText:
    """A window of the length that the spec asks for."""
    return MarkedText((WORD,) * spec.harvest.window_tokens, 0)


def explaining(spec: Spec, rubric: Rubric, windows: Sequence[MarkedText]) -> Prompt:
    """An explainer's question with every window and aid that the spec gives it, made from `windows` in turn."""
    shown = [replace(text, activation_levels=(10,) * len(text.tokens)) for text in windows]
    aid = explainer_windows.requested_aids(spec, *spec.explain.compare)

    def take(n: int) -> tuple[MarkedText, ...]:
        return tuple(islice(cycle(shown), n))

    material = ExplainMaterial(
        take(spec.explain.top + spec.explain.spread),
        take(spec.explain.quiet),
        contrast=take(aid.contrast),
        neighbours=take(aid.neighbours),
        raised=(WORD,) * aid.logits,
        lowered=(WORD,) * aid.logits,
    )
    return explanation.prompt(rubric, material, spec.explained_by.max_output_tokens)


def scoring(spec: Spec, rubric: Rubric, explained: str, windows: Sequence[MarkedText], per_call: int) -> list[Prompt]:
    """A judge's questions about `windows`, one about each; with `per_call` above 1, a single question about that many."""
    items = [ScoreMaterial(explained, text) for text in windows]
    ask, ceiling = spec.score.ask, spec.judge.max_output_tokens
    if per_call == 1 or ask == "logprobs":
        return [single_grade.prompt(rubric, item, ceiling, ask) for item in items]
    return [grouped_grades.prompt(rubric, list(islice(cycle(items), per_call)), ceiling, ask)]
