"""Examples against all activations in memory: the strongest, a fair sample of each bin, no text twice, whole windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.sae import whole_dictionary
from support.sae.whole_dictionary import WINDOW, Whole

from sae.explorer.examples import Choice, Examples, examples
from sae.explorer.same_texts import alike
from sae.explorer.token_strings import TokenStrings
from sae.explorer.whole_sketch import PLACE
from sae.harvest.bins import bin_of
from sae.subject.token_text import token_texts

pytestmark = pytest.mark.usefixtures("one_thread")
CHOICE = Choice(bins=5, top=6, per_bin=3)


@pytest.fixture(scope="module", params=["topk", "jumprelu"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return whole_dictionary.make(tmp_path_factory.mktemp("whole"), request.param)


def chosen(whole: Whole) -> tuple[Examples, list[str]]:
    strings = TokenStrings(whole.subject.tokenizer)
    [found] = examples(whole.sketch, whole.corpus, CHOICE, strings)
    return found, strings.strings


def ordinals(whole: Whole, found: Examples) -> np.ndarray:
    """The ordinal in the corpus of each mark."""
    contexts = whole.corpus.contexts
    at = {(int(c["document"]), int(c["position"])): int(c["offset"]) for c in contexts}
    stride = int(contexts["length"].max())
    places = zip(found.document.tolist(), found.position.tolist(), strict=True)
    return np.array([at[document, position // stride * stride] + position % stride for document, position in places])


def test_examples_have_the_activations_and_the_text_of_their_windows(whole: Whole) -> None:
    activations, _, _ = whole.everything
    found, strings = chosen(whole)
    token = ordinals(whole, found)
    ends = np.cumsum(found.length)
    assert len(found.unit) > 500
    assert np.allclose(found.activation, activations[found.unit, token], atol=1e-4)
    assert not np.signbit(found.activations).any()
    for i in range(0, len(token), 23):
        first, window = token[i] - found.mark[i], slice(ends[i] - found.length[i], ends[i])
        true = activations[found.unit[i], first : first + found.length[i]]
        assert np.allclose(found.activations[window], true, rtol=1e-2, atol=1e-4)
        ids = whole.corpus.tokens[first : first + found.length[i]]
        assert [strings[code] for code in found.strings[window]] == token_texts(whole.subject.tokenizer, ids.tolist())
        assert found.mark[i] <= int(PLACE * WINDOW) or found.length[i] < WINDOW or found.mark[i] < WINDOW
    assert (np.bincount(found.mark)[int(PLACE * WINDOW)]) > len(token) / 4


def test_the_first_examples_are_the_strongest_that_do_not_read_alike(whole: Whole) -> None:
    activations, _, _ = whole.everything
    found, _ = chosen(whole)
    cuts = np.cumsum(whole.corpus.contexts["length"])[:-1]
    starts = np.concatenate([[0], cuts])
    for unit in range(0, len(activations), 13):
        own = found.activation[(found.unit == unit) & (found.bin == 0)]
        best = [
            (part.max(), start + int(part.argmax()))
            for part, start in zip(np.split(activations[unit], cuts), starts, strict=True)
        ]
        best = sorted(((v, t) for v, t in best if v > 0), key=lambda pair: (-pair[0], pair[1]))[:9]
        tokens = np.array([t for _, t in best], dtype=np.int64)
        pairs = alike(whole.corpus, tokens, np.zeros(len(tokens), dtype=np.int64)).tolist()
        shown: list[int] = []
        for j in range(len(best)):
            if len(shown) < CHOICE.top and not any([i, j] in pairs for i in shown):
                shown.append(j)
        assert np.allclose(own, [best[i][0] for i in shown], atol=1e-5)


def test_each_bin_has_events_of_its_own_strength_and_no_text_is_shown_twice(whole: Whole) -> None:
    activations, _, _ = whole.everything
    found, _ = chosen(whole)
    sampled = found.bin > 0
    maximum = activations.max(axis=1).astype(np.float64)
    bins = bin_of(found.activation, np.maximum(maximum[found.unit], found.activation), CHOICE.bins)
    assert (np.abs(bins - found.bin)[sampled] > 0).mean() < 0.01
    assert np.bincount(found.unit * 6 + found.bin)[1:].max() <= max(CHOICE.top, CHOICE.per_bin)
    assert np.bincount((found.unit * 6 + found.bin)[sampled]).max() == CHOICE.per_bin
    assert len(alike(whole.corpus, ordinals(whole, found), found.unit)) == 0
    order = np.lexsort([found.rank, np.where(found.bin > 0, -found.bin, -99), found.unit])
    assert order.tolist() == list(range(len(order)))


def test_the_sample_of_a_bin_is_fair(tmp_path: Path) -> None:
    """Over many units, sampled events are on average as strong within their bin as all of its events."""
    whole = whole_dictionary.make(tmp_path, "relu")
    activations, _, _ = whole.everything
    found, _ = chosen(whole)
    excess = []
    for unit in range(whole.dictionary.d_sae):
        active = activations[unit][activations[unit] > 0]
        if not len(active):
            continue
        bins = bin_of(active, active.max(), CHOICE.bins)
        for bin_ in range(1, 4):
            own = found.activation[(found.unit == unit) & (found.bin == bin_)]
            if len(own) == CHOICE.per_bin:
                every = active[bins == bin_]
                excess.append((own.mean() - every.mean()) / (every.std() + 1e-9))
    assert len(excess) > 60
    assert abs(np.mean(excess)) < 4 / np.sqrt(CHOICE.per_bin * len(excess))
