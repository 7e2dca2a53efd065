"""Steering: a clamped unit has the requested value at the requested positions, and the continuations change."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from support.planted_world import layered
from support.sae.random_subject import random_subject
from support.sae.tiny_dictionaries import dictionary as any_dictionary
from support.scorers import cases as scorer_cases
from torch import Tensor

from sae.analysis.clamp import Rows, make_clamp
from sae.analysis.steering import _draw, continue_texts
from sae.dictionary import CROSS_LAYER, Dictionary
from sae.errors import SubjectError
from sae.harvest.units import UnitKey
from sae.subject.model import Subject

pytestmark = pytest.mark.usefixtures("one_thread")

FEATURE = UnitKey("feature", 0, "")
TEXTS = ["filler1 filler2 harbour1 filler3", "filler4 nearharbour2 filler8", "filler5 filler6 orchard0 filler7"]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> scorer_cases.Opened:
    return scorer_cases.opened(tmp_path_factory.mktemp("steering"))


@pytest.fixture(scope="module")
def deep(opened: scorer_cases.Opened) -> Subject:
    """A model whose words depend on one another, with random weights."""
    return random_subject(opened.subject.tokenizer)


def values(subject: Subject, text: str, hook_point: str, clamp: object = None) -> Tensor:
    """What a hook point holds at a text's tokens, (T, width)."""
    ids = torch.tensor([subject.tokenizer(text).input_ids])
    if clamp is None:
        return subject.run(ids, [hook_point])[hook_point][0]
    with clamp(tuple(ids.shape), 1):  # type: ignore[operator]
        return subject.run(ids, [hook_point])[hook_point][0]


def clamped(subject: Subject, dictionary: Dictionary, unit: UnitKey, value: float) -> partial[Any]:
    """One text's unit clamped at one strength."""
    return partial(make_clamp(subject, dictionary, [unit]), Rows(torch.tensor([0]), torch.tensor([value])))


def test_a_feature_is_clamped_to_its_value(opened: scorer_cases.Opened) -> None:
    clamp = clamped(opened.subject, opened.dictionary, FEATURE, 7.5)
    before = values(opened.subject, TEXTS[0], "resid_post.0")
    after = values(opened.subject, TEXTS[0], "resid_post.0", clamp)
    found = opened.dictionary.activations(after)
    # Read again, the clamp is exact where the feature was active, and short by the encoder's bias where it was silent.
    assert found[1:, 0].tolist() == pytest.approx([7.49, 7.5, 7.49], abs=1e-4)
    assert torch.equal(before[0], after[0])
    others = opened.dictionary.activations(before)[:, 1:8]
    assert found[:, 1:8].allclose(others, atol=1e-5)  # the other pure features have directions of their own


@pytest.mark.parametrize("norm", ["none", "scale", "layer_norm", "per_token"])
@pytest.mark.parametrize("activation", ["relu", "jumprelu", "topk", "groupmax"])
def test_the_stream_is_the_reconstruction_with_one_feature_replaced_plus_the_error(
    deep: Subject, activation: str, norm: str
) -> None:
    dictionary = replace(any_dictionary(activation), input_norm=norm, input_scale=0.7)  # type: ignore[arg-type]
    x = values(deep, TEXTS[0], "resid_post.1")
    f = dictionary.encode(x)
    f_clamped = f.clone()
    f_clamped[:, 4] = 3.0 / dictionary.decoder_norm[4]
    expected = dictionary.decode(f_clamped, x) + (x - dictionary.decode(f, x))
    after = values(deep, TEXTS[0], "resid_post.1", clamped(deep, dictionary, UnitKey("feature", 4, ""), 3.0))
    assert after[1:].allclose(expected[1:], atol=1e-3, rtol=1e-4)
    assert not after[1:].allclose(x[1:], atol=1e-2)


def test_a_transcoder_changes_its_output(deep: Subject) -> None:
    plain = any_dictionary("relu")
    transcoder = replace(plain, hook_point="mlp_in.1", hook_point_out="mlp_out.1", input_norm="none")
    x, y = values(deep, TEXTS[0], "mlp_in.1"), values(deep, TEXTS[0], "mlp_out.1")
    clamp = clamped(deep, transcoder, UnitKey("feature", 4, ""), 3.0)
    after = values(deep, TEXTS[0], "mlp_out.1", clamp)
    moved = (3.0 / transcoder.decoder_norm[4] - transcoder.encode(x)[:, 4:5]) * transcoder.W_dec[4]
    assert after[1:].allclose((y + moved)[1:], atol=1e-4)
    assert torch.equal(values(deep, TEXTS[0], "mlp_in.1", clamp), x)


@pytest.mark.parametrize(("sign", "value"), [("+", 2.5), ("-", -2.5)])
def test_a_neuron_is_clamped_with_its_sign(opened: scorer_cases.Opened, sign: str, value: float) -> None:
    before = values(opened.subject, TEXTS[0], "mlp_act.0")
    clamp = clamped(opened.subject, opened.dictionary, UnitKey("neuron", 3, sign), 2.5)
    after = values(opened.subject, TEXTS[0], "mlp_act.0", clamp)
    assert after[1:, 3].tolist() == pytest.approx([value] * 3)
    rest = [i for i in range(after.shape[1]) if i != 3]
    assert torch.equal(after[:, rest], before[:, rest])
    assert after[0, 3] == before[0, 3]


def test_a_planted_direction_makes_the_subject_say_its_words(opened: scorer_cases.Opened) -> None:
    clean = continue_texts(opened.subject, opened.dictionary, FEATURE, TEXTS, 0, 6, None, largest=0.94)
    steered = continue_texts(opened.subject, opened.dictionary, FEATURE, TEXTS, 20, 6, None, largest=0.94)
    assert not any("harbour" in text for text in clean)
    assert all(word.startswith("harbour") for text in steered for word in text.split())
    assert [len(text.split()) for text in steered] == [6, 6, 6]
    away = continue_texts(opened.subject, opened.dictionary, FEATURE, TEXTS, -20, 6, None, largest=0.94)
    assert not any("harbour" in text for text in away)


@pytest.mark.parametrize("seed", [None, 3])
def test_a_cache_does_not_change_continuations(
    deep: Subject, monkeypatch: pytest.MonkeyPatch, seed: int | None
) -> None:
    dictionary = any_dictionary("topk")

    def said() -> list[str]:
        return continue_texts(deep, dictionary, UnitKey("feature", 4, ""), TEXTS, 2, 8, seed, largest=1.0)

    cached, plain = said(), deep.next_logits
    monkeypatch.setattr(deep, "next_logits", lambda tokens, cache=None: (plain(tokens)[0], None))
    assert said() == cached
    assert len(set(cached)) > 1


def test_texts_with_different_strengths_can_be_continued_together(opened: scorer_cases.Opened, deep: Subject) -> None:
    for subject, unit in ((opened.subject, FEATURE), (deep, UnitKey("neuron", 1, "-"))):
        dictionary = opened.dictionary if subject is opened.subject else any_dictionary("relu")
        factors = [20.0, 0.0, -20.0]
        together = continue_texts(subject, dictionary, unit, TEXTS, factors, 5, 0, largest=1.0)
        alone = [
            continue_texts(subject, dictionary, unit, [t], f, 5, 0, largest=1.0)[0]
            for t, f in zip(TEXTS, factors, strict=True)
        ]
        assert together == alone
        assert continue_texts(subject, dictionary, unit, TEXTS, 20.0, 5, 0, largest=1.0) != together


def test_continuations_depend_on_the_seed_but_not_on_the_other_texts(deep: Subject) -> None:
    dictionary = any_dictionary("relu")

    def said(seed: int | None, texts: list[str]) -> list[str]:
        return continue_texts(deep, dictionary, FEATURE, texts, 1, 8, seed, largest=1.0)

    assert said(1, TEXTS) == said(1, TEXTS) != said(2, TEXTS)
    assert said(1, TEXTS) == [said(1, [text])[0] for text in TEXTS]
    assert said(1, TEXTS[::-1]) == said(1, TEXTS)[::-1]
    assert said(None, TEXTS) == said(None, TEXTS)


def test_drawn_tokens_follow_the_subjects_distribution(deep: Subject) -> None:
    """Of 2000 seeds, the commonest first tokens come as often as their probability says, to 4 standard deviations."""
    logits, _ = deep.next_logits(torch.tensor([deep.tokenizer(TEXTS[0]).input_ids]))
    chances = logits[0].softmax(0)
    uniform = torch.rand(2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64).numpy()
    counts = torch.bincount(_draw(logits.expand(2000, -1), uniform), minlength=len(chances))
    for token in chances.topk(5).indices.tolist():
        p = float(chances[token])
        assert abs(int(counts[token]) - 2000 * p) < 4 * (2000 * p * (1 - p)) ** 0.5


def test_special_tokens_are_never_drawn(opened: scorer_cases.Opened, deep: Subject) -> None:
    subject = Subject(deep.model, deep.tokenizer, name="deep", fingerprint="x")
    plain = continue_texts(subject, any_dictionary("relu"), FEATURE, TEXTS[:1], 1, 1, None, largest=1.0)
    said = subject.tokenizer(plain[0].strip()).input_ids
    subject.special_ids = frozenset(said)
    assert continue_texts(subject, any_dictionary("relu"), FEATURE, TEXTS[:1], 1, 1, None, largest=1.0) != plain


def test_units_that_cannot_be_steered_are_refused(opened: scorer_cases.Opened, deep: Subject) -> None:
    with pytest.raises(SubjectError, match="it is empty"):
        continue_texts(opened.subject, opened.dictionary, FEATURE, ["filler1", ""], 1, 2, 0, largest=1.0)
    with pytest.raises(SubjectError, match="ask for fewer tokens"):
        continue_texts(deep, any_dictionary("relu"), FEATURE, TEXTS, 1, 64, 0, largest=1.0)
    cross: Dictionary = replace(opened.dictionary, architecture=CROSS_LAYER)
    with pytest.raises(SubjectError, match="cannot be steered"):
        continue_texts(opened.subject, cross, FEATURE, TEXTS, 1, 2, 0, largest=1.0)
    headless = Subject(deep.model, deep.tokenizer, name="half", fingerprint="x", headless="lm_head.weight")
    with pytest.raises(SubjectError, match=r"half lacks lm_head\.weight"):
        continue_texts(headless, any_dictionary("relu"), FEATURE, TEXTS, 1, 2, 0, largest=1.0)


def test_a_long_text_is_read_from_its_end(deep: Subject) -> None:
    long = " ".join(f"filler{i % 60}" for i in range(200))
    end = " ".join(long.split()[-60:])
    dictionary = any_dictionary("relu")
    assert continue_texts(deep, dictionary, FEATURE, [long], 1, 4, 0, largest=1.0) == continue_texts(
        deep, dictionary, FEATURE, [end], 1, 4, 0, largest=1.0
    )


def test_the_residual_stream_between_attention_and_mlp_is_steered(tmp_path_factory: pytest.TempPathFactory) -> None:
    subject = layered.make(tmp_path_factory.mktemp("mid")).subject()
    x = values(subject, TEXTS[0], "resid_mid.1")
    dictionary = layered.principal(x, "resid_mid.1", rank=3)
    clamp = clamped(subject, dictionary, UnitKey("feature", 0, ""), 5.0)
    before = values(subject, TEXTS[0], "resid_post.1") - values(subject, TEXTS[0], "mlp_out.1")
    after = values(subject, TEXTS[0], "resid_post.1", clamp) - values(subject, TEXTS[0], "mlp_out.1", clamp)
    moved = (5.0 - dictionary.activations(x)[:, :1]) * dictionary.W_dec[0]
    assert (after - before)[1:].allclose(moved[1:], atol=1e-3)
