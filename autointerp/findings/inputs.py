"""The inputs of a run in `summary.json`: subject, dictionary with its fit and studies, corpus, rubric."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from autointerp.stats.estimates import Part


class SubjectFacts(Part):
    """The language model."""

    name: str
    fingerprint: str
    precision: str


class DictionaryFacts(Part):
    """The dictionary."""

    name: str
    format: str
    architecture: str
    d_in: int
    d_sae: int
    fingerprint: str


class CorpusFacts(Part):
    """The corpus."""

    sources: list[str]
    n_documents: int
    n_contexts: int
    n_tokens: int
    n_counted: int
    """Tokens that count as events."""
    fingerprint: str


class Level(Part):
    """One level of the rubric."""

    grade: int
    text: str


class RubricFacts(Part):
    """The rubric."""

    name: str
    version: str
    hash: str | None = None
    levels: list[Level]

    @property
    def grades(self) -> list[int]:
        """The grades, ascending."""
        return sorted(level.grade for level in self.levels)


class Loss(Part):
    """The subject's loss in nats per token: as it is, with the reconstruction, and with zeros in place of the activations."""

    clean: float | None
    reconstructed: float | None
    zeroed: float | None
    tokens: int


class Fit(Part):
    """The dictionary's fit to the subject, measured before the harvest."""

    tokens: int
    l0: float | None
    variance_explained: float | None
    dead_fraction: float | None
    norm_ratio: float | None
    cosine: float | None
    loss: Loss | None
    loss_recovered: float | None
    verdict: Literal["fits", "doubtful", "nothing"]
    said: str
    """The verdict in one line; empty if the dictionary fits."""


class DensityStudy(Part):
    """Shares of tokens at which features are active."""

    features: int
    dead: int
    dead_share: float
    median: float | None
    log10_edges: list[float]
    counts: list[int]


class L0Study(Part):
    """Active features per token."""

    mean: float
    median: float
    p5: float
    p95: float
    edges: list[int]
    shares: list[float]


class CorrelationShares(Part):
    """Correlations of features with their most correlated neuron."""

    at_most: float
    share: float | None
    """Share of features whose highest correlation is at most `at_most`."""
    median: float | None
    counts: list[int]


class NeuronMatch(Part):
    """A feature's most correlated neuron, by signed and by absolute correlation."""

    feature: int
    r: float | None
    neuron: str
    r_absolute: float | None
    neuron_absolute: str


class CorrelationStudy(Part):
    """Features compared with the neurons of the layers before them; only `skipped` where that was not possible."""

    skipped: str | None = None
    features: int = 0
    silent: int = 0
    asked: int = 0
    layers: list[str] = Field(default_factory=list)
    edges: list[float] = Field(default_factory=list)
    signed: CorrelationShares | None = None
    absolute: CorrelationShares | None = None
    best: list[NeuronMatch] = Field(default_factory=list)


class RoundedSpecificity(Part):
    """Mean grade of features when activations up to a share of the maximum count as zero."""

    share: float
    mean: float | None
    ci_low: float | None
    ci_high: float | None
    n_units: int


class RoundingStudy(Part):
    """The effect of rounding weak activations to zero."""

    tokens: int
    shares: list[float]
    variance_explained: list[float | None]
    specificity: list[RoundedSpecificity] = Field(default_factory=list)


class Studies(Part):
    """Measurements of the whole dictionary."""

    tokens: int
    density: DensityStudy
    l0: L0Study
    correlation: CorrelationStudy
    rounding: RoundingStudy
