"""neuron-explainer's scores of given simulations: all tokens of a unit's windows together."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from writing import absent

absent("blobfile", "boostedblob", "tiktoken", "httpx", "orjson", "sklearn")
os.environ["OPENAI_API_KEY"] = "none: the import asks for one"

from neuron_explainer.explanations.explanations import (  # noqa: E402
    ActivationScale,
    ScoredSequenceSimulation,
    SequenceSimulation,
)
from neuron_explainer.explanations.scoring import aggregate_scored_sequence_simulations  # noqa: E402


def score(windows: list[tuple[list[float], list[float]]]) -> list[float]:
    scored = [
        ScoredSequenceSimulation(
            simulation=SequenceSimulation(
                tokens=["x"] * len(truth),
                expected_activations=predicted,
                activation_scale=ActivationScale.SIMULATED_NORMALIZED_ACTIVATIONS,
                distribution_values=[],
                distribution_probabilities=[],
            ),
            true_activations=truth,
            ev_correlation_score=0.0,
        )
        for truth, predicted in windows
    ]
    found = aggregate_scored_sequence_simulations(scored)
    return [float(found.ev_correlation_score), found.rsquared_score, found.absolute_dev_explained_score]


print(json.dumps([score(windows) for windows in json.loads(Path(sys.argv[1]).read_text())]))
