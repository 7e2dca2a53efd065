"""Checks of `gpu_check.py` that compare the device with the CPU: exemplars, encoders, steering, studies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from gpu_world import Found, Tables, World, exemplars, subject

from sae.analysis.dictionary_studies import study
from sae.analysis.fit_check import check_fit
from sae.analysis.steering import continue_texts
from sae.harvest.encoder import FeatureEncoder
from sae.harvest.units import UnitKey

KINDS = ("topk", "jumprelu", "batchtopk")
STEERED_TOKENS = 12


def check_harvest(world: World) -> Iterator[Found]:
    on_device = subject(world.size, world.device)
    for kind in KINDS:
        figures = difference(world.expected(kind), exemplars(world, on_device, world.dictionary(kind)))
        passed = (
            figures["exemplars in common"] >= 0.98
            and figures["largest difference of activations / maximum"] <= 1e-3
            and figures["difference of event counts"] <= 1e-3
        )
        yield f"harvest float32 {kind}", passed, dict(figures)
    halved = subject(world.size, world.device, "bfloat16")
    for kind in ("topk", "jumprelu"):
        figures = difference(world.expected(kind), exemplars(world, halved, world.dictionary(kind)))
        passed = (
            figures["exemplars in common"] >= 0.5
            and figures["median difference of activations / maximum"] <= 0.02
            and figures["difference of event counts"] <= 0.05
        )
        yield f"harvest bfloat16 against float32 {kind}", passed, dict(figures)


def difference(expected: Tables, actual: Tables) -> dict[str, float]:
    """How far two harvests of the same units are apart."""
    units, others = expected[0].set_index("unit_id"), actual[0].set_index("unit_id").loc[expected[0]["unit_id"]]
    keys = ["unit_id", "role", "exemplar_id"]
    rows = expected[1][[*keys, "activation"]].merge(actual[1][[*keys, "activation"]], on=keys, suffixes=("", "_other"))
    scale = units["max_activation"].clip(lower=1e-12)
    apart = (rows["activation"] - rows["activation_other"]).abs() / scale.loc[rows["unit_id"]].to_numpy()
    return {
        "exemplars": float(len(expected[1])),
        "exemplars in common": len(rows) / max(1, len(expected[1]), len(actual[1])),
        "median difference of activations / maximum": float(apart.median()),
        "largest difference of activations / maximum": float(apart.max()),
        "largest difference of maxima": float(
            ((units["max_activation"] - others["max_activation"]).abs() / scale).max()
        ),
        "difference of event counts": float(
            (units["n_events"] - others["n_events"]).abs().sum() / max(1, units["n_events"].sum())
        ),
    }


def check_encoders(world: World) -> Iterator[Found]:
    at = world.size.hook_point
    tokens = torch.as_tensor(world.text.batch(np.arange(8))[0])
    x = world.reference.run(tokens, [at])[at].flatten(0, 1)
    for kind in ("relu", "groupmax", *KINDS):
        read = world.dictionary(kind)
        expected = read.activations(x)
        numbers = torch.arange(read.d_sae, device=world.device)
        encoder = FeatureEncoder(read, range(read.d_sae), numbers)
        actual = torch.zeros(read.d_sae, len(x), device=world.device)
        counted = torch.ones(len(x), dtype=torch.bool, device=world.device)
        for make in encoder.blocks(x.to(world.device), counted):
            block = make()
            unit, column, value = block.events_above(torch.zeros(len(block.units), device=world.device))
            actual[block.units[unit], column] = value
        close = torch.isclose(actual.T.cpu(), expected, rtol=1e-3, atol=1e-4 * float(expected.max()))
        figures = {
            "active per token": float((expected > 0).sum(dim=1).float().mean()),
            "equal": float(close.float().mean()),
        }
        yield f"encoder {kind}", figures["equal"] >= 0.999 and figures["active per token"] > 0, dict(figures)


def check_steering(world: World) -> Iterator[Found]:
    on_device = subject(world.size, world.device)
    texts = [" ".join(f"w{(7 * i + 3 * j) % world.size.vocabulary}" for j in range(5 + i % 3)) for i in range(16)]
    for kind, unit in (
        ("jumprelu", UnitKey("feature", 3, "")),
        ("topk", UnitKey("feature", 3, "")),
        ("jumprelu", UnitKey("neuron", 3, "+")),
    ):
        read, said = world.dictionary(kind), []
        for of, factor in ((world.reference, 2.0), (on_device, 2.0), (on_device, 0.0)):
            said.append(continue_texts(of, read, unit, texts, factor, STEERED_TOKENS, None, largest=5.0))
        expected, actual, silenced = said
        figures = {"texts equal": share(expected, actual), "texts equal to factor 0": share(actual, silenced)}
        passed = figures["texts equal"] >= 0.9 and figures["texts equal to factor 0"] < 1
        yield f"steering {unit.kind}, {kind}", passed, dict(figures)


def share(first: list[str], second: list[str]) -> float:
    return sum(a == b for a, b in zip(first, second, strict=True)) / len(first)


def check_studies(world: World) -> Iterator[Found]:
    on_device = subject(world.size, world.device)
    for kind in ("jumprelu", "topk"):
        read, tokens = world.dictionary(kind), min(32_768, world.size.tokens // 2)
        fits, studies = [], []
        for of in (world.reference, on_device):
            fits.append(check_fit(of, read, world.text, tokens=tokens))
            studies.append(study(
                of, read, world.text, tokens=tokens, features=range(min(256, read.d_sae)), seed=0, skip_positions=1,
                norm_limit=1e9,
            ))  # fmt: skip
        apart = [
            numbers_apart(*(fit_numbers(fit) for fit in fits)),
            numbers_apart(*(study_numbers(each) for each in studies)),
        ]
        figures = {"variance explained": fits[1].variance_explained or 0.0, "fit": apart[0], "studies": apart[1]}
        yield f"studies {kind}", max(apart) <= 0.01, dict(figures)


def fit_numbers(fit: Any) -> list[float]:
    loss = fit.loss
    return [
        fit.l0,
        fit.variance_explained,
        fit.dead_fraction,
        fit.norm_ratio,
        fit.cosine,
        *([] if loss is None else list(loss)),
    ]


def study_numbers(found: dict[str, Any]) -> list[float]:
    signed, rows = found["correlation"]["signed"], found["correlation"]["best"]
    r = [row["r"] for row in rows if row["r"] == row["r"]]
    return [
        found["l0"]["mean"],
        found["density"]["dead_share"],
        found["density"]["median"],
        signed["median"],
        *found["rounding"]["variance_explained"],
        float(np.mean(r)),
    ]


def numbers_apart(expected: list[float], actual: list[float]) -> float:
    """The largest difference, relative for numbers above 1."""
    return max(abs(a - b) / max(1.0, abs(a)) for a, b in zip(expected, actual, strict=True))
