"""Dictionaries written by sae-lens' own classes and `save_model`, and its loaders' conversion of Gemma Scope files.

    write_saelens.py saelens OUT [FOLDER...]   a folder for each architecture, normalisation and age of layout; and a reference
                                               for each FOLDER that we wrote, of the x in its reference.safetensors
    write_saelens.py gemma OUT                 Gemma Scope folders

Beside each folder's files lies `reference.safetensors`: x, f = encode(x) and x_hat, the whole forward pass.
"""

from __future__ import annotations

import json
import math
import sys
import warnings
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from huggingface_hub.errors import EntryNotFoundError
from safetensors import safe_open
from safetensors.torch import load_file, save_file

wandb = ModuleType("wandb")
wandb.__spec__ = ModuleSpec("wandb", None)
sys.modules["wandb"] = wandb
warnings.simplefilter("ignore")

from sae_lens import SAE, registry  # noqa: E402
from sae_lens.loading import pretrained_sae_loaders as loaders  # noqa: E402
from writing import understand  # noqa: E402

D_IN, D_OUT, D_SAE, K = 12, 10, 48, 5
GEMMA_1 = {
    "google/gemma-scope-2b-pt-res": "layer_12/width_16k/average_l0_82",
    "google/gemma-scope-9b-pt-mlp": "layer_3/width_16k/average_l0_41",
    "google/gemma-scope-2b-pt-att": "layer_7/width_16k/average_l0_104",
    "google/gemma-scope-2b-pt-transcoders": "layer_4/width_16k/average_l0_88",
}
EMBEDDING = "google/gemma-scope-9b-pt-res/embedding/width_4k/average_l0_21"
MODULES = {
    "resid_post/layer_13_width_16k_l0_small": ("model.layers.13.output", None),
    "attn_out_all/layer_2_width_16k_l0_big": ("model.layers.2.self_attn.o_proj.input", None),
    "mlp_out/layer_5_width_65k_l0_medium": ("model.layers.5.post_feedforward_layernorm.output", None),
    "transcoder_all/layer_8_width_16k_l0_big": (
        "model.layers.8.pre_feedforward_layernorm.output",
        "model.layers.8.post_feedforward_layernorm.output",
    ),
    "transcoder/layer_9_width_262k_l0_big_affine": (
        "model.layers.9.pre_feedforward_layernorm.output",
        "model.layers.9.post_feedforward_layernorm.output",
    ),
}
GEMMA_2 = "google/gemma-scope-2-1b-pt"
ACROSS = "clt/width_262k_l0_medium_affine/params_layer_3"


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float32)


def reference(sae: Any, x: torch.Tensor, folder: Path, given: torch.Tensor | None = None) -> None:
    """Write what sae-lens makes of x, or of `given` where it wants x prepared."""
    with torch.no_grad():
        x_in = x if given is None else given
        f, x_hat = sae.encode(x_in), sae(x_in)
    held = {"x": x.flatten(1), "f": f, "x_hat": x_hat.flatten(1)}
    save_file({name: tensor.clone().contiguous() for name, tensor in held.items()}, folder / "reference.safetensors")


def randomised(architecture: str, training: bool = False, **config: Any) -> Any:
    """A dictionary of that class with every parameter random, so that nothing is zero or tied."""
    get = registry.get_sae_training_class if training else registry.get_sae_class
    sae_class, config_class = get(architecture)
    metadata = {"hook_name": "blocks.4.hook_resid_post", "model_name": "tiny", **config.pop("metadata", {})}
    sizes = {"d_in": D_IN, "d_sae": D_SAE, "dtype": "float32", "device": "cpu"}
    if "transcoder" in architecture:
        sizes |= {"d_out": D_OUT, "apply_b_dec_to_input": False}
        metadata |= {"hook_name": "blocks.4.mlp.hook_in", "hook_name_out": "blocks.4.hook_mlp_out"}
    sae = sae_class(config_class.from_dict({"architecture": architecture, "metadata": metadata, **sizes, **config}))
    for name, parameter in sae.named_parameters():
        parameter.data = normal(*parameter.shape) * (0.3 if name in ("r_mag", "W_skip") else 1.0)
        if name == "threshold" and not training:
            parameter.data[::2].abs_()
    return sae


def write_inference(out: Path) -> None:
    cases: dict[str, tuple[str, dict[str, Any]]] = {
        name: (name, {})
        for name in (
            "standard",
            "gated",
            "jumprelu",
            "transcoder",
            "skip_transcoder",
            "jumprelu_transcoder",
            "jumprelu_skip_transcoder",
        )
    }
    cases["topk"] = ("topk", {"k": K})
    cases["topk rescaled"] = ("topk", {"k": K, "rescale_acts_by_decoder_norm": True})
    cases["uncentred"] = ("jumprelu", {"apply_b_dec_to_input": False})
    for norm in ("none", "expected_average_only_in", "layer_norm", "constant_norm_rescale"):
        cases[norm] = ("gated", {"normalize_activations": norm})
    cases["transcoder layer_norm"] = ("skip_transcoder", {"normalize_activations": "layer_norm"})
    cases["hook_z"] = ("standard", {"reshape_activations": "hook_z", "metadata": {"hook_name": "blocks.4.attn.hook_z"}})
    cases["refused abstopk"] = ("abstopk", {"k": K})
    cases["refused matching_pursuit"] = ("matching_pursuit", {})
    cases["refused whitening"] = ("standard", {"normalize_activations": "covariance_whitening"})
    for name, (architecture, config) in cases.items():
        sae = randomised(architecture, **config)
        sae.save_model(out / name)
        if not name.startswith("refused"):
            understand(sae, D_IN)
            shape = (3, D_IN // 3) if name == "hook_z" else (D_IN,)
            reference(sae, normal(64, *shape) * 2 + 0.5, out / name)


def write_training(out: Path) -> None:
    """What a training leaves: the exported dictionary, and the checkpoint it came from, which must read equal."""
    for name, config in {
        "topk": {"k": K},
        "batchtopk": {"k": float(K)},
        "batchtopk plain": {"k": float(K), "rescale_acts_by_decoder_norm": False},
        "matryoshka_batchtopk": {"k": float(K), "matryoshka_widths": [8, 16, D_SAE]},
        "jumprelu": {},
        "gated": {},
        "standard": {},
    }.items():
        sae = randomised(name.split()[0], training=True, **config)
        if hasattr(sae, "threshold"):
            sae.threshold.data.abs_()
        if hasattr(sae, "topk_threshold"):
            sae.topk_threshold.fill_(1.5)
        understand(sae, D_IN)
        sae.save_model(out / f"checkpoint {name}")
        sae.save_inference_model(out / f"exported {name}")
        exported = SAE.load_from_disk(out / f"exported {name}")
        x = normal(64, D_IN) * 2
        for kind in ("checkpoint", "exported"):
            reference(exported, x, out / f"{kind} {name}")


def write_gemma(out: Path) -> None:
    """Random files in Gemma Scope's layouts, taken through sae-lens' converters as if the hub had sent them."""

    def hub(repo_id: str, filename: str, subfolder: str = "", **_: Any) -> str:
        file = out / repo_id / subfolder / filename
        if not file.is_file():
            raise EntryNotFoundError(filename)
        return str(file)

    loaders.hf_hub_download = hub
    loaders.get_safetensors_tensor_shapes = lambda repo_id, filename: shapes(out / repo_id / filename)
    for place in [*(f"{repo}/{folder}" for repo, folder in GEMMA_1.items()), EMBEDDING]:
        (out / place).mkdir(parents=True)
        names = ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")
        made = gemma_tensors(D_IN, D_IN)
        np.savez(out / place / "params.npz", **{name: made[name.lower()].numpy() for name in names})
        x = normal(64, *((3, D_IN // 3) if "pt-att" in place else (D_IN,))) * 3
        if "transcoders" in place:
            convert, given = (
                loaders.gemma_2_transcoder_huggingface_loader,
                x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt(),
            )
        else:
            convert, given = loaders.gemma_2_sae_huggingface_loader, None
        if place == EMBEDDING:
            x = x * math.sqrt(D_IN)
        sae = converted(convert, place, {"d_in": D_IN, "d_out": D_IN, "d_sae": D_SAE})
        reference(sae, x, out / place, given)
        if "transcoders" in place:
            sae.save_model(out / "saved again")
            reference(sae, x, out / "saved again", given)
    for folder, (source, target) in MODULES.items():
        place = f"{GEMMA_2}/{folder}"
        (out / place).mkdir(parents=True)
        made = gemma_tensors(D_IN, D_OUT if target else D_IN)
        if "affine" in folder:
            made["affine_skip_connection"] = normal(D_IN, D_OUT) * 0.3
        save_file(made, out / place / "params.safetensors")
        config = {"architecture": "jump_relu", "model_name": "gemma-v3-1b-pt", "hf_hook_point_in": source}
        if target:
            config |= {"hf_hook_point_out": target, "affine_connection": "affine" in folder}
        (out / place / "config.json").write_text(json.dumps(config))
        sae = converted(loaders.gemma_3_sae_huggingface_loader, place, {})
        reference(sae, normal(64, D_IN) * 3, out / place)
    write_across(out)


def write_across(out: Path) -> None:
    """A layer of a cross-layer transcoder, whose decoders sae-lens sums, so that only encode can be compared."""
    folder = out / GEMMA_2 / Path(ACROSS).parent
    folder.mkdir(parents=True)
    made = gemma_tensors(D_IN, D_IN) | {"affine_skip_connection": normal(D_IN, D_IN)}
    made["w_dec"] = normal(D_SAE, 4, D_IN)
    save_file(made, out / GEMMA_2 / f"{ACROSS}.safetensors")
    sae = converted(loaders.gemma_3_sae_huggingface_loader, f"{GEMMA_2}/{ACROSS}", {})
    reference(sae, normal(64, D_IN) * 3, folder)


def gemma_tensors(d_in: int, d_out: int) -> dict[str, torch.Tensor]:
    return {
        "w_enc": normal(d_in, D_SAE) / math.sqrt(d_in),
        "w_dec": normal(D_SAE, d_out),
        "b_enc": normal(D_SAE),
        "b_dec": normal(d_out),
        "threshold": normal(D_SAE).abs(),
    }


def shapes(file: Path) -> dict[str, list[int]]:
    with safe_open(file, "pt") as held:
        return {name: list(held.get_slice(name).get_shape()) for name in held.keys()}  # noqa: SIM118


def converted(convert: Any, place: str, sizes: dict[str, int]) -> Any:
    repository, folder = "/".join(place.split("/")[:2]), "/".join(place.split("/")[2:])

    def converter(**given: Any) -> Any:
        overrides = {**(given.pop("cfg_overrides") or {}), **sizes}
        return convert(**given, cfg_overrides=overrides)

    return SAE.from_pretrained(repository, folder, converter=converter)


def write_old(out: Path) -> None:
    """Layouts from before version 6: facts of the model at the top, and topk an activation function."""
    base = {"d_in": D_IN, "d_sae": D_SAE, "dtype": "torch.float32", "model_name": "tiny", "hook_point_layer": 4}
    hook = {"hook_point": "blocks.4.hook_resid_pre"}
    topk = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}}
    for name, architecture, config in (
        ("old hook_point", "standard", hook | {"normalize_activations": False, "apply_b_dec_to_input": True}),
        ("old topk", "topk", hook | topk | {"normalize_activations": "layer_norm"}),
        ("old hook_name", "jumprelu", {"hook_name": "blocks.3.hook_resid_post", "architecture": "jumprelu"}),
        ("old scale", "standard", hook | {"normalize_activations": True, "finetuning_scaling_factor": False}),
    ):
        made = {key: tensor.clone() for key, tensor in randomised(architecture).state_dict().items()}
        if name == "old scale":
            made["scaling_factor"] = torch.ones(D_SAE)
        (out / name).mkdir(parents=True)
        save_file(made, out / name / "sae_weights.safetensors")
        (out / name / "cfg.json").write_text(json.dumps(base | config))
        reference(SAE.load_from_disk(out / name), normal(64, D_IN) * 2, out / name)


def read(folder: Path) -> None:
    sae = SAE.load_from_disk(folder)
    reference(sae, load_file(folder / "reference.safetensors")["x"], folder)
    metadata = sae.cfg.metadata
    print(json.dumps([metadata.model_name, metadata.hook_name, type(sae).__name__]))


if __name__ == "__main__":
    torch.manual_seed(0)
    command, out, *ours = sys.argv[1:]
    if command == "gemma":
        write_gemma(Path(out))
    else:
        write_inference(Path(out))
        write_training(Path(out))
        write_old(Path(out))
        for name in ours:
            read(Path(name))
