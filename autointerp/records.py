"""The nouns of an evaluation, frozen: what is studied, what was seen, what was said of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, NamedTuple

Kind = Literal["feature", "neuron", "planted", "random_dictionary", "random_subject"]
"""Features and neurons are compared; the others are controls: synthetic units, and features of what was never trained."""

COMPARED = ("feature", "neuron")
"""The kinds that a run compares."""


class Arm(StrEnum):
    """Why an exemplar is judged."""

    MAIN = "main"
    """A fair sample of each activation bin, under the unit's own explanation."""
    SHUFFLED = "shuffled"
    """The unit's exemplars under another unit's explanation: the floor."""
    BASE_RATE = "base_rate"
    """Windows in which the unit is silent, under its own explanation: how easily the explanation is earned."""
    NEAR = "near"
    """Planted units: windows that hold what the explanation names, but not at the mark."""
    VARIANT = "variant"
    """The main sample under a second explanation of the unit, made in another way."""


AID_SEPARATOR = "#"

SECOND = "second"
"""Marks the judgements of a cascade's second judge."""


class Outcome(StrEnum):
    """How one question to a judge ended. Everything but `SCORED` is unscored, and never a score."""

    SCORED = "scored"
    REFUSAL = "refusal"
    TRUNCATED = "truncated"
    PARSE_FAILURE = "parse_failure"
    OUT_OF_RANGE = "out_of_range"
    TOO_LONG = "too_long"
    CONTENT_REJECTED = "content_rejected"
    PROVIDER_ERROR = "provider_error"
    NO_EXPLANATION = "no_explanation"
    GAVE_UP = "gave_up"
    """Work on it began several times and never ended."""


@dataclass(frozen=True)
class Unit:
    """A feature or one sign of a neuron, with what the harvest found of it over the whole corpus.

    `density` is the share of counted tokens at which it is active; `documents` is the number of documents in the sketch's
    sample in which it is; `status` is `alive`, `barely_active` or `dead`.
    """

    unit_id: str
    kind: Kind
    index: int
    sign: Literal["", "+", "-"]
    hook_point: str
    max_activation: float
    density: float
    status: Literal["alive", "barely_active", "dead"]


@dataclass(frozen=True)
class Exemplar:
    """One window around one token at which a unit's activation is known.

    `role` says what it is for: `explain_top`, `explain_spread`, `explain_quiet` or, for judging, `score` and `quiet`. Documents that serve
    explaining never serve judging. `bin` is 0 for silent windows, else 1..bins. `inclusion_probability` is that of the
    exemplar among the unit's events in its bin (and role's documents).
    """

    exemplar_id: str
    unit_id: str
    role: Literal["explain_top", "explain_spread", "explain_quiet", "score", "quiet", "near", "top"]
    document: int
    position: int
    activation: float
    activation_fraction: float
    bin: int
    inclusion_probability: float
    mark: int
    tokens: tuple[str, ...]
    token_activations: tuple[float, ...]


class ExplanationKey(NamedTuple):
    """Identity of an explanation: its unit, and the aid with which it was made; no aid for the unit's own explanation."""

    unit_id: str
    aid: str = ""

    @property
    def text(self) -> str:
        """The key in files and in the ledger: `UNIT`, or `UNIT#AID`."""
        return f"{self.unit_id}{AID_SEPARATOR}{self.aid}" if self.aid else self.unit_id

    @classmethod
    def parse(cls, text: str) -> ExplanationKey:
        """The key that `text` wrote."""
        unit_id, _, aid = text.partition(AID_SEPARATOR)
        return cls(unit_id, aid)


@dataclass(frozen=True)
class Explanation:
    """A unit's explanation, or the reason why there is none (`text` is then empty)."""

    key: ExplanationKey
    outcome: Outcome
    text: str
    reason: str
    call_key: str | None


@dataclass(frozen=True)
class Item:
    """One thing to be judged: an exemplar under an explanation, with the key under which its judgement is stored."""

    key: str
    unit_id: str
    exemplar_id: str
    arm: Arm
    repeat: int
    explained_by: ExplanationKey
    """The explanation that is shown."""


@dataclass(frozen=True)
class Answered:
    """What one question of another scorer brought: plain JSON values in `answer`, None unless `outcome` is `scored`."""

    scorer: str
    unit_id: str
    step: int
    number: int
    outcome: Outcome
    answer: Any
    reason: str
    call_key: str | None


@dataclass(frozen=True)
class Judgement:
    """One judge's verdict on one exemplar. `score` is None unless `outcome` is `scored`."""

    exemplar_id: str
    unit_id: str
    arm: Arm
    repeat: int
    outcome: Outcome
    score: int | None
    reason: str
    call_key: str | None
    expected: float | None = None
    """Mean grade by the judge's own probabilities, where they were asked for."""
    judge: str = ""
    """Empty for the spec's judge; `SECOND` for the one that grades again."""
    asked_in: str = ""
    """The job that asked of several items at once; empty where it asked of this one."""


@dataclass(frozen=True)
class Wanted:
    """How much of each aid is shown."""

    contrast: int
    neighbours: int
    logits: int
    revise: bool

    def __bool__(self) -> bool:
        return bool(self.contrast or self.neighbours or self.logits or self.revise)


@dataclass(frozen=True)
class Aids:
    """All that was found for one unit, as much of it as the run wants at most."""

    contrast: tuple[Exemplar, ...] = ()
    neighbours: tuple[Exemplar, ...] = ()
    held: tuple[Exemplar, ...] = ()
    raised: tuple[str, ...] = ()
    lowered: tuple[str, ...] = ()

    def only(self, wanted: Wanted) -> Aids:
        """What is shown of it."""
        return Aids(
            self.contrast[: wanted.contrast],
            self.neighbours[: wanted.neighbours],
            self.held if wanted.revise else (),
            self.raised[: wanted.logits],
            self.lowered[: wanted.logits],
        )


PLANTED = "planted"
"""Kind of the synthetic units. Their explanations are given, and their items have a true grade."""


def judged_of(exemplars: Iterable[Exemplar]) -> list[Exemplar]:
    """A unit's exemplars of the main arm."""
    return [e for e in exemplars if e.role == "score"]


def text_of(said: Mapping[ExplanationKey, Explanation], key: ExplanationKey) -> str:
    """The explanation under a key; empty where there is none."""
    return said[key].text if key in said else ""


KINDS = ("random_dictionary", "random_subject")
