"""The subject's special tokens, as its tokenizer defines them, and the BOS token before each context.

A model's config.json is not asked: it may name an ordinary token. Llama 3's `!` has the id 0, which some configs give as padding.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from sae.errors import SubjectError


class Bos(NamedTuple):
    """The token before each context. `id` is None if there is none; `statement` says which it is, and why."""

    id: int | None
    statement: str


def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Ids of the tokens that stand for no text: they are run, but never counted or sampled."""
    ids = {int(i) for i in tokenizer.all_special_ids}
    return frozenset(ids | {int(i) for i, token in tokenizer.added_tokens_decoder.items() if token.special})


def choose_bos(
    tokenizer: PreTrainedTokenizerBase, config: Any, *, setting: bool | None = None, trained_with: bool | None = None
) -> Bos:
    """BOS as `setting` says; if that is None as `trained_with`, the dictionary's files, say; else as the tokenizer does by itself.

    Gemma was never trained without BOS, so its default is True whatever the tokenizer does. A tokenizer without BOS uses EOS, as
    TransformerLens does. `config` is the model's. Raises `SubjectError` if BOS is wanted and the tokenizer has neither.
    """
    default = _adds_bos(tokenizer) or (isinstance(tokenizer.bos_token_id, int) and _is_gemma(config))
    if setting is not None:
        used, source = setting, "as corpus.bos sets it"
        if trained_with not in (None, used):
            source += (
                f", although the dictionary's files state that it was trained with{'' if trained_with else 'out'} it"
            )
    elif trained_with is not None:
        used, source = trained_with, "as the dictionary's files state"
        if used != default:
            source += f", although the tokenizer {'adds it' if default else 'adds none'} by itself"
    else:
        used, source = default, "as the tokenizer adds it by itself" if default else "because the tokenizer adds none"
        if default and not _adds_bos(tokenizer):
            source = "as the model was trained"
    if not used:
        return Bos(None, f"no BOS before contexts, {source}")
    chosen = next((i for i in (tokenizer.bos_token_id, tokenizer.eos_token_id) if isinstance(i, int)), None)
    if chosen is None:
        raise SubjectError(
            f"the subject's tokenizer has neither a BOS nor an EOS token to put before each context, {source}: set corpus.bos ="
            " false"
        )
    return Bos(
        chosen,
        f"BOS {tokenizer.convert_ids_to_tokens(chosen)} before each context, {source}{_ambiguous(tokenizer, config)}",
    )


def _ambiguous(tokenizer: PreTrainedTokenizerBase, config: Any) -> str:
    """A remark if other places name another BOS."""
    bos = tokenizer.bos_token_id
    if not isinstance(bos, int):
        return "; it is the EOS token, because the tokenizer has no BOS"
    stated = getattr(config, "bos_token_id", None)
    return f"; config.json names the id {stated} instead of {bos}" if isinstance(stated, int) and stated != bos else ""


def _adds_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    bos = tokenizer.bos_token_id
    if not isinstance(bos, int):
        return False
    return tokenizer("a").input_ids[:1] == [bos] or bool(getattr(tokenizer, "add_bos_token", False))


def _is_gemma(config: Any) -> bool:
    return str(config.model_type).startswith("gemma")
