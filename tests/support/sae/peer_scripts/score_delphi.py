"""delphi's detection with given windows and answers, its fuzzing texts, and its figures: a list with an entry per file."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
from pathlib import Path

import torch
from writing import absent, without_init

absent(
    "blobfile", "orjson", "jaxtyping", "plotly", "plotly.express", "plotly.graph_objects", "sklearn", "sklearn.metrics"
)
without_init("delphi", "latents", "clients", "scorers", "log")

import delphi  # noqa: E402

delphi.logger = logging.getLogger("delphi")

from delphi.latents import latents  # noqa: E402

for name in ("LatentRecord", "ActivatingExample", "NonActivatingExample"):
    setattr(sys.modules["delphi.latents"], name, getattr(latents, name))

import pandas as pd  # noqa: E402
from delphi.clients.client import Response  # noqa: E402
from delphi.log.result_analysis import compute_classification_metrics, compute_confusion  # noqa: E402
from delphi.scorers.classifier.detection import DetectionScorer  # noqa: E402
from delphi.scorers.classifier.sample import examples_to_samples  # noqa: E402


class Client:
    """Answers about every text of a prompt as given in `said`."""

    def __init__(self, said: dict[str, bool]) -> None:
        self.said = said

    async def generate(self, prompt: list[dict[str, str]], **_: object) -> Response:
        texts = re.findall(r"^Example \d+: ?(.*)$", prompt[-1]["content"], re.MULTILINE)
        return Response(text=str([int(self.said[text if text in self.said else f" {text}"]) for text in texts]))


def figures(truth: list[bool], said: list[bool | None]) -> dict[str, float]:
    confusion = compute_confusion(pd.DataFrame({"activating": truth, "prediction": said}))
    return {k: float(v) for k, v in (confusion | compute_classification_metrics(confusion)).items()}


def main(given: dict[str, object]) -> dict[str, object]:
    examples = [
        (latents.ActivatingExample if row["active"] else latents.NonActivatingExample)(
            tokens=torch.zeros(len(row["tokens"])),
            activations=torch.tensor(row["activations"]),
            str_tokens=row["tokens"],
        )
        for row in given.get("examples", [])
    ]
    active = [e for e in examples if isinstance(e, latents.ActivatingExample)]
    silent = [e for e in examples if isinstance(e, latents.NonActivatingExample)]
    found: dict[str, object] = {}
    if "said" in given:
        scorer = DetectionScorer(Client(given["said"]), n_examples_shown=5)
        record = latents.LatentRecord(latents.Latent("m", 0), not_active=silent, test=active, explanation="planted")
        answers = asyncio.run(scorer(record)).score
        found["detection"] = figures([a.activating for a in answers], [a.prediction for a in answers])
    found["marked"] = [sample.text for sample in examples_to_samples(active, highlighted=True)]
    found["answers"] = [figures(truth, said) for truth, said in given.get("answers", [])]
    return found


print(json.dumps([main(json.loads(Path(path).read_text())) for path in sys.argv[1:]]))
