"""Judges: whoever explains or scores, behind one seam (`autointerp.judges.base`), one module a provider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autointerp.errors import UsageError
from autointerp.judges.base import Judge
from autointerp.judges.batch_api import SUBMIT_S, BatchProvider
from autointerp.spec import rubric
from autointerp.spec.rubric import Rubric
from autointerp.spec.sections import Judge as JudgeSettings
from autointerp.spec.spec import Spec

__all__ = ["check_asking", "facts_of", "is_llm", "no_probabilities", "open_judge", "provider_of"]


def provider_of(model: str) -> str:
    """The provider of a judge's name: what stands before its first `/`."""
    return model.partition("/")[0]


def is_llm(model: str) -> bool:
    """Whether `provider/model` is a language model; what is not never passes for one."""
    return provider_of(model) != "embedded"


def facts_of(spec: Spec) -> dict[str, Any]:
    """What a summary says of a spec's judge and explainer."""
    explainer = spec.explained_by.model
    judge = {"judge": spec.judge.model, "judge_is_llm": is_llm(spec.judge.model)}
    return judge | {"explainer": explainer, "explainer_is_llm": is_llm(explainer)}


def no_probabilities(settings: JudgeSettings) -> str | None:
    """Why a judge cannot be asked with `score.ask = "logprobs"`, in a few words; None where it can, as far as is known."""
    provider = provider_of(settings.model)
    if provider == "anthropic":
        return "Claude's API gives no probabilities"
    if provider == "openai":
        from autointerp.judges import openai

        return openai.no_probabilities(settings)
    return None


def check_asking(spec: Spec) -> None:
    """Raise `UsageError` where the spec asks a judge for probabilities that it cannot give."""
    if spec.score.ask != "logprobs":
        return
    for settings in (spec.judge, *([spec.cascade.judge] if spec.cascade else [])):
        if why := no_probabilities(settings):
            raise UsageError(f"score.ask = logprobs does not go with {settings.model}: {why}; ask for grade or reason")


def open_judge(settings: JudgeSettings, rubric: Rubric) -> Judge:
    """The judge that the settings name, ready to ask. `rubric` calibrates the embedded one; LLMs read theirs in the
    prompt.

    SDKs are imported here and not before: they take more than a second. Raises `UsageError` for a missing key, and for
    settings that the provider or model does not take.
    """
    provider = provider_of(settings.model)
    if provider == "embedded":
        from autointerp.judges.embedded.judge import EmbeddedJudge

        return EmbeddedJudge(rubric)
    if provider == "anthropic":
        from autointerp.judges.anthropic import AnthropicJudge

        return AnthropicJudge(settings)
    if provider == "openai":
        from autointerp.judges.openai import OpenAIJudge

        return OpenAIJudge(settings)
    if provider == "openai-compatible":
        from autointerp.judges.openai_compatible import CompatibleJudge

        return CompatibleJudge(settings)
    raise UsageError(
        f"judge.model = {settings.model}: use anthropic/MODEL, openai/MODEL, openai-compatible/MODEL or embedded"
    )


PROVIDERS = ("anthropic", "openai")
"""Providers that have a batch API."""


def open_batches(settings: JudgeSettings, *, settle_s: float = SUBMIT_S) -> BatchProvider | None:
    """The batch API of the judge's provider, or None where it has none. Raises `UsageError` like `open_judge`.

    `settle_s`: how long after it began a submission may still arrive.
    """
    provider = provider_of(settings.model)
    if provider == "anthropic":
        from autointerp.judges.anthropic_batches import AnthropicBatches

        return AnthropicBatches(settings, settle_s)
    if provider == "openai":
        from autointerp.judges.openai_batches import OpenAIBatches

        return OpenAIBatches(settings, settle_s)
    return None


def check_transport(settings: JudgeSettings) -> None:
    """Raises `UsageError` where the judge is to be asked in batches and its provider takes none."""
    if settings.transport == "batch" and provider_of(settings.model) not in PROVIDERS:
        raise UsageError(
            f'judge.transport = "batch", but {settings.model} has no batch API: set judge.transport = "calls", or name'
            " an anthropic/ or openai/ model"
        )


@dataclass(frozen=True)
class Judges:
    """Who answers: replaceable, so that tests may bring a judge that knows the truth."""

    explainer: Judge
    judge: Judge
    second: Judge | None = None

    @classmethod
    def open(cls, spec: Spec, rubric_: rubric.Rubric) -> Judges:
        judge = open_judge(spec.judge, rubric_)
        explainer = judge if spec.explained_by == spec.judge else open_judge(spec.explained_by, rubric_)
        return cls(explainer, judge, open_judge(spec.cascade.judge, rubric_) if spec.cascade else None)

    def close(self) -> None:
        """Release their connections."""
        for judge in (self.judge, self.explainer, self.second):
            if judge is not None:
                judge.close()

    def facts(self) -> dict[str, Any]:
        """What the summary says of them."""
        return {
            "judge": self.judge.name,
            "judge_is_llm": self.judge.is_llm,
            "explainer": self.explainer.name,
            "explainer_is_llm": self.explainer.is_llm,
        }
