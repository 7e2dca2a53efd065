"""Gradients at the values that dictionaries stand for: against finite differences, and by the chain rule."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import transformers
from support.sae.tiny_dictionaries import dictionary
from support.sae.tiny_models import LLAMA, tiny_model, tiny_tokenizer
from torch import Tensor

from sae.dictionary import CROSS_LAYER, Dictionary
from sae.errors import DictionaryError
from sae.studies.attribution.ablation import Place, differences_without
from sae.studies.attribution.active_features import ActiveFeatures
from sae.studies.attribution.gradients import DirectGradients, LogitDifference, total_gradients
from sae.studies.attribution.splicing import check_attributable, splicing
from sae.subject.model import Subject

pytestmark = pytest.mark.usefixtures("one_thread")

IDS = torch.tensor([1, 7, 30, 12, 45, 9])
DIFFERENCE = LogitDifference(5, 11)
ACTIVATIONS = ("relu", "jumprelu", "topk", "groupmax")


@pytest.fixture(scope="module")
def subject() -> Subject:
    """A model whose tokens depend on one another, with random weights."""
    model = tiny_model(transformers.LlamaConfig(**LLAMA))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(12)
    return Subject(model, tiny_tokenizer(), name="tiny", fingerprint="0")


def changed(subject: Subject, place: Dictionary, change: Tensor, difference: LogitDifference = DIFFERENCE) -> float:
    """The difference of logits when `change` is added to the value that a dictionary stands for."""
    with torch.no_grad(), splicing(subject, [place], [lambda x, y: y + change], (1, len(IDS))):
        return float(difference.of(subject.last_logits(IDS[None]))[0])


@pytest.mark.parametrize("hook_point", ["resid_pre.1", "resid_mid.1", "resid_post.1", "mlp_out.2", "attn_out.1"])
@pytest.mark.parametrize("difference", [DIFFERENCE, LogitDifference(5)])
def test_a_total_gradient_equals_finite_differences(
    subject: Subject, hook_point: str, difference: LogitDifference
) -> None:
    place = dictionary("relu", hook_point=hook_point)
    totals = total_gradients(subject, [place], IDS, difference)
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(totals.gradients[0].shape, generator=generator)
    step = 0.01
    found = (
        changed(subject, place, step * direction, difference) - changed(subject, place, -step * direction, difference)
    ) / (2 * step)
    assert float((totals.gradients[0] * direction).sum()) == pytest.approx(found, rel=1e-3)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("input_norm", ["none", "scale", "layer_norm", "per_token"])
def test_an_attribution_equals_finite_differences_of_one_activation(
    subject: Subject, activation: str, input_norm: str
) -> None:
    place = replace(dictionary(activation), input_norm=input_norm, input_scale=0.5)
    totals = total_gradients(subject, [place], IDS, DIFFERENCE)
    active = totals.active[0]
    attributions, of_errors = active.dot(totals.gradients[0])
    for pair in range(0, len(active), max(1, len(active) // 5)):
        position, feature = int(active.position[pair]), int(active.feature[pair])
        only = torch.zeros(len(IDS), place.d_sae)
        only[position, feature] = active.f[pair]
        vector = place.decode(only, active.x) - place.decode(torch.zeros_like(only), active.x)
        step = 0.01 / float(vector.norm())
        found = (changed(subject, place, step * vector) - changed(subject, place, -step * vector)) / (2 * step)
        assert float(attributions[pair]) == pytest.approx(found, rel=1e-3, abs=1e-3 * float(attributions.abs().max()))
    whole = (totals.gradients[0] * (active.y - place.decode(torch.zeros(len(IDS), place.d_sae), active.x))).sum()
    assert float(attributions.sum() + of_errors.sum()) == pytest.approx(float(whole), rel=1e-3)


def test_the_pass_with_dictionaries_in_place_is_that_of_the_model(subject: Subject) -> None:
    with torch.no_grad():
        expected = DIFFERENCE.of(subject.last_logits(IDS[None]))[0]
    places = [dictionary("jumprelu", hook_point=f"resid_post.{layer}") for layer in (0, 2)]
    totals = total_gradients(subject, places, IDS, DIFFERENCE)
    assert totals.value == float(expected)
    assert len(totals.active[0].error) == len(IDS)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_total_gradient_is_the_direct_one_plus_those_through_later_features(
    subject: Subject, activation: str
) -> None:
    places = [dictionary(activation, hook_point=f"resid_post.{layer}", seed=layer) for layer in (0, 1, 2)]
    totals = total_gradients(subject, places, IDS, DIFFERENCE)
    direct = DirectGradients(subject, totals)
    expected = direct.of_difference()
    for number in (1, 2):
        active = totals.active[number]
        attributions = active.dot(totals.gradients[number])[0]
        for pair in range(len(active)):
            through = direct.of_feature(number, int(active.position[pair]), int(active.feature[pair]))
            for earlier in range(number):
                expected[earlier] = expected[earlier] + attributions[pair] / active.f[pair] * through[earlier]
    for total, summed in zip(totals.gradients, expected, strict=True):
        torch.testing.assert_close(summed, total, rtol=2e-3, atol=2e-3 * float(total.abs().max()))


def test_the_gradient_of_a_feature_is_zero_at_its_own_and_later_dictionaries(subject: Subject) -> None:
    places = [dictionary("relu", hook_point=f"resid_post.{layer}", seed=layer) for layer in (0, 2)]
    totals = total_gradients(subject, places, IDS, DIFFERENCE)
    active = totals.active[0]
    direct = DirectGradients(subject, totals)
    gradients = direct.of_feature(0, int(active.position[3]), int(active.feature[3]))
    assert all(not gradient.any() for gradient in gradients)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_ablation_sets_one_activation_to_zero_and_keeps_the_error(subject: Subject, activation: str) -> None:
    place = dictionary(activation)
    totals = total_gradients(subject, [place], IDS, DIFFERENCE)
    active = totals.active[0]
    pairs = list(range(0, len(active), max(1, len(active) // 12)))
    groups = [[Place(0, int(active.position[p]), int(active.feature[p]))] for p in pairs]
    found = differences_without(subject, totals, groups)
    for value, ((_, position, feature),) in zip(found.tolist(), groups, strict=True):
        f = place.encode(active.x)
        f[position, feature] = 0
        change = place.decode(f, active.x) - place.decode(place.encode(active.x), active.x)
        assert value == pytest.approx(changed(subject, place, change), abs=1e-3)


def test_a_group_is_silent_together_in_all_layers(subject: Subject) -> None:
    places = [dictionary("relu", hook_point=f"resid_post.{layer}", seed=layer) for layer in (0, 2)]
    totals = total_gradients(subject, places, IDS, DIFFERENCE)
    group = [
        Place(number, int(active.position[p]), int(active.feature[p]))
        for number, active in enumerate(totals.active)
        for p in (5, 20, 31)
    ]
    found = differences_without(subject, totals, [group, []])

    def without(number: int) -> object:
        def edit(x: Tensor, y: Tensor) -> Tensor:
            f = places[number].encode(x)
            silent = f.clone()
            for place in group:
                if place.dictionary == number:
                    silent[:, place.position, place.feature] = 0
            return y + places[number].decode(silent, x) - places[number].decode(f, x)

        return edit

    with torch.no_grad(), splicing(subject, places, [without(0), without(1)], (1, len(IDS))):  # type: ignore[list-item]
        expected = float(DIFFERENCE.of(subject.last_logits(IDS[None]))[0])
    assert found.tolist() == pytest.approx([expected, totals.value], abs=1e-3)


def test_a_transcoder_is_attributed_where_it_writes(subject: Subject) -> None:
    place = replace(
        dictionary("relu", hook_point="mlp_in.1"),
        hook_point_out="mlp_out.1",
        input_norm="none",
        apply_b_dec_to_input=False,
    )
    totals = total_gradients(subject, [place], IDS, DIFFERENCE)
    active = totals.active[0]
    torch.testing.assert_close(active.y, subject.run(IDS[None], ["mlp_out.1"])["mlp_out.1"][0])
    attributions = active.dot(totals.gradients[0])[0]
    groups = [[Place(0, int(active.position[p]), int(active.feature[p]))] for p in range(len(active))]
    effects = totals.value - differences_without(subject, totals, groups)
    assert float(torch.corrcoef(torch.stack([attributions, effects]))[0, 1]) > 0.5


def test_dictionaries_without_an_attribution_are_refused_in_one_line() -> None:
    skip = replace(dictionary("relu"), W_skip=torch.zeros(16, 16), input_norm="none")
    for refused, why in ((skip, "skip connection"), (replace(skip, architecture=CROSS_LAYER), "several layers")):
        with pytest.raises(DictionaryError, match=why) as caught:
            check_attributable(refused)
        assert "\n" not in str(caught.value)


def test_active_features_are_those_of_the_encoder() -> None:
    place = dictionary("topk")
    x = torch.randn(7, 16, generator=torch.Generator().manual_seed(1))
    active = ActiveFeatures.of(place, x, x)
    f = torch.zeros(7, place.d_sae)
    f[active.position, active.feature] = active.f
    torch.testing.assert_close(f, place.encode(x))
    torch.testing.assert_close(active.error, x - place.decode(f, x), rtol=1e-4, atol=1e-4)
