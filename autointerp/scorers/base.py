"""What every evaluation besides the rubric is: questions about one unit to a judge, perhaps work for the subject, and figures.

A scorer goes through `steps`. An `ask` step puts questions to the judge, a `run` step gives the subject texts to read or to go on
from. What a step yields may rest on all that earlier steps brought. Everything is a pure function of the case and of that, so
a run that was stopped asks the same questions again, and finds those already answered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from autointerp.messages import Prompt
from autointerp.records import Exemplar, Unit

Brought = Sequence[Sequence[Any]]
"""What each earlier step brought: for each of its questions the parsed answer, or what the subject did; None where it failed."""


@dataclass(frozen=True)
class Case:
    """All that is known of one unit.

    `active` are its judged windows, a fair sample of each activation bin; `quiet` windows in which it is silent at the mark. No
    explainer saw any of them. `others` holds `active` of other units of its kind, nearest decoder direction first. `explanation`
    is empty where a scorer needs none. `seed` is the unit's own.
    """

    unit: Unit
    explanation: str
    active: tuple[Exemplar, ...]
    quiet: tuple[Exemplar, ...]
    others: tuple[tuple[Exemplar, ...], ...]
    seed: int


class Question(NamedTuple):
    """One question to the judge, and how its reply is read: to plain JSON values, or `ReplyUnusable`."""

    prompt: Prompt
    parse: Callable[[str], Any]


@dataclass(frozen=True)
class Read:
    """A text for the subject to read; brings the unit's activation at each token, without BOS, as a list of numbers."""

    text: str


@dataclass(frozen=True)
class Steer:
    """A text for the subject to go on from while the unit is held at an activation; brings the new text, of `tokens` tokens.

    `factor` is that activation in multiples of the unit's largest; 0 silences the unit.
    """

    text: str
    factor: float
    tokens: int


class Scores(NamedTuple):
    """A unit's figures by name, None where undefined, over `n` answers; `n_unscored` brought nothing."""

    values: Mapping[str, float | None]
    n: int
    n_unscored: int


class Scorer(Protocol):
    """One evaluation. `figures` says what each figure means, the first being the one that is compared, better high."""

    name: str
    source: str
    """Paper and section, or code, that defines it."""
    needs_explanation: bool
    steps: tuple[Literal["ask", "run"], ...]
    figures: Mapping[str, str]
    chance: float | None
    """What the first figure is worth to a judge that guesses; None where that depends on the unit."""

    def questions(self, case: Case, step: int, brought: Brought) -> Sequence[Question]:
        """The questions of an `ask` step; none where the unit cannot be evaluated so."""
        ...

    def work(self, case: Case, step: int, brought: Brought) -> Sequence[Read | Steer]:
        """What the subject does in a `run` step."""
        ...

    def score(self, case: Case, brought: Brought) -> Scores:
        """The unit's figures, after all steps."""
        ...
