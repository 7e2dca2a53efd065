"""The base of scorers: questions for the judge, optional tasks for the subject, and figures per unit.

A scorer goes through its `steps`. An `ask` step puts questions to the judge, a `run` step gives the subject texts to read or to
continue. A step may depend on the answers of all earlier ones. Everything is a pure function of the case and of those answers, so a
resumed run asks the same questions again and finds the ones already answered.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, ClassVar, Literal, NamedTuple

from autointerp.messages import MarkedText, Prompt
from autointerp.records import Exemplar, Unit

StepAnswers = Sequence[Sequence[Any]]
"""For each finished step, the parsed answer to each of its questions or the subject's result of each task; None for a failed one."""


@dataclass(frozen=True)
class Case:
    """The evidence about one unit. No explainer saw any of its windows."""

    unit: Unit
    explanation: str
    """Empty if the unit has none and the scorer needs none."""
    active: tuple[Exemplar, ...]
    """The unit's judged windows: a fair sample of each activation bin."""
    silent: tuple[Exemplar, ...]
    """Windows in which the unit is silent at the mark."""
    others: tuple[tuple[Exemplar, ...], ...]
    """`active` of other units of the same kind, nearest decoder direction first."""
    seed: int
    """Seed derived from the run's seed and the unit."""
    neighbours: tuple[Exemplar, ...] = ()
    """Windows in which one of the unit's nearest neighbours is strongly active, and the unit is silent at the mark."""
    sharing: int = 1
    """Units of its kind with the same explanation, this one included. Known when figures are computed, and 1 before."""

    def rng(self, scorer: str) -> random.Random:
        """A scorer's random numbers for this unit: the same sequence at every call."""
        return random.Random(f"{self.seed}:{scorer}")


class Question(NamedTuple):
    """A question to the judge, and the parser of its reply: returns plain JSON values or raises `ReplyUnusable`."""

    prompt: Prompt
    parse: Callable[[str], Any]
    alone: Callable[[], Sequence[Question]] = tuple
    """The same question about each of its items alone, for a question whose answer is a list with a value for each item."""


@dataclass(frozen=True)
class ReadText:
    """A text for the subject to read. Its result is the unit's activation at each token, without BOS, as a list of numbers."""

    text: str


@dataclass(frozen=True)
class ReadPeaks:
    """Texts for the subject to read, the same for every unit, so that one pass reads them for all. Its result is the unit's largest
    activation in each text, without BOS, as a list of numbers."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class SteerText:
    """A text for the subject to continue while the unit is clamped. Its result is the continuation, of `tokens` tokens."""

    text: str
    factor: float
    """The clamped activation in multiples of the unit's maximum; 0 silences the unit."""
    tokens: int


class Shape(NamedTuple):
    """What a rule sees that reads no text: an item's class, its length in tokens, and the place of its mark as a share of the length.

    A judge must not be able to tell the classes by these, so every run measures it (`stats.giveaways`).
    """

    truth: bool
    length: float
    place: float

    @classmethod
    def of(cls, truth: bool, window: MarkedText, *, marked: bool = True) -> Shape:
        """The shape of a window as the judge is shown it, with its marks or without."""
        marks = (window.marks or (window.mark,)) if marked else (0,)
        return cls(truth, len(window.tokens), fmean(marks) / max(len(window.tokens) - 1, 1))


class Scores(NamedTuple):
    """A unit's figures by name, None if undefined, from `n` answers; `n_unscored` further questions failed."""

    values: Mapping[str, float | None]
    n: int
    n_unscored: int
    why: Mapping[str, str] | str = ""
    """Why figures are undefined: one reason for all, or a reason by figure. Without numbers, so that equal reasons can be counted."""

    def reason(self, figure: str) -> str | None:
        """Why a figure is undefined; None if it is defined."""
        if self.values[figure] is not None:
            return None
        if not self.n and self.n_unscored:
            return "no usable answer"
        given = self.why if isinstance(self.why, str) else self.why.get(figure, "")
        return given or ("not determined by its answers" if self.n else "nothing could be asked")


class Scorer(ABC):
    """One evaluation of units. A subclass sets the attributes and overrides the methods that its steps need."""

    name: ClassVar[str]
    source: ClassVar[str]
    """Paper and section, or code, that defines it."""
    needs_explanation: ClassVar[bool]
    steps: ClassVar[tuple[Literal["ask", "run"], ...]] = ("ask",)
    figures: ClassVar[Mapping[str, str]]
    """Each figure's meaning. The first figure is the one that is compared, and higher is better."""
    chance: ClassVar[float | None]
    """Expected value of the first figure for a judge that guesses; None if it depends on the unit."""

    def questions(self, case: Case, step: int, answers: StepAnswers) -> Sequence[Question]:
        """The questions of an `ask` step; none if the scorer cannot evaluate the unit."""
        return ()

    def subject_tasks(self, case: Case, step: int, answers: StepAnswers) -> Sequence[ReadText | ReadPeaks | SteerText]:
        """The texts that the subject reads or continues in a `run` step."""
        return ()

    def shapes(self, case: Case, answers: StepAnswers) -> Sequence[Shape]:
        """The shapes of the items that the judge tells apart; none for a scorer without two classes of items."""
        return ()

    @abstractmethod
    def score(self, case: Case, answers: StepAnswers) -> Scores:
        """The unit's figures, after all steps."""
