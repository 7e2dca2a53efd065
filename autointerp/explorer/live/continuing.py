"""Continues a text while units are set, beside its continuation without, token by token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from autointerp.errors import UsageError
from autointerp.explorer.live import limits
from autointerp.explorer.live.model import RANDOM, LiveModel, remember
from autointerp.explorer.live.questions import Continue
from sae.corpus.sources import clean
from sae.studies.intervention import Intervention, Row
from sae.studies.steered_texts import encode_prompt, next_ids
from sae.subject.token_text import REPLACEMENT, token_texts

PLAIN, STEERED, CONTROL = "plain", "steered", "control"
N = "n"


def continued(model: LiveModel, job: Continue) -> Iterator[dict[str, Any]]:
    """After each token the texts so far of those of `PLAIN`, `STEERED` and `CONTROL` that were asked for, and their tokens `n`.

    All run as one batch, and with the same random numbers. The plain one does not change with the units: a finished one is remembered
    and shown at once. Raises `SubjectError` and `UsageError` for a text or units that cannot be used.
    """
    subject = model.subject
    ids = encode_prompt(subject, clean(job.text), job.tokens, chat=job.chat)
    if len(ids) > limits.TOKENS:
        raise UsageError(f"the text has {len(ids)} tokens, and at most {limits.TOKENS} are continued: shorten it")
    intervention = model.intervention(job.values) if job.values else Intervention(subject, ())
    key = (ids, job.tokens, job.seed, job.temperature, job.chat)
    rows = {PLAIN: Row(ids, len(ids))}
    if job.values:
        rows[STEERED] = Row(ids, len(ids), 1.0)
    if job.values and job.control:
        rows[CONTROL] = Row(ids, len(ids), 1.0, RANDOM)
    known = model.continuations.get(key)
    if known is not None:
        del rows[PLAIN]
        yield {PLAIN: _text(model, known)}
    if not rows:
        return
    written: dict[str, list[int]] = {name: [] for name in rows}
    ended: set[str] = set()
    steps = next_ids(subject, intervention, list(rows.values()), job.tokens, job.seed, job.temperature, ends=job.chat)
    n, shown = 0, {}
    for n, chosen in enumerate(steps, 1):
        for name, token in zip(rows, chosen, strict=True):
            if job.chat and token in subject.special_ids:
                ended.add(name)
            if name not in ended:
                written[name].append(token)
        shown = {name: _text(model, ids, partial=True) for name, ids in written.items()}
        yield {N: n, **shown}
    last = {name: _text(model, ids) for name, ids in written.items()}
    if last != shown:
        yield {N: n, **last}
    if PLAIN in written:
        remember(model.continuations, key, written[PLAIN])


def _text(model: LiveModel, ids: list[int], *, partial: bool = False) -> str:
    """The text of token ids; of one that goes on, without the beginning of a character that is not complete."""
    text = "".join(token_texts(model.subject.tokenizer, ids))
    return text.removesuffix(REPLACEMENT) if partial else text
