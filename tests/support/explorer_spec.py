"""A spec for the units of a synthetic index, with the tests' provider as its judge."""

from __future__ import annotations

from typing import Any

from autointerp.spec.spec import Spec, parse

USD_PER_MTOK = 10.0
"""The price of the judge's tokens, in and out."""


def spec(url: str | None, **judge: Any) -> Spec:
    """A spec whose judge is at `url`, or the embedded one for None. Further keys are the judge's."""
    if url is not None:
        server = {"model": "openai-compatible/a-model", "base_url": f"{url}/v1", "system_role": True, "json": "schema"}
        price = dict.fromkeys(("input_usd_per_mtok", "output_usd_per_mtok"), USD_PER_MTOK)
        judge = {"max_output_tokens": 200} | server | price | judge
    return parse(
        {
            "name": "synthetic",
            "subject": {"model": "tiny/subject"},
            "dictionary": {"path": "tiny/dictionary", "hook_point": "resid_post.2"},
            "corpus": {"sources": ["made-up.jsonl"]},
            "explain": {"top": 3, "spread": 3, "quiet": 3, "logits": 4},
            "score": {"per_bin": 1},
            "controls": {"shuffled": 2, "base_rate": 2},
            "judge": judge,
        }
    )
