"""delphi's side of `peers.py`, run in delphi's own environment: caches the latents of stretches of contexts as they are asked for.

A line `first last` on standard input is answered by a line of JSON: seconds, peak memory in MiB, and bytes that its cache takes
on disk. What delphi imports and does not use here is stood in for.
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
        if width not in coders:
            coders = {width: SparseCoder.load_from_disk(folder / width / "h.3", device="cpu")}
        encode = {"h.3": partial(sae_dense_latents, sae=coders[width])}
        cache = LatentCache(model, encode, batch_size=batch)
        stretch = tokens[int(first) : int(last)]
        started = time.perf_counter()
        cache.run(stretch.numel(), stretch)
        seconds = time.perf_counter() - started
        with tempfile.TemporaryDirectory() as place:
            cache.save_splits(n_splits=5, save_dir=Path(place))
            disk = sum(path.stat().st_size for path in Path(place).rglob("*") if path.is_file())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "peak_mib": peak, "disk_bytes": disk}), flush=True)


if __name__ == "__main__":
    main()
