"""circuit-tracer's transcoders, one a layer and across layers, saved by their own `to_safetensors`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from writing import absent, inputs, save_reference, shake

absent("circuit_tracer.utils.create_graph_files")

from circuit_tracer.transcoder.activation_functions import JumpReLU  # noqa: E402
from circuit_tracer.transcoder.cross_layer_transcoder import CrossLayerTranscoder  # noqa: E402
from circuit_tracer.transcoder.single_layer_transcoder import SingleLayerTranscoder, TranscoderSet  # noqa: E402

D_MODEL, D_SAE, LAYERS = 12, 40, 3


def main(root: Path) -> None:
    threshold = torch.rand(D_SAE, generator=torch.Generator().manual_seed(1)) + 0.5
    per_layer(root / "relu", torch.relu, "mlp.hook_in")
    per_layer(root / "jumprelu", JumpReLU(threshold), "hook_resid_mid")
    per_layer(root / "skip", torch.relu, "mlp.hook_in", skip=True)
    per_layer(root / "normalised", torch.relu, "ln2.hook_normalized")
    for name in ("relu", "jump_relu"):
        across(root / f"clt_{name}", name)


def config(folder: Path, kind: str, hook: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["model_name: some/model", f"model_kind: {kind}", f"feature_input_hook: {hook}"]
    (folder / "config.yaml").write_text("\n".join([*lines, "feature_output_hook: hook_mlp_out", "scan: some/scan\n"]))


def per_layer(folder: Path, activation: object, hook: str, skip: bool = False) -> None:
    config(folder, "transcoder_set", hook)
    made = {i: SingleLayerTranscoder(D_MODEL, D_SAE, activation, i, skip, dtype=torch.float32) for i in range(LAYERS)}
    for i, transcoder in made.items():
        kept = activation.threshold.detach().clone() if isinstance(activation, JumpReLU) else None
        shake(transcoder, i)
        if kept is not None:
            activation.threshold.data.copy_(kept)
    TranscoderSet(made, hook, "hook_mlp_out").to_safetensors(str(folder))
    x = inputs(17, D_MODEL)
    if hook == "ln2.hook_normalized":
        x = x / x.pow(2).mean(-1, keepdim=True).sqrt()
    with torch.no_grad():
        f = made[1].encode(x)
        save_reference(folder, x, f, made[1].decode(f, x))


def across(folder: Path, activation: str) -> None:
    config(folder, "cross_layer_transcoder", "hook_resid_mid")
    clt = CrossLayerTranscoder(LAYERS, D_SAE, D_MODEL, activation, lazy_decoder=False, dtype=torch.float32)
    shake(clt, 7)
    if activation == "jump_relu":
        clt.activation_function.threshold.data.abs_()
    clt.to_safetensors(str(folder))
    x = inputs(17, D_MODEL)
    with torch.no_grad():
        f = clt.encode_layer(x, 1)
        contributions = torch.einsum("tf,fld->tld", f, clt._get_decoder_vectors(1))
        contributions[:, 0] += clt.b_dec[1]
        save_reference(folder, x, f, contributions.flatten(1))


main(Path(sys.argv[1]))
