"""Simulation: given only the explanation, how well does the judge predict the unit's activation at every token?

Bills et al. take, at each token, the mean of the simulator's probabilities of 0 to 10, for all tokens in one pass over the prompt.
No chat API returns the probabilities of a prompt's own tokens, and one question per token would cost hundreds of times more, so the judge
here gives whole numbers for all tokens at once, as in neuron-explainer's later simulator without probabilities. It lists the
tokens above 0 by their number, because replies that repeat every token lose count. The truth is rounded to whole numbers too: else a
perfect judge scores 1.00 for sparse features and 0.97 for dense neurons, most of whose activations are below half a step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, TypeGuard

from autointerp.messages import MarkedText, Prompt, TaskMaterial
from autointerp.prompts.replies import ReplyUnusable, read_object
from autointerp.prompts.untrusted_text import sanitise
from autointerp.records import Exemplar, Outcome
from autointerp.scorers.base import Case, Question, Scorer, Scores, StepAnswers
from autointerp.scorers.common_questions import DATA_ONLY, numbered
from autointerp.stats import answer_metrics

TOP = 10
"""The strongest prediction, which stands for the unit's maximum."""
PER_CALL = 4
"""Windows in one question."""
MAX_TOKENS = 2000
SYSTEM = f"""\
An explanation says what a unit inside a language model responds to. Below it stand texts, one token a line, each after its number.

Foresee how strongly the unit responds at each token, from 0 (not at all) to 10 (as strongly as it ever does), going by the \
explanation and by the tokens before it. Most units respond at few tokens, and at none of many a text.

{DATA_ONLY}

Reply with a JSON object whose "strengths" lists the tokens above 0, each with its number ("token") and its strength from 1 to 10. \
The list may be empty."""
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "strengths": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "token": {"type": "integer"},
                    "strength": {"type": "integer", "enum": list(range(1, TOP + 1))},
                },
                "required": ["token", "strength"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["strengths"],
    "additionalProperties": False,
}


class Simulation(Scorer):
    """Asks how strongly the unit is active at each token."""

    name = "simulation"
    source = "Bills et al. 2023, Language models can explain neurons in language models; openai/automated-interpretability, scoring.py"
    needs_explanation = True
    figures: ClassVar[Mapping[str, str]] = {
        "pearson": "Pearson correlation of predicted and true activation over all counted tokens of all windows together",
        "spearman": "Spearman rank correlation of the same, as in Towards Monosemanticity",
        "cosine": "cosine of the two, without subtracting their means",
        "square_explained": "1 - squared error / square of the truth, in tenths of the unit's maximum; not calibrated",
        "deviation_explained": "1 - absolute error / absolute truth, in tenths of the unit's maximum; not calibrated",
    }
    chance = 0.0

    def windows(self, case: Case) -> list[Exemplar]:
        """One window per bin and as many silent ones, shuffled: about the number that Bills et al. simulate, over all strengths."""
        rng = case.rng(self.name)
        by_bin: dict[int, list[Exemplar]] = {}
        for exemplar in case.active:
            by_bin.setdefault(exemplar.bin, []).append(exemplar)
        chosen = [rng.choice(exemplars) for _, exemplars in sorted(by_bin.items())]
        chosen += rng.sample(case.silent, min(len(chosen), len(case.silent)))
        rng.shuffle(chosen)
        return chosen

    def questions(self, case: Case, step: int, answers: StepAnswers) -> Sequence[Question]:
        """Four windows per question, their tokens numbered consecutively."""
        if not _can_ask(case):
            return []
        return [_question(case.explanation, group) for group in _groups(self.windows(case))]

    def score(self, case: Case, answers: StepAnswers) -> Scores:
        """One correlation over all counted tokens, not a mean over windows. A constant prediction scores 0."""
        pairs: list[tuple[int, int]] = []
        windows, n = self.windows(case) if _can_ask(case) else [], 0
        for group, strengths in zip(_groups(windows), answers[0] if answers else (), strict=False):
            if strengths is not None:
                n += len(group)
                tokens = [(e, i) for e in group for i in range(len(e.tokens))]
                pairs += [
                    (round(TOP * e.token_activations[i] / case.unit.max_activation), strength)
                    for (e, i), strength in zip(tokens, strengths, strict=True)
                    if i not in e.uncounted
                ]
        truth, predicted = [a for a, _ in pairs], [strength for _, strength in pairs]
        values = {name: getattr(answer_metrics, name)(truth, predicted) for name in self.figures}
        constant, silent = "the unit's activation is the same at all tokens", "the unit is silent at all tokens"
        why = dict.fromkeys(self.figures, silent) | dict.fromkeys(("pearson", "spearman"), constant)
        return Scores(values, n, len(windows) - n, why if n else "no judged window")


def read(text: str, n: int) -> list[int]:
    """The predicted strength, 0 to 10, of each of `n` tokens.

    Raises `ReplyUnusable` for a token or a strength out of range, rather than dropping or clipping it.
    """
    listed = read_object(text).get("strengths")
    if not isinstance(listed, list):
        raise ReplyUnusable(f"the reply has no list of strengths: {text[:80]!r}")
    strengths: dict[int, int] = {}
    for entry in listed:
        token, strength = (entry.get("token"), entry.get("strength")) if isinstance(entry, dict) else (None, None)
        if not (_is_int(token) and _is_int(strength)):
            raise ReplyUnusable(f"a strength is not two whole numbers: {str(entry)[:80]!r}")
        if not (1 <= token <= n and 0 <= strength <= TOP):
            raise ReplyUnusable(f"token {token} of {n} at strength {strength}", Outcome.OUT_OF_RANGE)
        if strengths.setdefault(token, strength) != strength:
            raise ReplyUnusable(f"token {token} has two strengths, {strengths[token]} and {strength}")
    return [strengths.get(token, 0) for token in range(1, n + 1)]


def _can_ask(case: Case) -> bool:
    return bool(case.explanation and case.active)


def _groups(windows: Sequence[Exemplar]) -> list[Sequence[Exemplar]]:
    """The windows of each question."""
    return [windows[i : i + PER_CALL] for i in range(0, len(windows), PER_CALL)]


def _question(explanation: str, group: Sequence[Exemplar]) -> Question:
    windows = tuple(MarkedText(e.tokens, 0) for e in group)
    shown, number = [], 0
    for window in windows:
        lines = []
        for token in window.tokens:
            number += 1
            lines.append(f"{number} {json.dumps(sanitise(token), ensure_ascii=False)}")
        shown.append("\n".join(lines))
    user = f"<explanation>\n{sanitise(explanation)}\n</explanation>\n{numbered(shown)}"
    material = TaskMaterial(Simulation.name, explanation, windows)
    return Question(Prompt(SYSTEM, user, SCHEMA, MAX_TOKENS, material), partial(read, n=number))


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
