"""The contract of `summary.json`, as pydantic models. `docs/summary.md` is generated from their docstrings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from autointerp.errors import UsageError
from autointerp.findings.evidence import Evidence
from autointerp.findings.inputs import CorpusFacts, DictionaryFacts, Fit, RubricFacts, Studies, SubjectFacts
from autointerp.findings.results import (
    AidEffects,
    Bin,
    Controls,
    Denominator,
    Densities,
    Distinction,
    EqualRarity,
    Giveaway,
    Headline,
    HeadlineBounds,
    ScorerResult,
    Weightings,
)
from autointerp.findings.unit_sides import UnitSides
from autointerp.stats.comparison import Comparison
from autointerp.stats.estimates import Figure, Part

SCHEMA_VERSION = 1


class JudgeCheck(Part):
    """One check of the judge's reliability."""

    name: str
    """Name of the check."""
    passed: bool | None
    """Whether the judge passed; null if it was not measured."""
    said: str
    """The result in one line."""


class JudgeVerdict(Part):
    """How far the judge can be relied on, decided by all checks together."""

    verdict: Literal["believe", "with_care", "do_not"]
    """`believe`: reliable; `with_care`: interpret with caution; `do_not`: not reliable."""
    sentence: str
    """The reasons in one sentence."""
    checks: list[JudgeCheck]
    """The checks on which the verdict rests."""


class GradedSetFindings(Part):
    """How the judge did on a graded set, as `autointerp judges check` measured it."""

    set: str
    """Name of the graded set."""
    n: int
    """Number of items."""
    ask: str
    """How the judge was asked, as `score.ask`."""
    per_call: int
    """Items in one question, as `score.per_call`."""
    kappa: Figure
    """Quadratic kappa of the judge and the set."""
    verdict: Literal["agrees", "disagrees", "unclear"]
    """Whether the judge agrees with the set."""
    sentence: str
    """The reason in words."""


class Tokens(Part):
    """Tokens sent and received, as billed by the providers."""

    input: int
    """Tokens sent, except those written to or read from a cache."""
    output: int
    """Tokens received."""
    cache_write: int | None = None
    """Tokens written to the provider's prompt cache."""
    cache_read: int | None = None
    """Tokens read from the provider's prompt cache."""


class Summary(Part):
    """The result of a run, the evidence behind it, its provenance and its cost."""

    schema_version: Literal[1] = 1
    """Version of this contract."""
    name: str
    """Name of the spec."""
    run_id: str
    """Id of the run, which is also the name of its folder."""
    spec_hash: str
    """Hash of everything in the spec that can change the result."""
    judge: str
    """The judge, as `provider/model` or `embedded`."""
    judge_is_llm: bool
    """False for the embedded judge, which is a baseline and not a language model."""
    explainer: str
    """The explainer, as `provider/model` or `embedded`."""
    explainer_is_llm: bool
    """False for the embedded explainer, which is a baseline and not a language model."""
    seed: int
    """Seed of every random sample."""

    headline: Headline
    """The main result: features compared with neurons."""
    headline_bounds: HeadlineBounds
    """How far the unscored judgements could move the difference."""
    difference_if_unscored_units_are_zero: float | None
    """The headline's difference if every unit without a grade, dead ones included, had the lowest grade."""
    weightings: Weightings
    """The same comparison under two weightings of the bins."""
    equal_rarity: EqualRarity | None = None
    """The same comparison at equal rarity; null in summaries of early versions."""
    denominator: dict[str, Denominator]
    """What became of every sampled unit, by kind."""
    density: Densities
    """How often the scored units are active."""
    bins: list[Bin]
    """Grades by kind and activation bin."""
    unscored: dict[str, int]
    """Number of unscored judgements by reason, over all arms."""
    unscored_share: float
    """Share of unscored judgements, over all arms."""
    main_unscored_share: dict[str, float | None]
    """Share of unscored judgements in the main arm, by kind; null if nothing was judged."""
    controls: Controls
    """Mean grades in the main arm and the control arms."""
    distinction: Distinction | None = None
    """Whether explanations tell units from their nearest neighbours; absent if the run has no windows of neighbours."""
    evidence: Evidence | None = None
    """Measurements of the judge's reliability."""
    graded_set: GradedSetFindings | None = None
    """How the judge did on a graded set; absent if `autointerp judges check` was not run with it in this results folder."""
    belief: JudgeVerdict | None = None
    """The verdict on the judge that follows from controls and evidence."""
    cautions: list[str] = Field(default_factory=list)
    """Caveats to be read with the headline, one sentence each, most important first."""
    scorers: list[ScorerResult] = Field(default_factory=list)
    """Results of other evaluations of the same units."""
    giveaways: list[Giveaway] = Field(default_factory=list)
    """How well the items of each arm and evaluation are told apart by the length of a text and the place of its mark alone."""
    variants: dict[str, AidEffects] = Field(default_factory=dict)
    """Effect of each explainer aid that was compared, by the aid's name."""

    subject: SubjectFacts
    """The language model under study."""
    dictionary: DictionaryFacts
    """The dictionary under evaluation."""
    hook_point: str
    """Where in the subject the dictionary reads activations."""
    neuron_hook_point: str
    """Where in the subject the neurons are read."""
    corpus: CorpusFacts
    """The text on which units were observed."""
    check: Fit | None = None
    """How well the dictionary fits the subject."""
    studies: Studies | None = None
    """Measurements of the whole dictionary."""
    two_sided: dict[str, UnitSides] | None = None
    """What makes units fire, and what they make the subject say, by kind of unit; null if the spec does not ask for it."""
    rubric: RubricFacts
    """The scale of grades."""
    harvest: str | None = None
    """Name of the folder with the run's harvested activations."""

    cost_usd: float | None
    """Cost of all calls in US dollars; null if the price of any call is unknown."""
    cost_unknown_calls: int = 0
    """Number of calls whose price is unknown."""
    tokens: Tokens
    """Tokens sent and received."""
    calls: int
    """Number of calls that were answered."""
    failed_attempts: int = 0
    """Number of calls that failed and were repeated."""
    lost_calls: int = 0
    """Number of calls whose reply never arrived."""
    lost_usd_at_most: float | None = None
    """Upper bound of the cost of lost calls in US dollars."""
    wall_s: float
    """Working time in seconds, the sum over stages."""
    stage_s: dict[str, float | None] = Field(default_factory=dict)
    """Working time in seconds by stage."""
    created_at: str
    """When the run was created (ISO 8601, UTC)."""
    finished_at: str
    """When the run finished (ISO 8601, UTC)."""
    served_models: list[str]
    """Names of the models that answered, as reported by the providers."""
    versions: dict[str, str | None]
    """Versions of Python and of the packages that decide results."""
    command: str
    """The command that produced the run."""

    @property
    def reading(self) -> Comparison:
        """The reading that is the headline, with its figures even if the headline is withheld."""
        of_bins = {"bin_uniform": self.weightings.bin_uniform, "frequency": self.weightings.frequency}
        figures = of_bins.get(self.headline.weighting, self.equal_rarity)
        assert figures is not None, "a headline at equal rarity has its figures"
        return figures

    def to_json(self) -> dict[str, Any]:
        """The summary as JSON values, without fields that were not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


def read_summary(folder: Path) -> Summary:
    """Read the folder's `summary.json`. Raises `UsageError` if it is missing, unreadable, of another version or invalid."""
    path = folder / "summary.json"
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        values = json.loads(text)
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist: name a folder in results/ that a run has finished") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path} is not valid JSON ({error}): run the spec again to rewrite it") from None
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"{path} has schema_version {version!r}, but this version of autointerp reads {SCHEMA_VERSION}: run the spec again"
        )
    try:
        return Summary.model_validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}: {field}: {first['msg'].lower()}: run the spec again to rewrite it") from None
