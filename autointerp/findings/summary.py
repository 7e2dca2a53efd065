"""`summary.json` as a model: the contract of a run's results. `docs/summary.md` is generated from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from autointerp.errors import UsageError
from autointerp.findings.evidence import Evidence
from autointerp.findings.inputs import CorpusFacts, DictionaryFacts, Fit, RubricFacts, Studies, SubjectFacts
from autointerp.stats.comparison import Comparison
from autointerp.stats.estimates import Difference, MeanEstimate, PairedDifference, Part

SCHEMA_VERSION = 1


class Headline(Comparison):
    """The main result, every bin weighted alike. Its figures are None if it is withheld; `weightings` keeps them."""

    withheld: str | None = None
    """Why the headline is withheld; absent if it is not."""
    weighting: Literal["bin_uniform"] = "bin_uniform"
    n_features: int
    n_neurons: int


class Weightings(Part):
    """The comparison under both weightings of the bins."""

    bin_uniform: Comparison
    """Every bin alike."""
    frequency: Comparison
    """Bins by their events in the corpus."""


class Bin(Part):
    """One activation bin of one kind, main arm. `share_G` and `count_G` hold share and number of each grade G of the rubric."""

    kind: str
    bin: int
    low: float
    high: float
    n: int
    n_unscored: int
    n_units: int
    events: int
    """Counted tokens in the bin, over all sampled units."""
    mean: float | None
    ci_low: float | None
    ci_high: float | None

    def share(self, grade: int) -> float | None:
        """Share of a grade, units weighted alike; None where nothing is scored."""
        return (self.model_extra or {}).get(f"share_{grade}")

    def count(self, grade: int) -> int:
        """Judgements of a grade."""
        return int((self.model_extra or {}).get(f"count_{grade}", 0))


class HeadlineBounds(Part):
    """The difference if everything unscored had gone against the features (`low`) or for them (`high`)."""

    low: float | None
    high: float | None


class Denominator(Part):
    """The sampled units of a kind, each in exactly one of the classes."""

    sampled: int
    dead: int
    barely_active: int
    unexplained: int
    unscored: int
    scored: int


class Densities(Part):
    """Median density of the scored units, and the ratio of features to neurons."""

    feature: float | None
    neuron: float | None
    ratio: float | None


class ControlMean(MeanEstimate):
    """Mean grade of one arm."""

    n_unscored: int
    n_units: int


class ControlArm(Part):
    """Mean grades of one arm by kind."""

    feature: ControlMean
    neuron: ControlMean
    all: ControlMean


class Controls(Part):
    """The main arm beside the control arms."""

    main: ControlArm
    shuffled: ControlArm
    base_rate: ControlArm
    main_minus_shuffled: PairedDifference
    main_minus_base_rate: PairedDifference


class ScorerFigure(Difference):
    """One figure of another evaluation: each kind's mean, and features minus neurons."""

    figure: str
    meaning: str
    undefined: int
    """Units for which the figure is undefined."""
    feature: MeanEstimate
    neuron: MeanEstimate
    planted: MeanEstimate
    p_superior: float | None


class ScorerResult(Part):
    """The result of another evaluation."""

    scorer: str
    source: str
    needs_explanation: bool
    chance: float | None
    n: int
    n_unscored: int
    unscored: dict[str, int]
    figures: list[ScorerFigure]


class AidEffect(PairedDifference):
    """Mean grade with an aid minus without it, on the same exemplars."""

    with_aid: float | None = Field(alias="with", default=None)
    without: float | None = None


class AidEffects(Part):
    """The effect of one aid to the explainer."""

    all: AidEffect
    feature: AidEffect
    neuron: AidEffect
    n_unscored: int


class JudgeCheck(Part):
    """One check of the judge. `passed` is None if it was not measured."""

    name: str
    passed: bool | None
    said: str


class JudgeVerdict(Part):
    """How far the judge can be relied on."""

    verdict: Literal["believe", "with_care", "do_not"]
    sentence: str
    checks: list[JudgeCheck]


class Tokens(Part):
    """Tokens sent and received, as billed."""

    input: int
    output: int
    cache_write: int | None = None
    cache_read: int | None = None


class Summary(Part):
    """A run's result, the evidence behind it, its provenance and its cost."""

    schema_version: Literal[1] = 1
    name: str
    run_id: str
    spec_hash: str
    judge: str
    judge_is_llm: bool
    explainer: str
    explainer_is_llm: bool
    seed: int

    headline: Headline
    headline_bounds: HeadlineBounds
    difference_if_unscored_units_are_zero: float | None
    weightings: Weightings
    denominator: dict[str, Denominator]
    density: Densities
    bins: list[Bin]
    unscored: dict[str, int]
    """Unscored judgements by reason."""
    unscored_share: float
    main_unscored_share: dict[str, float | None]
    controls: Controls
    evidence: Evidence | None = None
    belief: JudgeVerdict | None = None
    cautions: list[str] = Field(default_factory=list)
    scorers: list[ScorerResult] = Field(default_factory=list)
    variants: dict[str, AidEffects] = Field(default_factory=dict)

    subject: SubjectFacts
    dictionary: DictionaryFacts
    hook_point: str
    neuron_hook_point: str
    corpus: CorpusFacts
    check: Fit | None = None
    studies: Studies | None = None
    rubric: RubricFacts
    harvest: str | None = None

    cost_usd: float | None
    cost_unknown_calls: int = 0
    """Calls whose price is unknown."""
    tokens: Tokens
    calls: int
    failed_attempts: int = 0
    lost_calls: int = 0
    lost_usd_at_most: float | None = None
    wall_s: float
    stage_s: dict[str, float | None] = Field(default_factory=dict)
    created_at: str
    finished_at: str
    served_models: list[str]
    versions: dict[str, str | None]
    command: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values of everything that was set."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


def read_summary(folder: Path) -> Summary:
    """The folder's `summary.json`. Raises `UsageError`."""
    path = folder / "summary.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist: name a folder in results/ that a run has finished") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path} is not valid JSON ({error}): run the spec again to write it anew") from None
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"{path} has schema_version {version!r}, this version reads {SCHEMA_VERSION}: run the spec again"
        )
    try:
        return Summary.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}: {where}: {first['msg'].lower()}: run the spec again to write it anew") from None
