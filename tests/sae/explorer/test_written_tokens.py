"""The tokens of all units are those that a harvest reads off for some."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.sae import whole_dictionary

from sae.analysis.directions import logit_effects
from sae.explorer.written_tokens import WrittenTokens

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("activation", ["topk", "transcoder"])
def test_tokens_and_their_order_are_those_of_the_harvest(tmp_path: Path, activation: str) -> None:
    whole = whole_dictionary.make(tmp_path, activation, documents=20)
    written = WrittenTokens(whole.subject, whole.dictionary)
    features = [unit for unit in whole.units if unit.kind == "feature"]
    neurons = [unit for unit in whole.units if unit.kind == "neuron"][:21]
    for units in (features, neurons):
        raised, lowered = written.of(units, 7)
        true = logit_effects(whole.subject, whole.dictionary, units, 7)
        for effects, up, down in zip(true, raised, lowered, strict=True):
            assert effects is not None
            assert tuple(e.token for e in up) == effects.raised
            assert tuple(e.token for e in down) == effects.lowered
            assert all(e.effect > 0 for e in up)
            assert all(e.effect < 0 for e in down)
            assert [e.effect for e in up] == sorted((e.effect for e in up), reverse=True)
    assert written.of([], 7) == ([], [])
