"""Cautions about a judge's server: what it says of itself, in every reply, held against what was asked.

Two things are compared, for Chat Completions servers, which may be set up in any way: the model that answered with the one that was
named, and the tokens that the server read with an estimate from the prompt. Some servers drop the beginning of a prompt that is longer
than their context and answer the rest without an error (Ollama: `num_ctx`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from statistics import median

from autointerp.formatting import plural
from autointerp.judges.cost_model import FRAME_TOKENS, READ_SHARE, rough_tokens
from autointerp.ledger import calls
from autointerp.ledger.calls import ServedCall
from autointerp.ledger.database import Ledger
from autointerp.run import Run
from autointerp.spec.providers import PROVIDERS, model_of, provider_of

MOST_CALLS = 2000
"""The newest calls of a run that are looked at."""
FULL_AT = 256
"""Contexts are multiples of this. Prompts of different lengths that are all read as the same multiple have been cut to it."""
FULL_CALLS = 3
"""Prompts that must be read as the same multiple, with estimates that differ by more than `SPREAD`."""
SPREAD = 1.05


def of_run(ledger: Ledger, run: Run) -> list[str]:
    """One caution for each judge and each way in which the server's statements differ from what was asked."""
    with ledger.read() as tx:
        served = calls.served(tx, run.run_id, MOST_CALLS)
    by_judge: dict[str, list[ServedCall]] = {}
    for call in served:
        provider = PROVIDERS.get(provider_of(call.judge))
        if provider is not None and provider.needs_base_url:
            by_judge.setdefault(call.judge, []).append(call)
    return [
        caution for judge, calls_of_judge in sorted(by_judge.items()) for caution in cautions(judge, calls_of_judge)
    ]


def cautions(judge: str, served: Sequence[ServedCall]) -> Iterator[str]:
    """The cautions about one judge's calls."""
    others = sorted({call.served_model for call in served if not is_same_model(model_of(judge), call.served_model)})
    if others:
        yield (
            f"{judge} was asked, but its server says that {', '.join(others)} answered: the grades are those of that model."
            " Name it in judge.model, or load the other."
        )
    pairs = [(call.input_tokens, _estimate(call)) for call in served]
    if cut := _cut(pairs):
        read, sent = round(median(read for read, _ in cut)), round(median(sent for _, sent in cut))
        yield (
            f"The server of {judge} says that it read {read:,} tokens of prompts of about {sent:,}, in"
            f" {len(cut)} of {plural(len(pairs), 'call')}: it may have cut them, and the grades then rest on a part of each"
            " prompt. Raise its context (Ollama: OLLAMA_CONTEXT_LENGTH or num_ctx) and evaluate again."
        )


def is_same_model(asked: str, served: str) -> bool:
    """Whether two names may be of the same model: one is part of the other, without case, punctuation and the path before it.

    Servers add a date, a tag or a file's ending, and leave out the organisation. A server that names no model says nothing.
    """
    first, second = (_plain(name) for name in (asked, served))
    return first in second or second in first


def _plain(name: str) -> str:
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return re.sub(r"[^a-z0-9]", "", re.sub(r"(:latest|\.gguf)$", "", last.casefold()))


def _estimate(call: ServedCall) -> int:
    return rough_tokens(call.system) + rough_tokens(call.user) + FRAME_TOKENS


def _cut(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The tokens read and estimated of every prompt that was probably cut."""
    most = max((read for read, _ in pairs), default=0)
    full = [sent for read, sent in pairs if read == most and sent > most]
    is_context = most % FULL_AT == 0 and len(full) >= FULL_CALLS and max(full) > SPREAD * min(full)
    return [
        (read, sent)
        for read, sent in pairs
        if read < READ_SHARE * sent or (is_context and read == most and sent > most)
    ]
