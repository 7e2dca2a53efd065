"""Opens judges and batch APIs by the table of providers, `autointerp/spec/providers.py`.

Provider modules are imported when a judge is opened and not before: their SDKs take more than a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from autointerp.errors import UsageError
from autointerp.judges.base import Judge
from autointerp.judges.batch_api import SUBMIT_S, BatchProvider
from autointerp.spec import third_party
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import MODEL_FORMS, PROVIDERS, Provider, provider_of
from autointerp.spec.rubric import Rubric
from autointerp.spec.spec import Spec


def open_judge(settings: JudgeSettings, rubric: Rubric) -> Judge:
    """The judge that the settings name, ready to ask.

    `rubric` calibrates a baseline; LLMs read it in the prompt. Raises `UsageError` for a missing key, and for settings that the
    provider or the model does not accept.
    """
    provider = _provider(settings)
    judge: Judge = judge_class(provider)(settings if provider.is_llm else rubric)
    return judge


def open_batches(settings: JudgeSettings, *, settle_s: float = SUBMIT_S) -> BatchProvider | None:
    """The batch API of the judge's provider, or None if it has none. Raises `UsageError` like `open_judge`.

    `settle_s`: how long after it began a submission may still arrive, in seconds.
    """
    provider = _provider(settings)
    if provider.batches is None:
        return None
    batches: BatchProvider = load_class(provider.batches)(settings, settle_s)
    return batches


def no_probabilities(settings: JudgeSettings) -> str | None:
    """Why a judge cannot be asked with `score.ask = "logprobs"`, in a few words; None if it can, as far as is known."""
    provider = _provider(settings)
    if not provider.is_llm:
        return None
    explains = getattr(judge_class(provider), "no_probabilities", None)
    reason: str | None = explains(settings) if explains else "that judge is not known to return them"
    return reason


def check_asking(spec: Spec) -> None:
    """Raise `UsageError` if the spec asks a judge for probabilities that it cannot return."""
    if spec.score.ask != "logprobs":
        return
    for settings in (spec.judge, *([spec.cascade.judge] if spec.cascade else [])):
        if reason := no_probabilities(settings):
            raise UsageError(
                f"score.ask = logprobs does not work with {settings.model}: {reason}; set score.ask to grade or reason"
            )


def check_transport(settings: JudgeSettings) -> None:
    """Raise `UsageError` if the judge is to be asked in batches and its provider has no batch API."""
    if settings.transport == "batch" and _provider(settings).batches is None:
        with_batches = " or ".join(f"{row.name}/" for row in PROVIDERS.values() if row.batches)
        raise UsageError(
            f'judge.transport = "batch", but {settings.model} has no batch API: set judge.transport = "calls", or name'
            f" an {with_batches} model"
        )


@dataclass(frozen=True)
class Judges:
    """The judges of a run. Tests replace them by judges that know the truth."""

    explainer: Judge
    judge: Judge
    second: Judge | None = None

    @classmethod
    def open(cls, spec: Spec, rubric: Rubric) -> Judges:
        """Open the judges that a spec names. Raises `UsageError` like `open_judge`."""
        judge = open_judge(spec.judge, rubric)
        explainer = judge if spec.explained_by == spec.judge else open_judge(spec.explained_by, rubric)
        return cls(explainer, judge, open_judge(spec.cascade.judge, rubric) if spec.cascade else None)

    def close(self) -> None:
        """Close their connections."""
        for judge in (self.judge, self.explainer, self.second):
            if judge is not None:
                judge.close()


def judge_class(provider: Provider) -> Any:
    """The class of a provider's judge. Raises `UsageError` if another package brings it and it cannot be imported."""
    return load_class(provider.judge) if provider.entry_point is None else third_party.load(provider.entry_point)


def load_class(path: str) -> Any:
    """The class at `module:class`, as the table of providers gives it."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def _provider(settings: JudgeSettings) -> Provider:
    provider = PROVIDERS.get(provider_of(settings.model))
    if provider is None:
        raise UsageError(f"judge.model = {settings.model}: use {MODEL_FORMS}")
    return provider
