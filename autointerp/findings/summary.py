"""`summary.json` as a model: the contract of a run's results. `docs/summary.md` is generated from it."""

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
    Headline,
    HeadlineBounds,
    ScorerResult,
    Weightings,
)
from autointerp.stats.estimates import Part

SCHEMA_VERSION = 1


class JudgeCheck(Part):
    """One check of the judge. `passed` is None if it was not measured."""

    name: str
    """Name of the check."""
    passed: bool | None
    """Whether it passed; null if it was not measured."""
    said: str
    """The result in one line."""


class JudgeVerdict(Part):
    """How far the judge can be relied on."""

    verdict: Literal["believe", "with_care", "do_not"]
    """`believe`, `with_care` or `do_not`."""
    sentence: str
    """The verdict in a sentence."""
    checks: list[JudgeCheck]
    """The checks on which it rests."""


class Tokens(Part):
    """Tokens sent and received, as billed."""

    input: int
    """Sent, uncached."""
    output: int
    """Received."""
    cache_write: int | None = None
    """Written to the provider's cache."""
    cache_read: int | None = None
    """Read from the provider's cache."""


class Summary(Part):
    """A run's result, the evidence behind it, its provenance and its cost."""

    schema_version: Literal[1] = 1
    """Version of this contract."""
    name: str
    """The spec's name."""
    run_id: str
    """The run."""
    spec_hash: str
    """Hash of the spec, settings aside."""
    judge: str
    """The judge, `provider/model`."""
    judge_is_llm: bool
    """False for the embedded judge, which is a baseline and no language model."""
    explainer: str
    """The explainer, `provider/model`."""
    explainer_is_llm: bool
    """False for the embedded explainer."""
    seed: int
    """Seed of every sample."""

    headline: Headline
    """The main result."""
    headline_bounds: HeadlineBounds
    """How far unscored judgements could move it."""
    difference_if_unscored_units_are_zero: float | None
    """The difference if units without a grade counted as 0."""
    weightings: Weightings
    """The comparison under both weightings."""
    denominator: dict[str, Denominator]
    """By kind."""
    density: Densities
    """How often the compared units are active."""
    bins: list[Bin]
    """By kind and activation bin."""
    unscored: dict[str, int]
    """Unscored judgements by reason."""
    unscored_share: float
    """Share of the main arm's judgements that have no grade."""
    main_unscored_share: dict[str, float | None]
    """The same by kind."""
    controls: Controls
    """The control arms."""
    evidence: Evidence | None = None
    """How far the judge can be relied on, measured."""
    belief: JudgeVerdict | None = None
    """The verdict on the judge that follows from the evidence."""
    cautions: list[str] = Field(default_factory=list)
    """What a reader should know, a sentence each."""
    scorers: list[ScorerResult] = Field(default_factory=list)
    """Other evaluations."""
    variants: dict[str, AidEffects] = Field(default_factory=dict)
    """The effect of each aid to the explainer."""

    subject: SubjectFacts
    """The language model."""
    dictionary: DictionaryFacts
    """The dictionary."""
    hook_point: str
    """Where the dictionary reads the subject."""
    neuron_hook_point: str
    """Where the neurons are."""
    corpus: CorpusFacts
    """The corpus."""
    check: Fit | None = None
    """The dictionary's fit to the subject."""
    studies: Studies | None = None
    """Measurements of the whole dictionary."""
    rubric: RubricFacts
    """The rubric."""
    harvest: str | None = None
    """Folder of the harvest."""

    cost_usd: float | None
    """Cost in US dollars; null if a price is unknown."""
    cost_unknown_calls: int = 0
    """Calls whose price is unknown."""
    tokens: Tokens
    """Tokens sent and received."""
    calls: int
    """Calls answered."""
    failed_attempts: int = 0
    """Attempts that failed and were repeated."""
    lost_calls: int = 0
    """Calls whose answer was lost."""
    lost_usd_at_most: float | None = None
    """Upper bound of what these cost."""
    wall_s: float
    """Seconds of work over all sittings."""
    stage_s: dict[str, float | None] = Field(default_factory=dict)
    """Seconds of each stage."""
    created_at: str
    """When the run began, ISO 8601."""
    finished_at: str
    """When it finished."""
    served_models: list[str]
    """Models that the providers say answered."""
    versions: dict[str, str | None]
    """Versions of the packages."""
    command: str
    """The command that gives this result again."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values of everything that was set."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


def read_summary(folder: Path) -> Summary:
    """The folder's `summary.json`. Raises `UsageError`."""
    path = folder / "summary.json"
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        values = json.loads(text)
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
        return Summary.model_validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}: {where}: {first['msg'].lower()}: run the spec again to write it anew") from None
