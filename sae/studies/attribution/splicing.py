"""Dictionaries in their places in a forward pass, with gradients: the value that a dictionary stands for is edited, its error is kept.

An autoencoder stands for the value that it reads. A transcoder reads one value and stands for another, which is the one edited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

import torch
from torch import Tensor

from sae.dictionary import Dictionary
from sae.errors import DictionaryError
from sae.subject.hook_points import KINDS, parse
from sae.subject.model import Subject

Edit = Callable[[Tensor, Tensor], Tensor]
"""A function of x, the value that a dictionary reads (B, T, d_in), and y, the value that it stands for (B, T, d_out), that returns a
new y. It must not change its arguments."""


def check_attributable(dictionary: Dictionary) -> None:
    """Raise `DictionaryError` if the dictionary's output is not a sum over its features at one hook point."""
    if not dictionary.reconstructs:
        raise DictionaryError(
            f"{dictionary.path} writes to several layers, so its features have no attribution at one of them: use an autoencoder or"
            " the transcoder of one layer"
        )
    if dictionary.W_skip is not None:
        raise DictionaryError(
            f"{dictionary.path} has a skip connection, which carries a part of the effect past its features: use one without"
        )


def depth(dictionary: Dictionary) -> tuple[int, int]:
    """A key that sorts dictionaries by the place in the subject that they write to."""
    kind, layer = parse(dictionary.reconstructed_hook_point)
    return layer, KINDS.index(kind)


@contextmanager
def splicing(
    subject: Subject, dictionaries: Sequence[Dictionary], edits: Sequence[Edit], shape: Sequence[int]
) -> Iterator[None]:
    """Within the block, passes over tokens of `shape` (B, T) run with each dictionary's value as its edit returns it.

    Edits are computed in float32. Raises `SubjectError` for hook points that the subject lacks.
    """
    # All are made before one is entered: making one may run the subject, to see what stands at a hook point.
    hooks = [hook for pair in zip(dictionaries, edits, strict=True) for hook in _hooks(subject, *pair, shape)]
    with ExitStack() as stack:
        for hook in hooks:
            stack.enter_context(hook)
        yield


def _hooks(
    subject: Subject, dictionary: Dictionary, edit: Edit, shape: Sequence[int]
) -> list[AbstractContextManager[None]]:
    reads, writes = dictionary.hook_point, dictionary.reconstructed_hook_point

    def exactly(x: Tensor, y: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return edit(x, y)

    if reads == writes:
        return [subject.editing(reads, lambda x: exactly(x, x), shape)]
    seen: list[Tensor] = []

    def see(x: Tensor) -> Tensor:
        seen[:] = [x]
        return x

    return [subject.editing(reads, see, shape), subject.editing(writes, lambda y: exactly(seen.pop(), y), shape)]


def features_part(dictionary: Dictionary, features_sum: Tensor, x: Tensor) -> Tensor:
    """The part (..., d_out) of a reconstruction that is `features_sum` = f @ W_dec (..., d_out), in the scale of the token x (..., d_in).

    Denormalising multiplies a token by one number, so this map is its own transpose, and serves gradients too.
    """
    return dictionary.complete_decoding(features_sum, x) - dictionary.complete_decoding(
        torch.zeros_like(features_sum), x
    )
