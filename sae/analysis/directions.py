"""What a unit writes: its direction in the residual stream, the units of nearest direction, and the tokens that it makes likelier.

A feature's direction is its decoder row, a neuron's the column of its down projection times its sign. What a direction does to
the logits by itself, past all later blocks, is read off the unembedding: "direct logit attribution", used so for features in
*Towards Monosemanticity* (Bricken et al. 2023), after nostalgebraist's logit lens (2020). The final norm is folded in as Elhage et
al. (2021) do: its centring where it centres, and its gain; its scale, which is one number a token, is left out. So is the mean over
the vocabulary, which changes no probability.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sae.dictionary import Dictionary
from sae.harvest.units import UnitKey
from sae.subject.hook_modules import down_projection, find_site
from sae.subject.hook_points import parse
from sae.subject.model import Subject
from sae.subject.token_text import REPLACEMENT, token_texts

_ELEMENTS = 1 << 24
"""Cosines, or logits, that are held at once."""
_ADDED = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
"""Hook points of what is in the residual stream, or is added to it as it is."""
_SIGNS = "+-"


@dataclass(frozen=True)
class LogitEffects:
    """The tokens whose logits a direction raises and lowers most, the most first."""

    raised: tuple[str, ...]
    lowered: tuple[str, ...]


@torch.no_grad()
def nearest(subject: Subject, dictionary: Dictionary, units: Sequence[UnitKey], n: int) -> list[list[UnitKey]]:
    """For each unit the `n` others of its kind, of the whole dictionary or layer, whose directions have the largest cosine with its.

    Nearest first; none whose cosine is not above 0. Both signs of a neuron are candidates.
    """
    found: list[list[UnitKey]] = [[] for _ in units]
    for kind, rows in _written(subject, dictionary, units):
        mine = [number for number, unit in enumerate(units) if unit.kind == kind]
        signed = kind == "neuron"
        places = _places([units[i] for i in mine], signed)
        for number, near in zip(mine, _nearest(rows, places, n, signed, subject.device), strict=True):
            found[number] = [UnitKey(kind, c // 2, _SIGNS[c % 2]) if signed else UnitKey(kind, c, "") for c in near]
    return found


@torch.no_grad()
def nearest_within(subject: Subject, dictionary: Dictionary, units: Sequence[UnitKey], n: int) -> list[list[UnitKey]]:
    """The same, but the others are `units` themselves."""
    found: list[list[UnitKey]] = [[] for _ in units]
    for kind, rows in _written(subject, dictionary, units):
        mine = [number for number, unit in enumerate(units) if unit.kind == kind]
        chosen = _directions(rows, [units[i] for i in mine])
        close = _nearest(chosen, torch.arange(len(mine)), n, False, subject.device)
        for number, near in zip(mine, close, strict=True):
            found[number] = [units[mine[c]] for c in near]
    return found


@torch.no_grad()
def logit_effects(
    subject: Subject, dictionary: Dictionary, units: Sequence[UnitKey], n: int
) -> list[LogitEffects | None]:
    """The `n` tokens that each unit's direction raises most by itself, and lowers most; None where that is not defined.

    It is not where the subject has no output head, where the hook point is no part of the residual stream, and for features that
    write to several layers. Special tokens and tokens that are no text of their own are passed over.
    """
    found: list[LogitEffects | None] = [None] * len(units)
    head, tail = subject.model.get_output_embeddings(), final_norm(subject)
    if head is None or tail is None:
        return found
    for kind, rows in _written(subject, dictionary, units):
        mine = [number for number, unit in enumerate(units) if unit.kind == kind]
        chosen = _in_stream(subject, dictionary, kind, _directions(rows, [units[i] for i in mine]).to(subject.device))
        if chosen is not None:
            for number, effects in zip(mine, _effects(subject, head, tail(chosen), n), strict=True):
                found[number] = effects
    return found


class FinalNorm:
    """The linear part of what stands between the last block and the output head, for directions (..., d_model)."""

    def __init__(self, gain: Tensor, centres: bool) -> None:
        self.gain, self.centres = gain, centres

    def __call__(self, directions: Tensor) -> Tensor:
        centred = directions - directions.mean(dim=-1, keepdim=True) if self.centres else directions
        return centred * self.gain


@torch.no_grad()
def final_norm(subject: Subject) -> FinalNorm | None:
    """The subject's final norm, found by what comes out of it, whatever its class; None without an output head behind one.

    For a vector of +1 and -1 in turn, whose mean is 0 and mean square 1, both RMS and layer norms give the gain; they differ for
    a vector of ones.
    """
    head = subject.model.get_output_embeddings()
    if head is None or subject.headless or subject.d_model % 2:
        return None
    turns = torch.ones(subject.d_model, device=subject.device)
    turns[1::2] = -1
    ones = torch.ones_like(turns)
    entering = torch.stack([turns, -turns, ones, -ones])[None]
    seen: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _module, args: seen.append(args[0].detach().float()))
    try:
        last = f"resid_post.{subject.n_layers - 1}"
        subject.losses(torch.arange(1, 5)[None], reads=last, edit=lambda _value: entering)
    finally:
        hook.remove()
    return _linear_part(seen[0], turns) if seen and seen[0].shape[-1] == subject.d_model else None


def _linear_part(out: Tensor, turns: Tensor) -> FinalNorm | None:
    if out.numel() != 4 * len(turns):
        return None
    first, second, third, fourth = out.reshape(4, -1)
    gain, ones = turns * (first - second) / 2, (third - fourth) / 2
    return FinalNorm(gain, bool(ones.abs().max() < 0.01 * gain.abs().max()))


def neuron_directions(subject: Subject, hook_point: str) -> Tensor:
    """What each neuron at `mlp_act.L` adds to the residual stream, (neurons, d_model), a view where it can be.

    A norm behind the MLP (Gemma 2 and 3, OLMo 2) is folded in by its gain. Raises `SubjectError` as `Subject.width` does.
    """
    _, layer = parse(hook_point)
    block = subject.blocks[layer]
    projection: Any = down_projection(block, hook_point)
    weight: Tensor = projection.weight.detach()
    rows = weight.T if isinstance(getattr(projection, "in_features", None), int) else weight  # else GPT-2's Conv1D
    behind = find_site(block, f"mlp_out.{layer}").module
    return rows if behind is projection else rows * _gain(behind, rows)


def _gain(norm: nn.Module, rows: Tensor) -> Tensor:
    turns = torch.ones(rows.shape[1], device=rows.device, dtype=rows.dtype)
    turns[1::2] = -1
    gain: Tensor = turns * (norm(turns[None, None]) - norm(-turns[None, None]))[0, 0] / 2
    return gain


def _written(subject: Subject, dictionary: Dictionary, units: Sequence[UnitKey]) -> Iterator[tuple[str, Tensor]]:
    """Each kind among the units, and what all of that kind write, a row each."""
    kinds = {unit.kind for unit in units}
    if "feature" in kinds:
        yield "feature", dictionary.W_dec
    if "neuron" in kinds:
        yield "neuron", neuron_directions(subject, subject.neuron_hook_point(dictionary.hook_point))


def _places(units: Sequence[UnitKey], signed: bool) -> Tensor:
    """The units' numbers among the candidates; a neuron is two, its positive sign first."""
    return torch.tensor([2 * u.index + (u.sign == "-") if signed else u.index for u in units])


def _directions(rows: Tensor, units: Sequence[UnitKey]) -> Tensor:
    """The units' own directions, float32."""
    index = torch.tensor([unit.index for unit in units], device=rows.device)
    sign = torch.tensor([-1.0 if unit.sign == "-" else 1.0 for unit in units], device=rows.device)
    return rows.index_select(0, index).float() * sign[:, None]


def _in_stream(subject: Subject, dictionary: Dictionary, kind: str, directions: Tensor) -> Tensor | None:
    """Directions of the residual stream, given those at a kind's own hook point."""
    if kind == "neuron":
        return directions
    where = dictionary.hook_point_out or dictionary.hook_point
    if dictionary.reconstructs and parse(where)[0] in _ADDED:
        return directions
    if dictionary.reconstructs and parse(where)[0] == "mlp_act":
        return directions @ neuron_directions(subject, where).float()
    return None


def _nearest(rows: Tensor, places: Tensor, n: int, signed: bool, device: torch.device) -> list[list[int]]:
    """For each of `places` the `n` candidates of largest cosine above 0, itself left out: rows, or both signs of each.

    Rows and queries are looked at in pieces, so that nothing grows with their product.
    """
    found: list[list[int]] = []
    each = 2 if signed else 1
    for mine in torch.split(places, 1024):
        sign = 1.0 - 2.0 * (mine % 2) if signed else torch.ones(len(mine))
        queries = (
            _unit_length(rows.index_select(0, (mine // each).to(rows.device)).to(device)) * sign.to(device)[:, None]
        )
        best, which = torch.full((len(mine), n), -1.0, device=device), torch.zeros((len(mine), n), dtype=torch.int64)
        which = which.to(device)
        start = 0
        for piece in torch.split(rows, max(1, _ELEMENTS // max(each * len(mine), rows.shape[1]))):
            cosines = queries @ _unit_length(piece.to(device)).T
            if signed:
                cosines = torch.stack([cosines, -cosines], dim=2).flatten(1)
            numbers = torch.arange(each * start, each * (start + len(piece)), device=device)
            cosines[mine.to(device)[:, None] == numbers[None]] = -1.0
            start += len(piece)
            best, place = torch.cat([best, cosines], dim=1).topk(n, dim=1)
            which = torch.cat([which, numbers.expand(len(mine), -1)], dim=1).gather(1, place)
        found += [
            [c for c, value in zip(row, values, strict=True) if value > 1e-6]
            for row, values in zip(which.tolist(), best.tolist(), strict=True)
        ]
    return found


def _unit_length(rows: Tensor) -> Tensor:
    return nn.functional.normalize(rows.float(), dim=1)


def _effects(subject: Subject, head: Any, directions: Tensor, n: int) -> Iterator[LogitEffects]:
    weight: Tensor = head.weight.detach()
    known = min(len(subject.tokenizer), len(weight))
    usable = torch.ones(known, dtype=torch.bool, device=weight.device)
    usable[[i for i in sorted(subject.special_ids) if i < known]] = False
    for part in torch.split(directions, max(1, _ELEMENTS // len(weight))):
        logits = (
            part @ weight.float().T if weight.dtype == torch.float32 else (part.to(weight.dtype) @ weight.T).float()
        )
        logits = (logits - logits.mean(dim=1, keepdim=True))[:, :known]
        for row in logits:
            yield LogitEffects(*(_tokens(subject, sign * row, usable, n) for sign in (1, -1)))


def _tokens(subject: Subject, effect: Tensor, usable: Tensor, n: int) -> tuple[str, ...]:
    """The `n` tokens of largest positive effect that are text by themselves."""
    values, ids = effect.masked_fill(~usable, -torch.inf).topk(min(4 * n, len(effect)))
    texts = (
        token_texts(subject.tokenizer, [i])[0] for i, v in zip(ids.tolist(), values.tolist(), strict=True) if v > 0
    )
    return tuple([text for text in texts if text and REPLACEMENT not in text][:n])
