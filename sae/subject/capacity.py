"""How many token ids and positions a subject has, and whether tokens and contexts stay within them."""

from __future__ import annotations

from typing import Any

from torch import nn

from sae.errors import SubjectError
from sae.subject.model import Subject

_POSITION_TABLES = ("wpe", "embed_positions", "position_embeddings", "position_embedding", "positions_embed")
"""Names of modules of transformers that hold a learned vector for each position."""


def n_token_ids(subject: Subject) -> int:
    """Number of token ids that have an embedding."""
    table: Any = subject.model.get_input_embeddings()
    return int(table.weight.shape[0])


def n_positions(subject: Subject) -> int | None:
    """Longest context that the subject's positions cover; None if they have no end (ALiBi, recurrent models)."""
    config: Any = subject.model.config.get_text_config(decoder=True)
    stated = getattr(config, "max_position_embeddings", None)
    limits = [_learned(module) for name, module in subject.model.named_modules() if _is_table(name, module)]
    if not limits:
        if getattr(config, "alibi", False) or not isinstance(stated, int) or stated < 1:
            return None
        limits = [max(stated, _scaled(config))]
    return min(limits)


def check_context(subject: Subject, context_tokens: int) -> None:
    """Raise `SubjectError` if a context of this many tokens, BOS included, is longer than the subject's positions."""
    limit = n_positions(subject)
    if limit is not None and context_tokens > limit:
        raise SubjectError(
            f"corpus.context_tokens = {context_tokens} exceeds the {limit} positions of subject {subject.name}: set it to {limit}"
            " or less"
        )


def check_ids(subject: Subject, largest: int) -> None:
    """Raise `SubjectError` if the largest token id of a corpus, or BOS, has no embedding."""
    rows = n_token_ids(subject)
    for name, i in (("the corpus", largest), ("BOS", subject.bos_id)):
        if i is not None and i >= rows:
            token = subject.tokenizer.convert_ids_to_tokens(i)
            raise SubjectError(
                f"{name} has the token {token} (id {i}), but subject {subject.name} has embeddings of {rows} tokens only: give the"
                " model its own tokenizer, or take the token out of the text"
            )


def _is_table(name: str, module: nn.Module) -> bool:
    return name.rpartition(".")[2] in _POSITION_TABLES and isinstance(module, nn.Embedding)


def _learned(module: Any) -> int:
    """Positions that a table has, without those reserved before the first: OPT's offset, RoBERTa's padding."""
    padding = module.padding_idx
    return int(module.num_embeddings) - int(getattr(module, "offset", 0 if padding is None else padding + 1))


def _scaled(config: Any) -> int:
    """Positions that scaled rotary embeddings cover (YaRN and others state the model's own number and a factor)."""
    scaling = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None)
    if not isinstance(scaling, dict):
        return 0
    factor, original = scaling.get("factor"), scaling.get("original_max_position_embeddings")
    original = original or getattr(config, "max_position_embeddings", 0)
    return int(factor * original) if isinstance(factor, (int, float)) and isinstance(original, int) else 0
