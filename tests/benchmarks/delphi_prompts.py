"""delphi's side of `tokens.py`, run where delphi can be imported: the messages that it sends for given units, by its own code.

Reads a JSON file: units with `train`, `test` and `quiet` windows (tokens, activations) and an explanation. Prints for each the
messages of explanation, detection and fuzzing.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import torch
from writing import absent, without_init

absent(
    *("blobfile", "orjson", "jaxtyping", "plotly", "plotly.express", "plotly.graph_objects", "sklearn"),
    *("sklearn.metrics", "aiofiles"),
)
without_init("delphi", "latents", "clients", "scorers", "explainers", "log")

import delphi  # noqa: E402

delphi.logger = logging.getLogger("delphi")

from delphi.latents import latents  # noqa: E402

for name in ("LatentRecord", "ActivatingExample", "NonActivatingExample"):
    setattr(sys.modules["delphi.latents"], name, getattr(latents, name))

from delphi.explainers.default.default import DefaultExplainer  # noqa: E402
from delphi.scorers.classifier.detection import DetectionScorer  # noqa: E402
from delphi.scorers.classifier.fuzz import FuzzingScorer  # noqa: E402

PER_PROMPT = 5
"""The command line's default."""


def messages(unit: dict[str, Any]) -> dict[str, Any]:
    train, test = ([_active(window) for window in unit[name]] for name in ("train", "test"))
    quiet = [_example(latents.NonActivatingExample, window) for window in unit["quiet"]]
    record = latents.LatentRecord(
        latents.Latent("m", 0), not_active=quiet, train=train, test=test, explanation=unit["explanation"]
    )
    found: dict[str, Any] = {"explanation": [DefaultExplainer(None, threshold=0.3)._build_prompt(train)]}
    for kind in (DetectionScorer, FuzzingScorer):
        scorer = kind(None, n_examples_shown=PER_PROMPT)
        samples = scorer._prepare(record)
        scorer.rng.shuffle(samples)
        found[kind.name] = [scorer._build_prompt(unit["explanation"], batch) for batch in scorer._batch(samples)]
    return found


def _active(window: dict[str, Any]) -> Any:
    example = _example(latents.ActivatingExample, window)
    example.normalized_activations = (example.activations / example.activations.max() * 10).ceil()
    return example


def _example(kind: Any, window: dict[str, Any]) -> Any:
    activations = torch.tensor(window["activations"])
    return kind(tokens=torch.zeros(len(activations)), activations=activations, str_tokens=window["tokens"])


print(json.dumps([messages(unit) for unit in json.loads(Path(sys.argv[1]).read_text())]))
