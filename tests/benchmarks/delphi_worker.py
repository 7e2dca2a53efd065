"""delphi's side of `peers.py` and `index_peers.py`, run in delphi's own environment: caches the latents of stretches of contexts as they are asked for.

A line `latents first last` on standard input is answered by a line of JSON: seconds of caching, with and without writing it to disk, and
processor seconds; peak memory in MiB; bytes that the cache takes on disk; and the largest activation of each latent. What delphi imports and does not use here is stood in for.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
import types
from functools import partial
from pathlib import Path
from typing import Any

STAND_INS = {
    "sentence_transformers": ("SentenceTransformer",),
    "vllm": ("LLM", "SamplingParams"),
    "vllm.inputs": ("TokensPrompt",),
    "vllm.distributed": (),
    "vllm.distributed.parallel_state": ("destroy_distributed_environment", "destroy_model_parallel"),
}


def main() -> None:
    for name, held in STAND_INS.items():
        module = sys.modules[name] = types.ModuleType(name)
        for attribute in held:
            setattr(module, attribute, object)
    import numpy as np
    import torch
    from delphi.latents import LatentCache  # type: ignore[import-not-found]
    from delphi.sparse_coders.load_sparsify import sae_dense_latents  # type: ignore[import-not-found]
    from sparsify import SparseCoder  # type: ignore[import-not-found]
    from transformers import AutoModel

    folder, batch = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(int(sys.argv[3]))
    model = AutoModel.from_pretrained(folder / "model", dtype=torch.float32)
    tokens = torch.from_numpy(np.load(folder / "tokens.npy")).long()
    coders: dict[str, Any] = {}
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        width, first, last = line.split()
        [place] = (folder / width).iterdir()
        if width not in coders:
            coders = {width: SparseCoder.load_from_disk(place, device="cpu")}
        encode = {place.name: partial(sae_dense_latents, sae=coders[width])}
        cache = LatentCache(model, encode, batch_size=batch)
        stretch = tokens[int(first) : int(last)]
        started, cpu = time.perf_counter(), time.process_time()
        cache.run(stretch.numel(), stretch)
        caching = time.perf_counter() - started
        with tempfile.TemporaryDirectory() as saved:
            cache.save_splits(n_splits=5, save_dir=Path(saved))
            answer: dict[str, Any] = {
                "caching_seconds": caching,
                "seconds": time.perf_counter() - started,
                "cpu_seconds": time.process_time() - cpu,
                "disk_bytes": sum(path.stat().st_size for path in Path(saved).rglob("*") if path.is_file()),
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        answer["maxima"] = maxima(cache, place.name, int(width))
        print(json.dumps(answer), flush=True)


def maxima(cache: Any, hook_point: str, latents: int) -> list[float]:
    """The largest cached activation of each latent after the first token of a context, which our index leaves out."""
    import torch

    places, values = cache.cache.latent_locations[hook_point], cache.cache.latent_activations[hook_point]
    counted = places[:, 1] > 0
    found = torch.zeros(latents).scatter_reduce(0, places[counted, 2].long(), values[counted].float(), "amax")
    return [float(value) for value in found]


if __name__ == "__main__":
    main()
