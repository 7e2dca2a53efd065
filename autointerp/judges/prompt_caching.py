"""The shortest prompt beginnings that providers cache, as far as their documents say so; for forecasts before there are any calls.

A provider processes a shorter beginning again each time, without saying so. What a run's calls found in the cache is in their usage.
Self-hosted servers (llama.cpp, vLLM) cache prompts of any length and charge nothing.
"""

from __future__ import annotations

import re

# Anthropic: docs.litellm.ai/docs/completion/prompt_caching (7 October 2026) and the vendor's table as anthropics/anthropic-sdk-python
# issue 1194 quotes it, where 2,048 were measured for Sonnet 4.6; OpenAI: developers.openai.com/api/docs/guides/prompt-caching.
_MIN_TOKENS: tuple[tuple[str, int], ...] = (
    (r"anthropic/claude-(opus|fable|mythos)-5$", 512),
    (r"anthropic/claude-(sonnet-5|opus-4-8|sonnet-4-5|opus-4-1)(-\d{8})?$", 1024),
    (r"anthropic/claude-sonnet-4-6(-\d{8})?$", 2048),
    (r"anthropic/claude-(haiku-4-5|opus-4-[567])(-\d{8})?$", 4096),
    (r"openai/", 1024),
)


def min_cacheable_tokens(model: str) -> int | None:
    """Tokens that instructions need for `provider/model` to cache them; None if that is unknown."""
    return next((tokens for pattern, tokens in _MIN_TOKENS if re.match(pattern, model)), None)
