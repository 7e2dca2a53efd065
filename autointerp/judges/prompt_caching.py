"""From how many tokens on a provider keeps the beginning of a prompt, as far as its documents say so.

A shorter one is read anew each time, without a word. What a run's calls found in the cache is in its usage; this is for forecasts before there
are any. Servers of one's own (llama.cpp, vLLM) keep every prompt, and charge nothing.
"""

from __future__ import annotations

import re

# Anthropic: docs.litellm.ai/docs/completion/prompt_caching (7 October 2026) and the vendor's table as anthropics/anthropic-sdk-python
# issue 1194 quotes it, where 2,048 were measured for Sonnet 4.6; OpenAI: developers.openai.com/api/docs/guides/prompt-caching.
_LEAST: tuple[tuple[str, int], ...] = (
    (r"anthropic/claude-(opus|fable|mythos)-5$", 512),
    (r"anthropic/claude-(sonnet-5|opus-4-8|sonnet-4-5|opus-4-1)(-\d{8})?$", 1024),
    (r"anthropic/claude-sonnet-4-6(-\d{8})?$", 2048),
    (r"anthropic/claude-(haiku-4-5|opus-4-[567])(-\d{8})?$", 4096),
    (r"openai/", 1024),
)


def least_tokens(model: str) -> int | None:
    """Tokens that instructions must have to be read from the cache of `provider/model`; None where nothing is known."""
    return next((least for pattern, least in _LEAST if re.match(pattern, model)), None)
