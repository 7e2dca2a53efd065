"""What one prompt becomes under every factor and arm: a table of continuations, damage and risen tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd
from torch import Tensor

from autointerp.studies.steering.units import SteeredUnit
from autointerp.studies.workbench import Workbench
from sae.studies.concept_directions import ConceptDirections, concept_directions
from sae.studies.intervention import Intervention, Row, intervene, random_directions
from sae.studies.steered_texts import continuations, encode_prompt, losses, risen_tokens
from sae.subject.token_text import token_texts

UNSTEERED, STEERED, RANDOM, FEW_SHOT, PROBE = "unsteered", "steered", "random", "few-shot", "probe"
RISEN = 10
"""Risen tokens that are kept for each row."""


@dataclass(frozen=True)
class Manner:
    """How prompts are read and continued."""

    tokens: int
    seed: int | None
    """Seed of the continuations; None takes the most likely token."""
    chat: bool = False


@dataclass(frozen=True)
class Arms:
    """The intervention with its baselines: the arms' names, the units' first, and what is known of the probe."""

    intervention: Intervention
    names: tuple[str, ...]
    concept: ConceptDirections | None = None


def make_arms(
    bench: Workbench,
    units: Sequence[SteeredUnit],
    *,
    added: bool,
    seed: int,
    positive: Sequence[str] = (),
    negative: Sequence[str] = (),
) -> Arms:
    """The intervention that sets `units`, a random direction beside it, and the directions of two sets of texts if they are given."""
    intervention = intervene(bench.subject, [each.target for each in units], added=added)
    directions: dict[str, Mapping[str, Tensor]] = {RANDOM: random_directions(intervention, seed)}
    concept = None
    if positive or negative:
        concept = concept_directions(bench.subject, intervention.writes, positive, negative)
        directions |= {FEW_SHOT: concept.difference, PROBE: concept.probe}
    return Arms(replace(intervention, directions=directions), (STEERED, *directions), concept)


def prompt_ids(bench: Workbench, prompt: str, manner: Manner, units: Sequence[SteeredUnit]) -> tuple[int, ...]:
    """The ids of a prompt. Raises `SubjectError` as `encode_prompt`, and if it has no such position as a unit names."""
    ids = encode_prompt(bench.subject, prompt, manner.tokens, chat=manner.chat)
    for unit in units:
        unit.positions.check(len(ids))
    return ids


def measure_prompt(
    bench: Workbench, arms: Arms, prompt: str, ids: tuple[int, ...], factors: Sequence[float], manner: Manner
) -> pd.DataFrame:
    """One row per arm and factor, the unsteered continuation first.

    `loss` is the sum over the `n_tokens` tokens of the unsteered continuation, in nats, of their cross-entropy under the row's
    intervention. `risen` is JSON: lists of token, probability before, probability after, change of the log-probability.
    """
    subject, intervention = bench.subject, arms.intervention
    plain = Row(ids, len(ids))
    rows = [plain] + [Row(ids, len(ids), f, "" if arm == STEERED else arm) for arm in arms.names for f in factors]
    added = continuations(subject, intervention, rows, manner.tokens, manner.seed, ends=manner.chat)
    texts = ["".join(token_texts(subject.tokenizer, new)) for new in added]
    unsteered = tuple(added[0])
    if unsteered:
        damage = [
            float(row.sum())
            for row in losses(subject, intervention, [replace(row, ids=ids + unsteered) for row in rows])
        ]
    else:
        damage = [0.0] * len(rows)
    risen = risen_tokens(subject, intervention, rows[1:], RISEN)
    return pd.DataFrame(
        {
            "prompt": prompt,
            "arm": [UNSTEERED, *(arm for arm in arms.names for _ in factors)],
            "factor": pd.Series([None, *(f for _ in arms.names for f in factors)], dtype="float64"),
            "continuation": texts,
            "n_tokens": len(unsteered),
            "loss": damage,
            "risen": ["[]", *(_json(tokens) for tokens in risen)],
        }
    )


def _json(risen: Sequence[object]) -> str:
    return json.dumps([[t.token, t.before, t.after, t.change] for t in risen], ensure_ascii=False)  # type: ignore[attr-defined]
