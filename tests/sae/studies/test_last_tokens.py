"""The strongest features at last tokens: equal to a plain encoding, in chunks or not, whatever the prompts' lengths."""

from __future__ import annotations

import pytest
import torch
from support.sae.tiny_dictionaries import dictionary as any_dictionary
from support.scorers import cases as scorer_cases

from sae.analysis import chunked
from sae.analysis.unit_probe import encode_texts
from sae.errors import SubjectError
from sae.studies import alive_features, last_tokens
from sae.studies.last_tokens import last_token_values, strongest

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> scorer_cases.Opened:
    return scorer_cases.opened(tmp_path_factory.mktemp("last-tokens"))


def test_values_are_those_of_each_prompt_alone(opened: scorer_cases.Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_tokens, "BATCH_TOKENS", 40)
    prompts = [" ".join(f"filler{j}" for j in range(n)) + " harbour4" for n in (3, 1, 9, 5, 2)]
    hook_point = opened.dictionary.hook_point
    values, counted = last_token_values(opened.subject, prompts, [hook_point])
    assert counted.all()
    for prompt, row in zip(prompts, values[hook_point], strict=True):
        (ids,) = encode_texts(opened.subject, [prompt])
        alone = opened.subject.run(torch.tensor([ids]), [hook_point])[hook_point][0, -1]
        assert torch.allclose(row, alone, atol=1e-5)


def test_a_prompt_without_tokens_or_with_too_many_is_refused(opened: scorer_cases.Opened) -> None:
    for prompt in ("", "filler1 " * 600):
        with pytest.raises(SubjectError, match="tokens, and 1 to"):
            last_token_values(opened.subject, ["filler1", prompt], [opened.dictionary.hook_point])


@pytest.mark.parametrize("activation", ["relu", "jumprelu", "topk"])
def test_the_strongest_features_are_those_of_the_whole_encoding(
    activation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dictionary = any_dictionary(activation)
    x = torch.randn(7, 3, dictionary.d_in, generator=torch.Generator().manual_seed(1))
    mean = dictionary.activations(x).mean(dim=1)
    counted = torch.ones(7, 3, dtype=torch.bool)
    whole = strongest(dictionary, x, counted, 5)
    monkeypatch.setattr(chunked, "ELEMENTS", 21 * 8)
    for found in (whole, strongest(dictionary, x, counted, 5)):
        assert torch.allclose(found.activation, mean.topk(5).values, atol=1e-5)
        assert torch.allclose(found.activation, mean.gather(1, found.feature), atol=1e-5)
        assert torch.allclose(found.largest, mean.amax(dim=0)[found.feature], atol=1e-5)
        fires = (mean >= last_tokens.FIRES * mean.amax(dim=0)) & (mean > 0)
        positive = found.activation > 0
        assert torch.equal(found.fires_on[positive], fires.sum(dim=0)[found.feature][positive])


def test_firing_is_counted_at_every_counted_token(opened: scorer_cases.Opened) -> None:
    from sae.corpus.corpus import open_corpus

    subject, dictionary = opened.subject, opened.dictionary
    corpus = open_corpus(
        [str(opened.world.corpus)], tokenizer=subject.tokenizer, tokenizer_fingerprint=subject.fingerprint,
        context_tokens=64, max_tokens=60_000, bos_id=subject.bos_id, special_ids=subject.special_ids,
    )  # fmt: skip
    levels = torch.full((2, dictionary.d_sae), torch.inf)
    levels[1, :4] = 0.5
    (found, again), n = alive_features.firing(
        subject, [dictionary, dictionary], corpus, [levels, levels], tokens=10**6, seed=0
    )
    tokens, counted = corpus.batch(range(len(corpus.contexts)))  # type: ignore[arg-type]
    counted[:, : 1 + (corpus.bos_id is not None)] = False
    x = subject.run(torch.as_tensor(tokens), [dictionary.hook_point])[dictionary.hook_point]
    f = dictionary.activations(x[torch.as_tensor(counted)])
    assert n == counted.sum()
    assert found.n_active.tolist() == again.n_active.tolist() == (f > 0).sum(dim=0).tolist()
    assert found.n_reached[0].tolist() == [0] * dictionary.d_sae
    assert found.n_reached[1].tolist() == [*(f >= 0.5).sum(dim=0).tolist()[:4], *[0] * (dictionary.d_sae - 4)]
    assert found.largest.tolist() == pytest.approx(f.amax(dim=0).tolist(), abs=1e-5)
