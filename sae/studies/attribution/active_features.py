"""The features of a dictionary that are active at the tokens of one text: all that attribution needs of a dictionary.

Memory grows with the number of active features, and of what is computed at a time with a fixed number of pre-activations, not with
the number of features.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from sae.dictionary import Dictionary
from sae.studies.attribution.splicing import features_part

_ELEMENTS = 1 << 24
"""Elements of a tensor that is computed at a time."""


@dataclass(frozen=True, eq=False)
class ActiveFeatures:
    """The n active pairs of a position and a feature, by position and then by feature, at a text's T tokens.

    `x` (T, d_in) and `y` (T, d_out) are the values that the dictionary reads and stands for; `f` (n,) are the activations before they
    are multiplied by the decoder's norms.
    """

    dictionary: Dictionary
    x: Tensor
    y: Tensor
    position: Tensor
    feature: Tensor
    f: Tensor

    @classmethod
    def of(cls, dictionary: Dictionary, x: Tensor, y: Tensor) -> ActiveFeatures:
        """Encode x (T, d_in), a few tokens at a time."""
        positions, features, values = [], [], []
        rows = max(1, _ELEMENTS // dictionary.d_sae)
        for start in range(0, len(x), rows):
            f = dictionary.encode(x[start : start + rows])
            position, feature = f.nonzero(as_tuple=True)
            positions.append(position + start)
            features.append(feature)
            values.append(f[position, feature])
        return cls(dictionary, x, y, torch.cat(positions), torch.cat(features), torch.cat(values).float())

    def __len__(self) -> int:
        return len(self.f)

    @property
    def activations(self) -> Tensor:
        """`f_i * ||W_dec_i||` of each pair (n,)."""
        return self.f * self.dictionary.decoder_norm[self.feature]

    @cached_property
    def error(self) -> Tensor:
        """What the dictionary leaves out (T, d_out)."""
        total = torch.zeros_like(self.y)
        for part in self._parts():
            total.index_add_(0, self.position[part], self.f[part, None] * self._rows(part))
        return self.y - self.dictionary.complete_decoding(total, self.x)

    def dot(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The dot products of a gradient (T, d_out) with what each pair (n,) and each token's error (T,) contribute to `y`."""
        scaled = features_part(self.dictionary, gradient, self.x)
        parts = [(scaled[self.position[part]] * self._rows(part)).sum(dim=1) for part in self._parts()]
        of_pairs = self.f * torch.cat(parts) if parts else self.f
        return of_pairs, (gradient * self.error).sum(dim=1)

    def number(self, position: int, feature: int) -> int:
        """The number of a pair among the active ones, which it must be."""
        return int(((self.position == position) & (self.feature == feature)).nonzero()[0])

    @cached_property
    def distinct(self) -> Tensor:
        """The features that are active at any token (m,), ascending."""
        return torch.bincount(self.feature, minlength=1).nonzero().flatten()

    def pre_activations(self, x: Tensor) -> Tensor:
        """Pre-activations (T, m) of the distinct features from x (T, d_in), with gradients."""
        rows = self._encoder
        return self.dictionary.prepare(x) @ rows[0].T + rows[1]

    def output(self, z: Tensor) -> Tensor:
        """The features' part of `y` (T, d_out) from pre-activations z (T, m), with gradients, in the scale of the unchanged tokens.

        Where it is active, a feature's activation is its pre-activation, whatever the activation function.
        """
        f = torch.where(self._mask, z, 0.0)
        return features_part(self.dictionary, f @ self._decoder, self.x)

    @cached_property
    def _encoder(self) -> tuple[Tensor, Tensor]:
        rows = self.dictionary.feature_rows(self.distinct, self.x.device)
        return rows.W_enc, rows.b_enc

    @cached_property
    def _decoder(self) -> Tensor:
        return self.dictionary.W_dec[self.distinct].float()

    @cached_property
    def _mask(self) -> Tensor:
        mask = torch.zeros((len(self.x), len(self.distinct)), dtype=torch.bool, device=self.x.device)
        mask[self.position, torch.searchsorted(self.distinct, self.feature)] = True
        return mask

    def _rows(self, part: slice) -> Tensor:
        return self.dictionary.W_dec[self.feature[part]].float()

    def _parts(self) -> list[slice]:
        """Slices of the pairs whose decoder rows are in memory together."""
        size = max(1, _ELEMENTS // self.dictionary.d_out)
        return [slice(start, start + size) for start in range(0, len(self), size)]
