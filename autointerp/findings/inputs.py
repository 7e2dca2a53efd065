"""The inputs of a run in `summary.json`: subject, dictionary with its fit and studies, corpus, rubric."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from autointerp.stats.estimates import Part


class SubjectFacts(Part):
    """The language model."""

    name: str
    """The model as the spec names it."""
    fingerprint: str
    """Hash of its weights."""
    precision: str
    """Number format it ran in: `bfloat16` or `float32`."""


class DictionaryFacts(Part):
    """The dictionary."""

    name: str
    """The dictionary as the spec names it."""
    format: str
    """Format of its files."""
    architecture: str
    """Its activation: `relu`, `jumprelu`, `topk`, ..."""
    d_in: int
    """Width of the activations it reads."""
    d_sae: int
    """Number of features."""
    fingerprint: str
    """Hash of its weights."""


class CorpusFacts(Part):
    """The corpus."""

    sources: list[str]
    """Files or datasets, as the spec names them."""
    n_documents: int
    """Documents read."""
    n_contexts: int
    """Contexts of the subject's length, made from them."""
    n_tokens: int
    """Tokens in these contexts."""
    n_counted: int
    """Tokens that count as events."""
    fingerprint: str
    """Hash of the tokens."""


class Level(Part):
    """One level of the rubric."""

    grade: int
    """The grade."""
    text: str
    """Its wording, as the judge read it."""


class RubricFacts(Part):
    """The rubric."""

    name: str
    """The rubric's name."""
    version: str
    """Its version."""
    hash: str | None = None
    """Hash of its text."""
    levels: list[Level]
    """Its levels, as the judge read them."""

    @property
    def grades(self) -> list[int]:
        """The grades, ascending."""
        return sorted(level.grade for level in self.levels)


class Loss(Part):
    """The subject's loss in nats per token: as it is, with the reconstruction, and with zeros in place of the activations."""

    clean: float | None
    """Loss of the unchanged subject."""
    reconstructed: float | None
    """With the dictionary's reconstruction in place of the activations."""
    zeroed: float | None
    """With zeros in place of the activations."""
    tokens: int
    """Tokens predicted."""


class Fit(Part):
    """The dictionary's fit to the subject, measured before the harvest."""

    tokens: int
    """Tokens measured."""
    l0: float | None
    """Mean number of active features per token."""
    variance_explained: float | None
    """Share of the activations' variance that the reconstruction explains."""
    dead_fraction: float | None
    """Share of features that were never active."""
    norm_ratio: float | None
    """Mean norm of the reconstruction over that of the activations."""
    cosine: float | None
    """Mean cosine of reconstruction and activations."""
    loss: Loss | None
    """The subject's loss with and without the dictionary."""
    loss_recovered: float | None
    """(zeroed - reconstructed) / (zeroed - clean)."""
    verdict: Literal["fits", "doubtful", "nothing"]
    """`fits`, `doubtful`, or `nothing` if the dictionary explains nothing."""
    said: str
    """The verdict in one line; empty if the dictionary fits."""


class DensityStudy(Part):
    """Shares of tokens at which features are active."""

    features: int
    """Features measured."""
    dead: int
    """Features that were never active."""
    dead_share: float
    """Their share."""
    median: float | None
    """Median density of the others."""
    log10_edges: list[float]
    """Edges of the histogram, log10 of the density."""
    counts: list[int]
    """Features between neighbouring edges."""


class L0Study(Part):
    """Active features per token."""

    mean: float
    """Mean."""
    median: float
    """Median."""
    p5: float
    """5th percentile."""
    p95: float
    """95th percentile."""
    edges: list[int]
    """Edges of the histogram."""
    shares: list[float]
    """Shares of tokens between neighbouring edges."""


class CorrelationShares(Part):
    """Correlations of features with their most correlated neuron."""

    at_most: float
    """The threshold."""
    share: float | None
    """Share of features whose highest correlation is at most `at_most`."""
    median: float | None
    """Median of the features' highest correlations."""
    counts: list[int]
    """Features between neighbouring `edges`."""


class NeuronMatch(Part):
    """A feature's most correlated neuron, by signed and by absolute correlation."""

    feature: int
    """Index of the feature."""
    r: float | None
    """Its highest correlation with a neuron."""
    neuron: str
    """That neuron's id."""
    r_absolute: float | None
    """Its highest absolute correlation with a neuron."""
    neuron_absolute: str
    """That neuron's id."""


class CorrelationStudy(Part):
    """Features compared with the neurons of the layers before them; only `skipped` where that was not possible."""

    skipped: str | None = None
    """Why the study was not made."""
    features: int = 0
    """Features compared."""
    silent: int = 0
    """Features that were never active, which have no correlation."""
    asked: int = 0
    """Features that the spec asks for."""
    layers: list[str] = Field(default_factory=list)
    """Hook points of the neurons."""
    edges: list[float] = Field(default_factory=list)
    """Edges of the histograms."""
    signed: CorrelationShares | None = None
    """Highest signed correlations."""
    absolute: CorrelationShares | None = None
    """Highest absolute correlations."""
    best: list[NeuronMatch] = Field(default_factory=list)
    """The most correlated neuron of each sampled feature."""


class RoundedSpecificity(Part):
    """Mean grade of features when activations up to a share of the maximum count as zero."""

    share: float
    """Share of a feature's maximum up to which activations count as zero."""
    mean: float | None
    """Mean grade of what remains."""
    ci_low: float | None
    """Lower end of its interval."""
    ci_high: float | None
    """Upper end of its interval."""
    n_units: int
    """Features with a grade."""


class RoundingStudy(Part):
    """The effect of rounding weak activations to zero."""

    tokens: int
    """Tokens measured."""
    shares: list[float]
    """Shares of a feature's maximum up to which activations count as zero."""
    variance_explained: list[float | None]
    """Variance explained at each of the shares."""
    specificity: list[RoundedSpecificity] = Field(default_factory=list)
    """Mean grade of features at each of the shares."""


class Studies(Part):
    """Measurements of the whole dictionary."""

    tokens: int
    """Tokens measured."""
    density: DensityStudy
    """Shares of tokens at which features are active."""
    l0: L0Study
    """Active features per token."""
    correlation: CorrelationStudy
    """Features compared with the neurons before them."""
    rounding: RoundingStudy
    """The effect of rounding weak activations to zero."""
