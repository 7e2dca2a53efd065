"""The units of a harvest: named by the user, or drawn at random by the seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sae.errors import SaeError


@dataclass(frozen=True)
class UnitKey:
    """Identity of a unit: feature `index`, or neuron `index` with the sign that counts as active."""

    kind: str
    index: int
    sign: str

    @property
    def unit_id(self) -> str:
        return f"{self.kind}-{self.index}{self.sign}"


def sample_units(
    d_sae: int,
    n_mlp: int,
    *,
    features: int,
    neurons: int,
    seed: int,
    feature_ids: Sequence[int] | None = None,
    neuron_ids: Sequence[str] | None = None,
) -> tuple[UnitKey, ...]:
    """Draw units uniformly without replacement; a larger sample with the same seed contains the smaller one.

    `feature_ids` and `neuron_ids`, if given, name the units instead. Each sign of a neuron is a unit of its own: gated MLPs have
    both, and Scaling Monosemanticity says nothing about signs. Raises `SaeError` if the model has no such units.
    """
    if feature_ids is None:
        if features > d_sae:
            raise SaeError(f"units.features = {features} exceeds the dictionary's {d_sae} features: lower it")
        feature_ids = np.random.default_rng([seed, 1]).permutation(d_sae)[:features].tolist()
    elif bad := [i for i in feature_ids if not 0 <= i < d_sae]:
        raise SaeError(f"units.feature_ids names feature {bad[0]}, but the dictionary has 0..{d_sae - 1}")
    if neuron_ids is None:
        if neurons > 2 * n_mlp:
            raise SaeError(f"units.neurons = {neurons} exceeds the layer's {2 * n_mlp} signed neurons: lower it")
        drawn = np.random.default_rng([seed, 2]).permutation(2 * n_mlp)[:neurons].tolist()
        signed = [(i // 2, "+-"[i % 2]) for i in drawn]
    else:
        signed = [_parse_neuron(name, n_mlp) for name in neuron_ids]
    keys = [UnitKey("feature", i, "") for i in feature_ids] + [UnitKey("neuron", i, sign) for i, sign in signed]
    if len(set(keys)) < len(keys):
        raise SaeError("units.feature_ids or units.neuron_ids names a unit twice: remove one")
    return tuple(keys)


def _parse_neuron(name: str, n_mlp: int) -> tuple[int, str]:
    index, sign = name[:-1], name[-1:]
    if not index.isdecimal() or sign not in ("+", "-") or int(index) >= n_mlp:
        raise SaeError(f"units.neuron_ids has {name!r}: write a neuron 0..{n_mlp - 1} and its sign, such as '17+'")
    return int(index), sign
