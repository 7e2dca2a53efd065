"""The nouns of an evaluation, as frozen records: units, exemplars, explanations, judgements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from autointerp.messages import MarkedText

Kind = Literal[
    "feature", "neuron", "planted", "random_dictionary", "random_subject", "basis_direction", "random_direction"
]
"""Features and neurons are compared; the others are controls: synthetic units, features of untrained weights, and directions of the
residual stream."""

COMPARED = ("feature", "neuron")
"""The kinds that a run compares."""

PLANTED = "planted"
"""The kind of synthetic units, whose explanations are known and whose items have a true grade."""

RANDOM_KINDS = ("random_dictionary", "random_subject")
"""The kinds of random-weight controls."""

DIRECTION_KINDS = ("basis_direction", "random_direction")
"""The kinds of directions that no dictionary learnt."""


class Arm(StrEnum):
    """Why an exemplar is judged."""

    MAIN = "main"
    """A fair sample of each activation bin, under the unit's own explanation."""
    SHUFFLED = "shuffled"
    """The unit's exemplars under another unit's explanation: the floor."""
    BASE_RATE = "base_rate"
    """Windows in which the unit is silent, under its own explanation: how easily any text earns a grade."""
    NEAR = "near"
    """Planted units: windows that contain what the explanation names, but not at the mark."""
    NEIGHBOUR = "neighbour"
    """Windows in which one of the nearest units is strongly active and the unit silent at the mark, under its own explanation: whether the
    explanation tells the unit from its neighbours."""
    VARIANT = "variant"
    """The main sample under a second explanation of the unit, made with an aid."""


AID_SEPARATOR = "#"

SECOND_JUDGE = "second"
"""`Judgement.judge` of a cascade's second judge."""


class Outcome(StrEnum):
    """How one question to a judge ended. Everything but `SCORED` is unscored, and never counts as a score."""

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
    """The job was started several times and never finished."""


GIVEN = "given: "
"""What stands before the author's name in place of an explainer, if a run was given its explanations."""


@dataclass(frozen=True)
class Unit:
    """A feature or one sign of a neuron, with its statistics over the whole corpus.

    `density` is the share of counted tokens at which it is active.
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

    `role` is what the exemplar is used for: `explain_*` for explaining; `score`, `quiet`, `near` and `neighbour` for judging; `top` for
    display.
    Explaining and judging never share a document. `bin` is 0 for silent windows, else 1..bins. `inclusion_probability` is that
    with which the event is judged.
    """

    exemplar_id: str
    unit_id: str
    role: Literal["explain_top", "explain_spread", "explain_quiet", "score", "quiet", "near", "neighbour", "top"]
    document: int
    position: int
    activation: float
    activation_fraction: float
    bin: int
    inclusion_probability: float
    mark: int
    tokens: tuple[str, ...]
    token_activations: tuple[float, ...]
    uncounted: frozenset[int] = frozenset()
    """Indices of the tokens that are not counted, such as the first of a context. The unit has no activation there, and no figure and
    no mark includes them."""
    has_uncounted_activations: bool = False
    """Whether `token_activations` are those of an earlier version, which had activations at uncounted tokens."""

    @property
    def text(self) -> str:
        """The window as plain text."""
        return "".join(self.tokens)

    @property
    def marked_text(self) -> MarkedText:
        """The window with its mark and without activations, as scoring judges see it."""
        return MarkedText(self.tokens, self.mark)


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
        """Reverse `text`."""
        unit_id, _, aid = text.partition(AID_SEPARATOR)
        return cls(unit_id, aid)


@dataclass(frozen=True)
class Explanation:
    """A unit's explanation, or the reason why it has none (`text` is then empty)."""

    key: ExplanationKey
    outcome: Outcome
    text: str
    reason: str
    call_key: str | None


@dataclass(frozen=True)
class Item:
    """An exemplar to be judged under an explanation. `key` is the key under which its judgement is stored."""

    key: str
    unit_id: str
    exemplar_id: str
    arm: Arm
    repeat: int
    explained_by: ExplanationKey
    """The explanation that is shown."""


@dataclass(frozen=True)
class ScorerAnswer:
    """The answer to one question of a scorer, or the subject's result for one of its tasks.

    `answer` is a plain JSON value, None unless `outcome` is `scored`. `number` counts the questions of a unit and step from 0.
    """

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
    """Mean grade under the judge's token probabilities, if they were requested."""
    judge: str = ""
    """Empty for the spec's judge; `SECOND_JUDGE` for the one that grades again."""
    asked_in: str = ""
    """Key of the job that asked about several items at once; empty for a question about this item alone."""


@dataclass(frozen=True)
class AidCounts:
    """How many windows or tokens of each aid an explainer is shown, and whether its explanation is revised."""

    contrast: int
    neighbours: int
    logits: int
    revise: bool

    def __bool__(self) -> bool:
        return bool(self.contrast or self.neighbours or self.logits or self.revise)


@dataclass(frozen=True)
class Aids:
    """Material for explaining one unit beyond its own windows: see `ExplainMaterial`."""

    contrast: tuple[Exemplar, ...] = ()
    neighbours: tuple[Exemplar, ...] = ()
    held_out: tuple[Exemplar, ...] = ()
    """Active and silent windows on which a first explanation is tested before it is revised."""
    raised: tuple[str, ...] = ()
    lowered: tuple[str, ...] = ()

    def only(self, counts: AidCounts) -> Aids:
        """The first of each aid, as many as `counts` says."""
        return Aids(
            self.contrast[: counts.contrast],
            self.neighbours[: counts.neighbours],
            self.held_out if counts.revise else (),
            self.raised[: counts.logits],
            self.lowered[: counts.logits],
        )


def main_exemplars(exemplars: Iterable[Exemplar]) -> list[Exemplar]:
    """A unit's exemplars of the main arm."""
    return [e for e in exemplars if e.role == "score"]


def explanation_text(explanations: Mapping[ExplanationKey, Explanation], key: ExplanationKey) -> str:
    """The explanation under a key; empty if there is none."""
    return explanations[key].text if key in explanations else ""
