"""Directions that units write to the residual stream: their nearest neighbours, and the tokens that they make more likely.

A feature's direction is its decoder row, a neuron's the column of its down projection times its sign. The direct effect of a direction
on the logits, past all later blocks, is read off the unembedding: "direct logit attribution", used for features in *Towards
Monosemanticity* (Bricken et al. 2023), after nostalgebraist's logit lens (2020). The final norm is folded in as by Elhage et al.
(2021): its gain, and its centring if it centres. Its scale, one number per token, is left out, and so is the mean over the
vocabulary, which changes no probability.
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
"""Cosines or logits in memory at once."""
_IN_STREAM = ("embed", "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
"""Hook points of the residual stream, and of values that are added to it unchanged."""
_ABOVE_0 = 1e-6
"""Smaller cosines are 0 but for rounding."""
_SIGNS = "+-"


@dataclass(frozen=True)
class LogitEffects:
    """The tokens whose logits a direction raises and lowers most, the largest effect first."""

    raised: tuple[str, ...]
    lowered: tuple[str, ...]


@torch.no_grad()
def nearest(subject: Subject, dictionary: Dictionary, units: Sequence[UnitKey], n: int) -> list[list[UnitKey]]:
    """For each unit, the `n` others of its kind with the most similar directions, in the whole dictionary or layer.

    Nearest first, by cosine, and only those with a cosine above 0. Both signs of a neuron are candidates.
    """
    neighbours: list[list[UnitKey]] = [[] for _ in units]
    for kind, rows in _directions_by_kind(subject, dictionary, units):
        of_kind = [number for number, unit in enumerate(units) if unit.kind == kind]
        signed = kind == "neuron"
        queries = candidate_numbers([units[i] for i in of_kind])
        for number, near in zip(of_kind, _nearest(rows, queries, n, signed, subject.device), strict=True):
            neighbours[number] = [unit_of(kind, c) for c in near]
    return neighbours


@torch.no_grad()
def nearest_within(subject: Subject, dictionary: Dictionary, units: Sequence[UnitKey], n: int) -> list[list[UnitKey]]:
    """As `nearest`, but among `units` only."""
    neighbours: list[list[UnitKey]] = [[] for _ in units]
    for kind, rows in _directions_by_kind(subject, dictionary, units):
        of_kind = [number for number, unit in enumerate(units) if unit.kind == kind]
        directions = _directions(rows, [units[i] for i in of_kind])
        nearest_rows = _nearest(directions, torch.arange(len(of_kind)), n, False, subject.device)
        for number, near in zip(of_kind, nearest_rows, strict=True):
            neighbours[number] = [units[of_kind[c]] for c in near]
    return neighbours


@torch.no_grad()
def cosines(
    subject: Subject, dictionary: Dictionary, units: Sequence[UnitKey], others: Sequence[Sequence[UnitKey]]
) -> list[list[float]]:
    """The cosine of each unit's direction with those of its `others`, which are of its kind."""
    found: list[list[float]] = [[] for _ in units]
    for kind, rows in _directions_by_kind(subject, dictionary, units):
        for number, unit in enumerate(units):
            if unit.kind == kind and others[number]:
                own, *beside = _unit_length(_directions(rows, [unit, *others[number]]))
                found[number] = (torch.stack(beside) @ own).tolist()
    return found


@torch.no_grad()
def logit_effects(
    subject: Subject, dictionary: Dictionary, units: Sequence[UnitKey], n: int
) -> list[LogitEffects | None]:
    """For each unit, the `n` tokens that its direction raises most by itself, and the `n` that it lowers most; None if undefined.

    Undefined are effects without an output head, at a hook point outside the residual stream, and of features that write to
    several layers. Special tokens are left out, and so are tokens that are not valid text by themselves.
    """
    results: list[LogitEffects | None] = [None] * len(units)
    lens = LogitLens.of(subject, dictionary)
    if lens is None:
        return results
    for kind in {unit.kind: None for unit in units}:
        of_kind = [number for number, unit in enumerate(units) if unit.kind == kind]
        directions = stream_directions(subject, dictionary, [units[i] for i in of_kind])
        if directions is not None:
            for number, effects in zip(of_kind, _effects(lens, directions, n), strict=True):
                results[number] = effects
    return results


def stream_directions(subject: Subject, dictionary: Dictionary, units: Sequence[UnitKey]) -> Tensor | None:
    """The directions (n, d_model) in the residual stream of units of one kind, on the subject's device; None if undefined."""
    [(kind, rows)] = _directions_by_kind(subject, dictionary, units)
    return _to_stream(subject, dictionary, kind, _directions(rows, units).to(subject.device))


@dataclass(frozen=True)
class LogitLens:
    """The direct effect of directions on the logits, through the final norm and the output head."""

    subject: Subject
    dictionary: Dictionary
    norm: FinalNorm
    weight: Tensor

    @classmethod
    def of(cls, subject: Subject, dictionary: Dictionary) -> LogitLens | None:
        """The subject's logit lens; None without an output head or a norm before it."""
        head, norm = subject.model.get_output_embeddings(), final_norm(subject)
        return None if head is None or norm is None else cls(subject, dictionary, norm, head.weight.detach())

    def effects(self, kind: str, directions: Tensor) -> Tensor | None:
        """Effects (n, vocabulary) of directions (n, width) at the hook point at which units of a kind are clamped; None if undefined."""
        if kind == "neuron":
            columns = neuron_directions(self.subject, self.subject.neuron_hook_point(self.dictionary.hook_point))
            return self.of_stream(directions @ columns.float())
        in_stream = _to_stream(self.subject, self.dictionary, kind, directions)
        return None if in_stream is None else self.of_stream(in_stream)

    def of_stream(self, directions: Tensor) -> Tensor:
        """Effects (n, vocabulary) of directions (n, d_model) in the residual stream, float32, without their mean over the vocabulary."""
        normed, weight = self.norm(directions), self.weight
        exact = weight.dtype == torch.float32
        logits = normed @ weight.float().T if exact else (normed.to(weight.dtype) @ weight.T).float()
        return logits - logits.mean(dim=1, keepdim=True)

    def usable(self) -> Tensor:
        """Mask of the vocabulary's tokens without the special ones. Logits beyond it belong to no token."""
        known = min(len(self.subject.tokenizer), len(self.weight))
        usable = torch.ones(known, dtype=torch.bool, device=self.weight.device)
        usable[[i for i in sorted(self.subject.special_ids) if i < known]] = False
        return usable


class FinalNorm:
    """The linear part of the norm between the last block and the output head, applied to directions (..., d_model)."""

    def __init__(self, gain: Tensor, centres: bool) -> None:
        self.gain, self.centres = gain, centres

    def __call__(self, directions: Tensor) -> Tensor:
        centred = directions - directions.mean(dim=-1, keepdim=True) if self.centres else directions
        return centred * self.gain


@torch.no_grad()
def final_norm(subject: Subject) -> FinalNorm | None:
    """The linear part of the subject's final norm, measured at its output, so that its class does not matter.

    None if the subject has no output head, or no norm of the model's width before it.
    """
    # A vector of +1 and -1 in turn has mean 0 and mean square 1: RMS norm and layer norm both multiply it by their gain, and adding
    # a bias cancels in half the difference of the vector and its negative. They differ for a vector of ones, which layer norm,
    # because it centres, maps to 0.
    head = subject.model.get_output_embeddings()
    if head is None or subject.headless or subject.d_model % 2:
        return None
    alternating = torch.ones(subject.d_model, device=subject.device)
    alternating[1::2] = -1
    ones = torch.ones_like(alternating)
    inputs = torch.stack([alternating, -alternating, ones, -ones])[None]
    outputs: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _module, args: outputs.append(args[0].detach().float()))
    try:
        last = f"resid_post.{subject.n_layers - 1}"
        subject.losses(torch.arange(1, 5)[None], reads=last, edit=lambda _value: inputs)
    finally:
        hook.remove()
    return _linear_part(outputs[0], alternating) if outputs and outputs[0].shape[-1] == subject.d_model else None


def _linear_part(outputs: Tensor, alternating: Tensor) -> FinalNorm | None:
    if outputs.numel() != 4 * len(alternating):
        return None
    first, second, third, fourth = outputs.reshape(4, -1)
    gain, ones = alternating * (first - second) / 2, (third - fourth) / 2
    return FinalNorm(gain, bool(ones.abs().max() < 0.01 * gain.abs().max()))


def neuron_directions(subject: Subject, hook_point: str) -> Tensor:
    """The directions that the neurons at `mlp_act.L` write to the residual stream, (neurons, d_model), a view if possible.

    A norm after the MLP (Gemma 2 and 3, OLMo 2) is folded in by its gain. Raises `SubjectError` as `Subject.width` does.
    """
    _, layer = parse(hook_point)
    block = subject.blocks[layer]
    projection: Any = down_projection(block, hook_point)
    weight: Tensor = projection.weight.detach()
    rows = weight.T if isinstance(getattr(projection, "in_features", None), int) else weight  # else GPT-2's Conv1D
    output = find_site(block, f"mlp_out.{layer}").module
    return rows if output is projection else rows * _gain(output, rows)


def _gain(norm: nn.Module, rows: Tensor) -> Tensor:
    """The gain of a norm (d_model,), by the same means as in `final_norm`."""
    alternating = torch.ones(rows.shape[1], device=rows.device, dtype=rows.dtype)
    alternating[1::2] = -1
    gain: Tensor = alternating * (norm(alternating[None, None]) - norm(-alternating[None, None]))[0, 0] / 2
    return gain


def _directions_by_kind(
    subject: Subject, dictionary: Dictionary, units: Sequence[UnitKey]
) -> Iterator[tuple[str, Tensor]]:
    """For each kind among the units, the directions of all units of that kind, one row each."""
    kinds = {unit.kind for unit in units}
    if "feature" in kinds:
        yield "feature", dictionary.W_dec
    if "neuron" in kinds:
        yield "neuron", neuron_directions(subject, subject.neuron_hook_point(dictionary.hook_point))


def candidate_numbers(units: Sequence[UnitKey]) -> Tensor:
    """The units' numbers among all candidates of their kind; a neuron is two candidates, its positive sign first."""
    return torch.tensor([2 * u.index + (u.sign == "-") if u.sign else u.index for u in units], dtype=torch.int64)


def unit_of(kind: str, candidate: int) -> UnitKey:
    """The unit of a kind with this number among the candidates."""
    return UnitKey(kind, candidate // 2, _SIGNS[candidate % 2]) if kind == "neuron" else UnitKey(kind, candidate, "")


def _directions(rows: Tensor, units: Sequence[UnitKey]) -> Tensor:
    """The units' own directions, float32."""
    index = torch.tensor([unit.index for unit in units], device=rows.device)
    sign = torch.tensor([-1.0 if unit.sign == "-" else 1.0 for unit in units], device=rows.device)
    return rows.index_select(0, index).float() * sign[:, None]


def _to_stream(subject: Subject, dictionary: Dictionary, kind: str, directions: Tensor) -> Tensor | None:
    """Directions in the residual stream, from those at the hook point that a kind writes to; None if they have none."""
    if kind == "neuron":
        return directions
    hook_point = dictionary.hook_point_out or dictionary.hook_point
    if dictionary.reconstructs and parse(hook_point)[0] in _IN_STREAM:
        return directions
    if dictionary.reconstructs and parse(hook_point)[0] == "mlp_act":
        return directions @ neuron_directions(subject, hook_point).float()
    return None


def _nearest(rows: Tensor, queries: Tensor, n: int, signed: bool, device: torch.device) -> list[list[int]]:
    """For each candidate number in `queries` (q,), the `n` other candidates of largest cosine above 0, nearest first.

    Candidates are the rows (m, d), or if `signed` both signs of each: candidate 2 i is row i, candidate 2 i + 1 its negative.
    Queries and rows are compared in chunks, so that memory does not grow with q times m.
    """
    neighbours: list[list[int]] = []
    per_row = 2 if signed else 1
    for part in torch.split(queries, 1024):
        sign = 1.0 - 2.0 * (part % 2) if signed else torch.ones(len(part))
        own = rows.index_select(0, (part // per_row).to(rows.device)).to(device)
        own = _unit_length(own) * sign.to(device)[:, None]
        largest, start = LargestCosines(part.to(device), n), 0
        for chunk in torch.split(rows, max(1, _ELEMENTS // max(per_row * len(part), rows.shape[1]))):
            cosines = own @ _unit_length(chunk.to(device)).T
            if signed:
                cosines = torch.stack([cosines, -cosines], dim=2).flatten(1)
            largest.add(start, cosines)
            start += per_row * len(chunk)
        neighbours += largest.numbers()
    return neighbours


class LargestCosines:
    """The `n` candidates of largest cosine with each of `queries` (q,), themselves numbers of candidates, that are added in chunks."""

    def __init__(self, queries: Tensor, n: int) -> None:
        self._queries, self._n = queries, n
        self._best = torch.full((len(queries), n), -1.0, device=queries.device)
        self._number = torch.zeros((len(queries), n), dtype=torch.int64, device=queries.device)

    def add(self, start: int, cosines: Tensor) -> None:
        """Add the cosines (q, c) of c candidates from number `start` on, and write over those of the queries with themselves."""
        place = self._queries - start
        here = (place >= 0) & (place < cosines.shape[1])
        cosines[here, place[here]] = -1.0  # no unit is its own neighbour
        largest, rank = cosines.topk(min(self._n, cosines.shape[1]), dim=1)
        self._best, kept = torch.cat([self._best, largest], dim=1).topk(self._n, dim=1)
        self._number = torch.cat([self._number, rank + start], dim=1).gather(1, kept)

    def numbers(self) -> list[list[int]]:
        """For each query the numbers of these candidates, nearest first, without those whose cosine is not above 0."""
        return [list(of_query) for of_query in self.by_number()]

    def table(self) -> tuple[Tensor, Tensor]:
        """Numbers (q, n), nearest first and -1 where no further cosine is above 0, and cosines (q, n)."""
        return self._number.where(self._best > _ABOVE_0, -1), self._best

    def by_number(self) -> list[dict[int, float]]:
        """As `numbers`, with the cosines."""
        return [
            {c: value for c, value in zip(row, values, strict=True) if value > _ABOVE_0}
            for row, values in zip(self._number.tolist(), self._best.tolist(), strict=True)
        ]


def _unit_length(rows: Tensor) -> Tensor:
    return nn.functional.normalize(rows.float(), dim=1)


def _effects(lens: LogitLens, directions: Tensor, n: int) -> Iterator[LogitEffects]:
    subject, weight = lens.subject, lens.weight
    usable = lens.usable()
    known = len(usable)
    for part in torch.split(directions, max(1, _ELEMENTS // len(weight))):
        for row in lens.of_stream(part)[:, :known]:
            yield LogitEffects(*(_tokens(subject, sign * row, usable, n) for sign in (1, -1)))


def _tokens(subject: Subject, effect: Tensor, usable: Tensor, n: int) -> tuple[str, ...]:
    """The `n` tokens of largest positive effect that are valid text by themselves."""
    values, ids = effect.masked_fill(~usable, -torch.inf).topk(min(4 * n, len(effect)))
    texts = (
        token_texts(subject.tokenizer, [i])[0] for i, v in zip(ids.tolist(), values.tolist(), strict=True) if v > 0
    )
    return tuple([text for text in texts if text and REPLACEMENT not in text][:n])
