"""Interventions: several units at chosen positions have the requested values, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.planted_world import world as planted
from support.sae.random_subject import random_subject
from support.sae.tiny_dictionaries import dictionary as any_dictionary
from torch import Tensor
from transformers import AutoTokenizer

from sae.dictionary import CROSS_LAYER, Dictionary
from sae.errors import SubjectError
from sae.harvest.units import UnitKey
from sae.studies.intervention import Intervention, Row, Target, intervene, random_directions
from sae.studies.positions import Positions, parse_positions
from sae.studies.steered_texts import continuations, losses, risen_tokens
from sae.subject.model import Subject

pytestmark = pytest.mark.usefixtures("one_thread")

IDS = (260, 271, 282, 293, 304, 315)
FOUR, SEVEN = UnitKey("feature", 4, ""), UnitKey("feature", 7, "")
NEURON = UnitKey("neuron", 3, "-")
CHOICES = ("all", "prompt", "last", "new", "2,4-5")


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    world = planted.make(tmp_path_factory.mktemp("world"), documents=2)
    return random_subject(AutoTokenizer.from_pretrained(world.subject))


def at(layer: int, activation: str = "topk") -> Dictionary:
    return any_dictionary(activation, hook_point=f"resid_post.{layer}", seed=layer)


def read(intervention: Intervention, rows: list[Row], hook_point: str) -> Tensor:
    """What a hook point holds at the rows' tokens, (B, T, width)."""
    ids = torch.tensor([row.ids for row in rows])
    with intervention(rows, tuple(ids.shape)):
        return intervention.subject.run(ids, [hook_point])[hook_point]


@torch.no_grad()
def logits(subject: Subject, intervention: Intervention, rows: list[Row]) -> Tensor:
    ids = torch.tensor([row.ids for row in rows])
    with intervention(rows, tuple(ids.shape)):
        return subject.model(input_ids=ids, use_cache=False).logits


@pytest.mark.parametrize("activation", ["topk", "jumprelu"])
def test_several_features_are_set_together_and_the_error_is_kept(deep: Subject, activation: str) -> None:
    dictionary = at(1, activation)
    both = intervene(deep, [Target(dictionary, FOUR, 3.0), Target(dictionary, SEVEN, -1.5)])
    x = read(both, [Row(IDS, 6)], "resid_post.1")[0]
    f = dictionary.encode(x)
    changed = f.clone()
    changed[:, 4], changed[:, 7] = 6.0 / dictionary.decoder_norm[4], -3.0 / dictionary.decoder_norm[7]
    expected = dictionary.decode(changed, x) + (x - dictionary.decode(f, x))
    after = read(both, [Row(IDS, 6, 2.0)], "resid_post.1")[0]
    assert after[1:].allclose(expected[1:], atol=1e-3, rtol=1e-4)
    assert torch.equal(after[0], x[0])


def test_units_of_several_layers_and_kinds_are_set_in_one_pass(deep: Subject) -> None:
    dictionary = replace(at(2, "relu"), input_norm="none")
    both = intervene(deep, [Target(at(0), FOUR, 2.0), Target(dictionary, NEURON, 1.5), Target(dictionary, FOUR, 3.0)])
    assert both.writes == ["resid_post.0", "mlp_act.2", "resid_post.2"]
    row = [Row(IDS, 6, 1.0)]
    assert read(both, row, "mlp_act.2")[0, 1:, 3].tolist() == pytest.approx([-1.5] * 5)
    without = replace(both, sites=both.sites[:2])
    x = read(without, row, "resid_post.2")[0]
    moved = (3.0 / dictionary.decoder_norm[4] - dictionary.encode(x)[:, 4:5]) * dictionary.W_dec[4]
    assert (read(both, row, "resid_post.2")[0] - x)[1:].allclose(moved[1:], atol=1e-3)


def test_values_can_be_added_to_activations(deep: Subject) -> None:
    dictionary = replace(at(1, "relu"), input_norm="none")
    for target, width in (
        (Target(dictionary, FOUR, 2.0), "resid_post.1"),
        (Target(dictionary, NEURON, 2.0), "mlp_act.1"),
    ):
        added = intervene(deep, [target], added=True)
        moved = read(added, [Row(IDS, 6, 1.5)], width) - read(added, [Row(IDS, 6)], width)
        direction = added.sites[0].clamp.directions[0]
        assert moved[0, 1:].allclose(3.0 * direction.expand(5, -1), atol=1e-4)


@pytest.mark.parametrize("text", CHOICES)
def test_only_the_chosen_positions_change(deep: Subject, text: str) -> None:
    positions = parse_positions(text)
    intervention = intervene(deep, [Target(at(1), FOUR, 9.0, positions)])
    moved = read(intervention, [Row(IDS, 4, 1.0)], "resid_post.1") - read(intervention, [Row(IDS, 4)], "resid_post.1")
    expected = {"all": [1, 2, 3, 4, 5], "prompt": [1, 2, 3], "last": [3], "new": [4, 5], "2,4-5": [2, 4, 5]}
    assert moved[0].abs().amax(dim=1).nonzero().flatten().tolist() == expected[text]


@torch.no_grad()
def test_rows_without_a_factor_stay_as_they_are_bit_for_bit(deep: Subject) -> None:
    """Beside steered rows as well as alone; without any factor no hook is set at all."""
    targets = [Target(at(0), FOUR, 5.0), Target(at(1), NEURON, 5.0), Target(at(2, "jumprelu"), SEVEN, 5.0)]
    intervention = intervene(deep, targets)
    plain, steered = Row(IDS, 6), Row(IDS, 6, 3.0)
    untouched = deep.model(input_ids=torch.tensor([IDS, IDS]), use_cache=False).logits
    assert torch.equal(logits(deep, intervention, [plain, plain]), untouched)
    beside = logits(deep, intervention, [plain, steered])
    assert torch.equal(beside[0].view(torch.int32), untouched[0].view(torch.int32))
    assert not torch.equal(beside[1], untouched[1])
    with intervention([plain], (1, 6)):
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in deep.model.modules())
    assert torch.equal(deep.model(input_ids=torch.tensor([IDS, IDS]), use_cache=False).logits, untouched)


@pytest.mark.parametrize("text", CHOICES)
@pytest.mark.parametrize("seed", [None, 3])
def test_a_cache_does_not_change_steered_continuations(
    deep: Subject, monkeypatch: pytest.MonkeyPatch, seed: int | None, text: str
) -> None:
    targets = [Target(at(0), FOUR, 1.0, parse_positions(text)), Target(at(2), NEURON, 1.0)]
    intervention = intervene(deep, targets)
    rows = [Row(IDS, 6), Row(IDS, 6, 2.0), Row(IDS[:5], 5, -2.0), Row(IDS[:5], 5)]

    def continued() -> list[list[int]]:
        return continuations(deep, intervention, rows, 8, seed, ends=False)

    cached, plain = continued(), deep.next_logits
    monkeypatch.setattr(deep, "next_logits", lambda tokens, cache=None: (plain(tokens)[0], None))
    assert continued() == cached
    assert cached[0] != cached[1]


def test_a_turned_change_has_the_same_length_at_every_position(deep: Subject) -> None:
    dictionary = at(1)
    intervention = intervene(deep, [Target(dictionary, FOUR, 3.0), Target(dictionary, SEVEN, 1.0)])
    directions = random_directions(intervention, 0)
    intervention = replace(intervention, directions={"random": directions})
    rows = [Row(IDS, 6), Row(IDS, 6, 2.0), Row(IDS, 6, 2.0, "random"), Row(IDS, 6, -2.0, "random")]
    x = read(intervention, rows, "resid_post.1")
    own, turned, back = (x[1:] - x[:1])[:, 1:]
    assert turned.norm(dim=-1).allclose(own.norm(dim=-1), rtol=1e-3)
    assert turned.allclose(turned.norm(dim=-1, keepdim=True) * directions["resid_post.1"], atol=1e-2)
    assert (back @ directions["resid_post.1"] < 0).all()
    assert not torch.equal(random_directions(intervention, 1)["resid_post.1"], directions["resid_post.1"])


@torch.no_grad()
def test_losses_and_risen_tokens_of_plain_rows_are_the_subjects_own(deep: Subject) -> None:
    intervention = intervene(deep, [Target(at(1), FOUR, 5.0)])
    rows = [Row(IDS, 4), Row(IDS, 4, 4.0), Row(IDS[:4], 4, 4.0)]
    own, changed, empty = losses(deep, intervention, rows)
    assert own.tolist() == pytest.approx(deep.losses(torch.tensor([IDS]))[0, 3:].tolist(), rel=1e-5)
    assert not own.allclose(changed)
    assert empty.numel() == 0
    none, risen, _ = risen_tokens(deep, intervention, rows, 5)
    assert none == ()
    changes = [token.change for token in risen]
    assert changes == sorted(changes, reverse=True)
    before, after = (
        torch.log_softmax(logits(deep, intervention, [row])[0, -1], 0).exp() for row in (Row(IDS, 4), Row(IDS, 4, 4.0))
    )
    best = torch.where(after >= 1e-3, (after / before).log(), -torch.inf).argmax()
    assert risen[0].before == pytest.approx(float(before[best]), rel=1e-3)
    assert risen[0].after == pytest.approx(float(after[best]), rel=1e-3)


def test_what_cannot_be_set_is_refused_in_one_line(deep: Subject) -> None:
    dictionary = at(1)
    with pytest.raises(SubjectError, match=r"neuron-3[+] is set twice: name each unit"):
        intervene(deep, [Target(dictionary, NEURON, 1.0), Target(dictionary, UnitKey("neuron", 3, "+"), 1.0)])
    with pytest.raises(SubjectError, match="cannot be steered"):
        intervene(deep, [Target(replace(dictionary, architecture=CROSS_LAYER), FOUR, 1.0)])
    with pytest.raises(SubjectError, match="positions 'first' are unknown"):
        parse_positions("first")
    with pytest.raises(
        SubjectError, match="position 6 cannot be steered in a prompt of 6 tokens: choose positions from 1 to 5"
    ):
        Positions("numbers", (6,)).check(6)
