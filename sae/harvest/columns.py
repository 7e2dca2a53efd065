"""The columns of a harvest's two tables. Needs neither torch nor pandas."""

from __future__ import annotations

from typing import TypedDict


class UnitRow(TypedDict):
    """One unit, a row of `units.parquet`."""

    unit_id: str
    kind: str
    index: int
    sign: str
    """Of a neuron, the sign that counts as active: `+` or `-`."""
    hook_point: str
    max_activation: float
    density: float
    """Share of the counted tokens at which the unit is active."""
    status: str
    """`alive`, `barely_active` (active in too few documents to be explained and judged) or `dead`."""
    n_events: int
    """Counted tokens at which the unit is active."""
    bin_events: list[int]
    """Those in each bin."""
    judging_bin_events: list[int]
    """Those in each bin that are in the documents of the judging side."""
    histogram: list[int]
    """Those in each of `HISTOGRAM_BINS` equal parts of (0, max_activation]."""


class ExemplarRow(TypedDict):
    """One exemplar, a row of `exemplars.parquet`."""

    exemplar_id: str
    unit_id: str
    role: str
    document: int
    position: int
    """Position of the marked token within the document."""
    turn: str | None
    """Role and number of the message in which the marked token stands, such as `assistant 2`; only in conversations."""
    activation: float
    activation_fraction: float
    """Activation as a share of the unit's maximum."""
    bin: int
    inclusion_probability: float | None
    """Probability with which the event is judged, its document on the judging side included; only for exemplars that are judged by
    bin. The sum of 1 / probability over a bin's exemplars is an unbiased estimate of the number of its events. In a table of an
    earlier version it is the share of the bin's events that are judged."""
    rarity_low: float | None
    """Share of the counted tokens at which the unit is more active, to the precision of a cell of its histogram."""
    rarity_high: float | None
    """Share of the counted tokens at which the unit is at least as active, to the same precision. Events of one cell share the range
    from `rarity_low` to `rarity_high`. None for planted units and
    windows of aids; tables of earlier versions lack both columns."""
    mark: int
    """Index of the marked token in `tokens`."""
    tokens: list[str]
    token_activations: list[float]
    """Activation at each token; 0 at tokens that are not counted."""
    counted: list[bool]
    """Whether each token is counted. The first positions of a context, special tokens and tokens of massive norm are not. Tables of
    earlier versions lack this column, and have activations at such tokens."""


UNIT_COLUMNS = list(UnitRow.__annotations__)
EXEMPLAR_COLUMNS = list(ExemplarRow.__annotations__)
COUNTED = "counted"
HISTOGRAM_BINS = 20
