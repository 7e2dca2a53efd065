"""SAEDashboard's side of `index_peers.py`, run in SAEDashboard's own environment: exports features as its runner for Neuronpedia does.

A line `first last` on standard input, of feature numbers, is answered by a line of JSON. The settings are those of `NeuronpediaRunnerConfig`: 128
features a batch, the first of which runs the model and keeps its activations on disk for the others. The runner itself reads a data set from
the hub; the loop here calls the functions that it calls, on given tokens.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from sae_dashboard.components_config import (  # type: ignore[import-not-found]
    ActsHistogramConfig,
    Column,
    FeatureTablesConfig,
    LogitsHistogramConfig,
    LogitsTableConfig,
    SequencesConfig,
)
from sae_dashboard.layout import SaeVisLayoutConfig  # type: ignore[import-not-found]
from sae_dashboard.neuronpedia.neuronpedia_converter import NeuronpediaConverter  # type: ignore[import-not-found]
from sae_dashboard.neuronpedia.neuronpedia_runner import NeuronpediaRunner  # type: ignore[import-not-found]
from sae_dashboard.neuronpedia.neuronpedia_runner_config import (  # type: ignore[import-not-found]
    NeuronpediaRunnerConfig,
)
from sae_dashboard.sae_vis_data import SaeVisConfig  # type: ignore[import-not-found]
from sae_dashboard.sae_vis_runner import SaeVisRunner  # type: ignore[import-not-found]
from sae_lens import SAE, HookedSAETransformer  # type: ignore[import-not-found]
from transformer_lens import loading_from_pretrained as loading  # type: ignore[import-not-found]
from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(int(sys.argv[2]))
    model = load(folder / "model")
    sae = SAE.load_from_disk(str(folder / "saelens"), device="cpu")
    sae.fold_W_dec_norm()
    tokens = torch.from_numpy(np.load(folder / "tokens.npy").astype(np.int64))
    settings = NeuronpediaRunnerConfig(
        sae_set="benchmark", sae_path=str(folder / "saelens"), outputs_dir="", model_id="model", layer=0,
        n_prompts_total=len(tokens), n_tokens_in_prompt=tokens.shape[1],
    )  # fmt: skip
    vocabulary = NeuronpediaRunner.get_vocab_dict(SimpleNamespace(model=model))
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        first, last = map(int, line.split())
        with tempfile.TemporaryDirectory() as name:
            started, cpu = time.perf_counter(), time.process_time()
            maxima = export(Path(name), range(first, last), model, sae, tokens, settings, vocabulary)
            answer: dict[str, Any] = {
                "seconds": time.perf_counter() - started,
                "cpu_seconds": time.process_time() - cpu,
                "disk_bytes": sum(path.stat().st_size for path in Path(name).glob("batch-*.json")),
                "maxima": maxima,
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        print(json.dumps(answer), flush=True)


def load(folder: Path) -> Any:
    """The model, as `HookedSAETransformer.from_pretrained` loads it. That function itself accepts names of the hub alone."""
    weights = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32)
    config = loading.get_pretrained_model_config(str(folder), device="cpu", dtype=torch.float32, fold_ln=True)
    config.rotary_base = weights.config.rope_theta  # TransformerLens 2 assumes 10,000 for a Llama that it does not know
    model = HookedSAETransformer(config, AutoTokenizer.from_pretrained(folder), move_to_device=False)
    model.load_and_process_state_dict(
        loading.get_pretrained_state_dict(str(folder), config, weights, dtype=torch.float32)
    )
    return model


def export(
    folder: Path,
    features: range,
    model: Any,
    sae: Any,
    tokens: torch.Tensor,
    settings: Any,
    vocabulary: dict[int, str],
) -> list[float]:
    """Write the batches of some features, and return the largest activation of each."""
    maxima: list[float] = []
    size = settings.n_features_at_a_time
    for number, start in enumerate(range(features.start, features.stop, size)):
        chosen = list(range(start, min(start + size, features.stop)))
        with torch.no_grad():
            data = SaeVisRunner(_config(folder / "activations", chosen, sae, settings)).run(
                encoder=sae, model=model, tokens=tokens
            )
        written = NeuronpediaConverter.convert_to_np_json(model, data, settings, vocabulary)
        (folder / f"batch-{number}.json").write_text(written)
        for feature in json.loads(written)["features"]:
            maxima.append(max((max(shown["values"]) for shown in feature["activations"]), default=0.0))
    return maxima


def _config(cache: Path, features: list[int], sae: Any, settings: Any) -> Any:
    """The configuration that SAEDashboard's runner makes of its settings. The first token of a context is left out, as in our index."""
    sequences = SequencesConfig(
        stack_mode="stack-all", buffer=None, compute_buffer=True, n_quantiles=settings.n_quantiles,
        top_acts_group_size=settings.top_acts_group_size, quantile_group_size=settings.quantile_group_size,
    )  # fmt: skip
    parts = (
        sequences,
        ActsHistogramConfig(),
        LogitsHistogramConfig(),
        LogitsTableConfig(),
        FeatureTablesConfig(n_rows=3),
    )
    return SaeVisConfig(
        hook_point=sae.cfg.metadata.hook_name, features=features, minibatch_size_features=settings.n_features_at_a_time,
        minibatch_size_tokens=settings.n_prompts_in_forward_pass, quantile_feature_batch_size=settings.quantile_feature_batch_size,
        feature_centric_layout=SaeVisLayoutConfig(columns=[Column(*parts)]), device="cpu", dtype="float32", verbose=False,
        cache_dir=cache, ignore_positions=[0],
    )  # fmt: skip


if __name__ == "__main__":
    main()
