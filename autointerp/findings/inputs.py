"""The inputs of a run in `summary.json`: subject, dictionary with its fit and studies, corpus and rubric."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from autointerp.stats.estimates import Part


class SubjectFacts(Part):
    """The subject: the language model whose activations the dictionary was trained on."""

    name: str
    """The model's name or path in the spec."""
    fingerprint: str
    """Hash of its weights."""
    precision: str
    """Number format in which it ran: `bfloat16` or `float32`."""
    n_tokens: int | None = None
    """Number of tokens of its tokenizer; null in summaries of early versions."""
    n_embeddings: int | None = None
    """Number of tokens that have an embedding; null in summaries of early versions."""


class DictionaryFacts(Part):
    """The dictionary: the sparse autoencoder or transcoder under evaluation."""

    name: str
    """The dictionary's name or path in the spec."""
    format: str
    """Format of its files, as in docs/dictionaries.md."""
    architecture: str
    """Its activation function: `relu`, `jumprelu`, `topk`, ..."""
    d_in: int
    """Width of the activations that it reads."""
    d_sae: int
    """Number of features."""
    fingerprint: str
    """Hash of its weights."""
    trained_with_bos: bool | None = None
    """Whether each context began with BOS in training; null if its files do not say."""
    trained_context: int | None = None
    """Number of tokens in a context in training; null if its files do not say."""
    neuronpedia: str | None = None
    """Address of its page on Neuronpedia; absent if SAELens' registry names none, or was not installed."""


class CorpusContents(Part):
    """How the documents that were read became those of the corpus."""

    duplicates: int
    """Number of documents left out because an earlier one has the same text."""
    near_duplicates: int
    """Number of documents that are counted as one with an earlier document that they resemble."""
    cut: int
    """Number of long documents that were cut into pieces."""
    pieces: int
    """Number of these pieces, each counted as a document."""


class CorpusFacts(Part):
    """The corpus: the text in which units are active."""

    sources: list[str]
    """Files or datasets, as named in the spec."""
    n_documents: int
    """Number of documents, without duplicates and near-duplicates, and with pieces of long ones."""
    n_contexts: int
    """Number of contexts into which the documents were cut."""
    n_tokens: int
    """Number of tokens in these contexts."""
    n_counted: int
    """Number of tokens that count: not BOS, the first position of a context, or tokens of massive norm."""
    fingerprint: str
    """Hash of the tokens."""
    context_tokens: int | None = None
    """Largest number of tokens in a context, BOS included; null in summaries of early versions."""
    bos: bool | None = None
    """Whether each context began with BOS; null in summaries of early versions."""
    bos_statement: str | None = None
    """The token put before each context, or none, and the reason, in one line."""
    contents: CorpusContents | None = None
    """Duplicates and long documents; null in summaries of early versions."""
    contents_statement: str | None = None
    """The same in one line."""


class Level(Part):
    """One level of the rubric."""

    grade: int
    """The grade."""
    text: str
    """The level's wording, as the judge read it."""


class RubricFacts(Part):
    """The rubric: the scale on which the judge grades."""

    name: str
    """The rubric's name."""
    version: str
    """Its version."""
    hash: str | None = None
    """Hash of its text; null in summaries of early versions."""
    levels: list[Level]
    """Its levels, as the judge read them."""

    @property
    def grades(self) -> list[int]:
        """The grades in ascending order."""
        return sorted(level.grade for level in self.levels)


class Loss(Part):
    """The subject's loss in nats per token, with and without the dictionary in its place."""

    clean: float | None
    """Loss of the unchanged subject."""
    reconstructed: float | None
    """Loss with the activations replaced by the dictionary's reconstruction."""
    zeroed: float | None
    """Loss with the activations replaced by zeros."""
    tokens: int
    """Number of tokens predicted."""


class Fit(Part):
    """How well the dictionary fits the subject, measured on a sample of tokens before the harvest.

    What needs a reconstruction is null for dictionaries without one.
    """

    tokens: int
    """Number of tokens measured."""
    l0: float | None
    """Mean number of active features per token."""
    variance_explained: float | None
    """Share of the activations' variance that the reconstruction explains."""
    dead_fraction: float | None
    """Share of features that were never active on these tokens."""
    norm_ratio: float | None
    """Mean norm of the reconstruction divided by the mean norm of the activations."""
    cosine: float | None
    """Mean cosine similarity of reconstruction and activations."""
    loss: Loss | None
    """The subject's loss with and without the dictionary; null if it was not measured."""
    loss_recovered: float | None
    """(zeroed - reconstructed) / (zeroed - clean) of `loss`; null if zeroing does not raise the loss."""
    verdict: Literal["fits", "doubtful", "nothing"]
    """`fits`; `doubtful` if the dictionary explains little; `nothing` if it explains none of the variance."""
    said: str
    """What is wrong, in one line; empty if the dictionary fits."""


class DensityStudy(Part):
    """Densities of the dictionary's features. The density of a feature is the share of tokens at which it is active."""

    features: int
    """Number of features measured."""
    dead: int
    """Number of features that were never active."""
    dead_share: float
    """Share of features that were never active."""
    median: float | None
    """Median density of the features that were active."""
    log10_edges: list[float]
    """Edges of the histogram, as log10 of the density."""
    counts: list[int]
    """Number of features between neighbouring edges."""


class L0Study(Part):
    """L0: the number of features active at a token."""

    mean: float
    """Mean over tokens."""
    median: float
    """Median over tokens."""
    p5: float
    """5th percentile over tokens."""
    p95: float
    """95th percentile over tokens."""
    edges: list[int]
    """Edges of the histogram."""
    shares: list[float]
    """Share of tokens between neighbouring edges."""


class CorrelationShares(Part):
    """How similar features are to neurons: the correlation of each feature's activation with that of its most correlated neuron."""

    at_most: float
    """The correlation up to which a feature counts as unlike any neuron."""
    share: float | None
    """Share of features whose highest correlation is at most `at_most`; null if no feature was active."""
    median: float | None
    """Median of the features' highest correlations."""
    counts: list[int]
    """Number of features between neighbouring `edges`."""


class NeuronMatch(Part):
    """The most correlated neuron of one feature, by signed and by absolute correlation."""

    feature: int
    """Index of the feature."""
    r: float | None
    """Its highest correlation with a neuron; null if it was never active."""
    neuron: str
    """The neuron of that correlation, as `hook_point:index`."""
    r_absolute: float | None
    """Its correlation with the neuron of the highest absolute correlation; null if it was never active."""
    neuron_absolute: str
    """The neuron of that correlation, as `hook_point:index`."""


class CorrelationStudy(Part):
    """The sampled features compared with the neurons of the layers before the hook point.

    If they could not be compared, only `skipped` is set.
    """

    skipped: str | None = None
    """Why features were not compared; null or absent if they were."""
    features: int = 0
    """Number of features compared."""
    silent: int = 0
    """Number of sampled features that were never active on these tokens and have no correlation."""
    asked: int = 0
    """Number of features that the spec asks for."""
    layers: list[str] = Field(default_factory=list)
    """Hook points of the neurons."""
    edges: list[float] = Field(default_factory=list)
    """Edges of the histograms of correlations."""
    signed: CorrelationShares | None = None
    """By the highest signed correlation."""
    absolute: CorrelationShares | None = None
    """By the highest absolute correlation."""
    best: list[NeuronMatch] = Field(default_factory=list)
    """The most correlated neurons of each sampled feature."""


class RoundedSpecificity(Part):
    """Mean grade of features if their activations up to a share of their maximum count as zero."""

    share: float
    """Share of a feature's maximum up to which activations count as zero."""
    mean: float | None
    """Mean grade over the activations above it, bins weighted by their events; null if none of them has a grade."""
    ci_low: float | None
    """Lower end of the interval; null if it cannot be computed."""
    ci_high: float | None
    """Upper end of the interval; null if it cannot be computed."""
    n_units: int
    """Number of features with a grade above the share."""


class RoundingStudy(Part):
    """What rounding weak activations to zero does to specificity and to reconstruction."""

    tokens: int
    """Number of tokens measured."""
    shares: list[float]
    """Shares of a feature's maximum up to which activations count as zero."""
    variance_explained: list[float | None]
    """Variance that the dictionary explains with what remains, at each of `shares`."""
    specificity: list[RoundedSpecificity] = Field(default_factory=list)
    """Mean grade of the sampled features over what remains, at each of `shares`."""


class Studies(Part):
    """Measurements of the whole dictionary, on a sample of tokens."""

    tokens: int
    """Number of tokens measured."""
    density: DensityStudy
    """How often features are active."""
    l0: L0Study
    """How many features are active at a token."""
    correlation: CorrelationStudy
    """How similar features are to neurons of earlier layers."""
    rounding: RoundingStudy
    """What rounding weak activations to zero does."""
