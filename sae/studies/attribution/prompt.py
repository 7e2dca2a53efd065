"""One prompt, and single tokens that may follow it, in the subject's tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from sae.analysis.unit_probe import encode_texts, most_tokens
from sae.errors import SubjectError
from sae.subject.model import Subject
from sae.subject.token_text import token_texts


def prompt_ids(subject: Subject, prompt: str) -> Tensor:
    """Token ids (T,), with BOS if the subject has contexts begin with it. Raises `SubjectError` for a prompt too long or too short.

    The first token has no features of its own: a prompt needs two.
    """
    (ids,), most = encode_texts(subject, [prompt]), most_tokens(subject)
    if len(ids) > most:
        raise SubjectError(f"the prompt has {len(ids):,} tokens, and at most {most:,} are read: shorten it")
    whole = ([] if subject.bos_id is None else [subject.bos_id]) + ids
    if not ids or len(whole) < 2:
        raise SubjectError("the prompt has too few tokens: give two or more words")
    return torch.tensor(whole)


def token_id(subject: Subject, text: str) -> int:
    """The id of a text of exactly one token. Raises `SubjectError` for another text, with its tokens."""
    (ids,) = encode_texts(subject, [text])
    if len(ids) != 1:
        tokens = ", ".join(repr(token) for token in token_texts(subject.tokenizer, ids)) or "none"
        hint = "" if text.startswith(" ") else f", perhaps with a space before it: {' ' + text!r}"
        raise SubjectError(
            f"{text!r} is {len(ids)} tokens of {subject.name} ({tokens}): give a text of one token{hint}"
        )
    return ids[0]
