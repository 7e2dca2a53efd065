"""The cost model behind every forecast: tokens and dollars of questions that were not asked yet.

Input tokens are estimated from the text, then scaled by the ratio that the provider counts for a sample of the questions or counted
for earlier ones. Output tokens are the mean of earlier replies to the same instructions, or else those of a typical reply.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean
from typing import Any

from autointerp.judges import prices
from autointerp.judges.base import Judge, JudgeError
from autointerp.judges.prompt_caching import min_cacheable_tokens
from autointerp.ledger.calls import MeasuredCall
from autointerp.messages import ExplainMaterial, GroupMaterial, Prompt, Usage
from autointerp.spec.judge_sections import Judge as JudgeSettings

SAMPLE = 24
"""Questions whose tokens are counted by the provider, and earlier calls that are looked at."""
EXPLANATION_TOKENS = 28
"""Output tokens of a typical explanation in its JSON."""
JUDGEMENT_TOKENS = 36
"""Output tokens of a typical reason and grade in their JSON."""
GRADE_TOKENS = 7
"""Output tokens of a grade alone in its JSON."""
FRAME_TOKENS = 12
"""Tokens that a chat template adds around a prompt."""
READ_SHARE = 0.5
"""A prompt counts as cut if the server read less than this share of its estimated tokens: tokenizers differ by far less."""


@dataclass(frozen=True)
class Cost:
    """Tokens and dollars of some questions to one judge. `usd` is None if the price is unknown."""

    calls: int
    input_tokens: int
    cached_tokens: int
    """Of the input, the tokens that the provider is expected to read from its cache."""
    output_tokens: int
    usd: float | None
    counted_by: str
    """Where the input tokens are from, in a few words."""


def expected(
    settings: JudgeSettings,
    prompts: Sequence[Prompt],
    *,
    calls: int | None = None,
    judge: Judge | None = None,
    earlier: Sequence[MeasuredCall] = (),
) -> Cost:
    """Expected cost of asking `prompts`, or of `calls` questions of which `prompts` are a sample.

    A `judge` that is given counts a sample by its provider's counting endpoint, if it has one. `earlier` are answered calls
    to the same judge in the same stage.
    """
    n = len(prompts) if calls is None else calls
    if not n:
        return Cost(0, 0, 0, 0, 0.0, "nothing left to ask")
    each = n / len(prompts)
    tokens, counted_by = _input_tokens(judge, prompts, earlier)
    output = round(each * sum(_output_tokens(prompt, earlier) for prompt in prompts))
    cached, written = _cached_tokens(settings, prompts, each, earlier, tokens)
    into = round(each * tokens)
    usage = Usage(into - cached - written, output, written, cached)
    usd = prices.cost(usage, prices.price_of(settings.model, settings), batch=settings.transport == "batch")
    return Cost(n, into, cached, output, usd, counted_by)


def typical_output(prompt: Prompt) -> int:
    """Output tokens of a typical reply."""
    if prompt.choices:
        return 1
    if isinstance(prompt.material, ExplainMaterial):
        return EXPLANATION_TOKENS
    n = len(prompt.material.items) if isinstance(prompt.material, GroupMaterial) else 1
    return n * (JUDGEMENT_TOKENS if "reason" in json.dumps(dict(prompt.schema)) else GRADE_TOKENS)


def rough_input(prompt: Prompt) -> int:
    """Input tokens of a question, estimated from its text: instructions, question, reply schema and chat template."""
    return _rough(prompt.system, prompt.user) + _schema_tokens(prompt.schema)


def rough_tokens(text: str) -> int:
    """Tokens of `text`, estimated: about one for a short word, more for long words, digits, symbols and other scripts.

    The estimate lies between large vocabularies, which need up to a tenth fewer tokens for our prompts, and small ones, which need
    up to a tenth more.
    """
    count = 0
    for piece in re.findall(r"[A-Za-z]+|\d+|\s+|[^\sA-Za-z\d]", text):
        if piece.isspace():
            count += len(piece) > 1
        elif piece[0].isascii() and piece.isalpha():
            count += 1 + len(piece) // 7
        else:
            count += 1 + (len(piece) - 1) // 3
    return count


def _output_tokens(prompt: Prompt, earlier: Sequence[MeasuredCall]) -> float:
    """Mean output of earlier calls with the same instructions, or that of a typical reply."""
    alike = [call.output_tokens for call in earlier if call.system == prompt.system]
    return fmean(alike) if alike else typical_output(prompt)


def _input_tokens(judge: Judge | None, prompts: Sequence[Prompt], earlier: Sequence[MeasuredCall]) -> tuple[float, str]:
    """Input tokens of all prompts: the estimate for each, times the ratio of counted to estimated tokens in a sample."""
    rough = [rough_input(prompt) for prompt in prompts]
    counted = _counted(judge, prompts, rough)
    by = "counted by the provider"
    if not counted:
        schema = _schema_tokens(prompts[0].schema)
        counted = [(call.input_tokens, _rough(call.system, call.user) + schema) for call in earlier]
        by = "earlier calls"
    if not counted:
        return sum(rough), "estimated"
    ratio = sum(exact for exact, _ in counted) / max(sum(estimate for _, estimate in counted), 1)
    return ratio * sum(rough), f"from {len(counted)} {by}"


def _counted(judge: Judge | None, prompts: Sequence[Prompt], rough: Sequence[int]) -> list[tuple[int, int]]:
    """Counted and estimated tokens of a sample; empty if the provider does not count them."""
    pairs: list[tuple[int, int]] = []
    if judge is None:
        return pairs
    for i in random.Random(0).sample(range(len(prompts)), min(SAMPLE, len(prompts))):
        try:
            exact = judge.count_tokens(prompts[i])
        except JudgeError:
            return []
        if exact is None:
            return []
        pairs.append((exact, rough[i]))
    return pairs


def _cached_tokens(
    settings: JudgeSettings, prompts: Sequence[Prompt], each: float, earlier: Sequence[MeasuredCall], tokens: float
) -> tuple[int, int]:
    """Input tokens read from the provider's cache, and those written to it.

    The share of earlier calls with the same instructions, or else what the provider documents: the first `concurrency` calls write
    the instructions, all others read them. Nothing is promised for batches.
    """
    scale = tokens / (sum(map(rough_input, prompts)) or 1)
    least, read, written = min_cacheable_tokens(settings.model), 0.0, 0.0
    for system, count in Counter(prompt.system for prompt in prompts).items():
        n = each * count
        alike = [call for call in earlier if call.system == system]
        size = scale * _system_tokens(system)
        if alike:
            within = sum(rough_input(prompt) for prompt in prompts if prompt.system == system)
            share = sum(call.cached_tokens for call in alike) / sum(call.input_tokens for call in alike)
            read += each * share * scale * within
        elif least is not None and size >= least and settings.transport != "batch":
            first = min(n, settings.concurrency)
            read, written = read + size * (n - first), written + size * first
    return round(read), round(written)


def _schema_tokens(schema: Mapping[str, Any]) -> int:
    return _system_tokens(json.dumps(dict(schema)))


def _rough(system: str, user: str) -> int:
    return _system_tokens(system) + rough_tokens(user) + FRAME_TOKENS


@cache
def _system_tokens(system: str) -> int:
    return rough_tokens(system)
