"""Every dictionary class of dictionary_learning, saved as its trainer saves them: `ae.pt` and `config.json`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from writing import absent, inputs, save_reference, shake, understand

absent("nnsight", "wandb", "datasets", "zstandard")

from dictionary_learning.dictionary import AutoEncoder, AutoEncoderNew, GatedAutoEncoder, JumpReluAutoEncoder  # noqa: E402
from dictionary_learning.trainers.batch_top_k import BatchTopKSAE  # noqa: E402
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE  # noqa: E402
from dictionary_learning.trainers.top_k import AutoEncoderTopK  # noqa: E402

D_IN, D_SAE, K = 12, 40, 5


def main(root: Path) -> None:
    made = [
        AutoEncoder(D_IN, D_SAE),
        AutoEncoderNew(D_IN, D_SAE),
        GatedAutoEncoder(D_IN, D_SAE),
        JumpReluAutoEncoder(D_IN, D_SAE),
        AutoEncoderTopK(D_IN, D_SAE, K),
        BatchTopKSAE(D_IN, D_SAE, K),
        MatryoshkaBatchTopKSAE(D_IN, D_SAE, K, [8, 12, 20]),
    ]
    for seed, dictionary in enumerate(made):
        shake(dictionary, seed)
        if hasattr(dictionary, "k"):
            dictionary.threshold.fill_(1.7)
        write(root / type(dictionary).__name__, dictionary)
    unfinished = BatchTopKSAE(D_IN, D_SAE, K)
    shake(unfinished, 20)
    write(root / "unfinished", unfinished)


def write(folder: Path, dictionary: torch.nn.Module) -> None:
    understand(dictionary, D_IN)
    folder.mkdir(parents=True)
    trainer = {
        "dict_class": type(dictionary).__name__,
        "activation_dim": D_IN,
        "dict_size": D_SAE,
        "k": K,
        "layer": 3,
        "lm_name": "EleutherAI/pythia-70m-deduped",
        "submodule_name": "resid_post_layer_3",
    }
    buffer = {"d_submodule": D_IN, "io": "out", "ctx_len": 128}
    (folder / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": buffer}))
    torch.save({name: tensor.cpu() for name, tensor in dictionary.state_dict().items()}, folder / "ae.pt")
    x = inputs(17, D_IN)
    with torch.no_grad():
        f = dictionary.encode(x)
        save_reference(folder, x, f, dictionary.decode(f))


main(Path(sys.argv[1]))
