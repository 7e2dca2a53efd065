"""sparsify folders (EleutherAI): `<hook point>/cfg.json` and `<hook point>/sae.safetensors`.

`encoder.weight` and `W_dec` are both (d_sae, d_in); `f` is the k largest of `relu((x - b_dec) @ encoder.weight.T + encoder.bias)`, or
the largest of each of k groups. The folder is named after a module below the base model: `layers.5`, `layers.5.mlp`. An
autoencoder reads what the module puts out; a transcoder (`transcode`) reads what goes in, subtracts nothing, and writes what comes
out. `num_latents = 0`, the default, means d_in times the expansion factor. Layout:
https://github.com/EleutherAI/sparsify (`sparse_coder.py`).
"""

from __future__ import annotations

from pathlib import Path

from sae.dictionary import Activation, Dictionary
from sae.errors import DictionaryError
from sae.formats.location import Place
from sae.formats.readers import check_sizes, read_config, read_safetensors, take, take_whole
from sae.subject.hook_points import ours

CONFIG, WEIGHTS = "cfg.json", "sae.safetensors"
PUBLISHER = "sparsify (EleutherAI)"
CHECKED = (
    "written by eai-sparsify 1.3.3, topk and groupmax, transcoder and skip connection: encode and decode within 1e-5"
)
FILES: tuple[str, ...] = (CONFIG, WEIGHTS)
_DEFAULT_K = 32
_ACTIVATIONS: dict[str, Activation] = {"topk": "topk", "groupmax": "groupmax"}


def matches(place: Place) -> bool:
    """Whether it is of this format."""
    return place.has(CONFIG, WEIGHTS)


def load(place: Place) -> Dictionary:
    """Read it. Raises `DictionaryError` on what is damaged and, by name, on what is not supported."""
    folder = place.folder
    config_file, file = folder / CONFIG, folder / WEIGHTS
    config = read_config(config_file)
    activation = _ACTIVATIONS.get(str(config.get("activation", "topk")))
    if activation is None:
        raise DictionaryError(
            f"{config_file}: activation {config['activation']!r} is not supported: use {' or '.join(_ACTIVATIONS)}"
        )
    if config.get("signed"):
        raise DictionaryError(f"{config_file}: signed = true is not supported: use features that are positive")
    transcode = config.get("transcode") is True
    where = place.where([folder.name + (".input" if transcode else "")], config_file)
    writes = _writes(where, config_file) if transcode else None
    tensors = read_safetensors(file)
    skip = config.get("skip_connection") is True or "W_skip" in tensors
    W_enc = take(tensors, "encoder.weight", 2, file)
    check_sizes(config, {"d_in": W_enc.shape[1], "num_latents": W_enc.shape[0]}, file, CONFIG)
    return Dictionary(
        W_enc=W_enc,
        b_enc=take(tensors, "encoder.bias", 1, file),
        W_dec=take(tensors, "W_dec", 2, file),
        b_dec=take(tensors, "b_dec", 1, file),
        activation=activation,
        k=take_whole({"k": _DEFAULT_K, **config}, "k", config_file),
        apply_b_dec_to_input=not transcode,
        hook_point=where,
        hook_point_out=writes,
        W_skip=take(tensors, "W_skip", 2, file) if skip else None,
        architecture=activation + ("_skip" if skip else "") + ("_transcoder" if transcode else ""),
        path=str(folder),
        format="sparsify",
        notes=(_RAW,) if (writes or where).startswith(("mlp_out", "attn_out")) else (),
    )


_RAW = "the module's own output was read: where a model has a norm after it (Gemma 2 and 3, OLMo 2), that is not this hook point"


def _writes(hook_point: str, config_file: Path) -> str:
    """Where the output of the module belongs whose input is read: it is named by the folder, or is the MLP."""
    kind, _, layer = hook_point.partition(".")
    out = ours(config_file.parent.name) or (f"mlp_out.{layer}" if kind == "mlp_in" else None)
    if out is None:
        raise DictionaryError(
            f"{config_file} does not say what a transcoder writes: name its folder after the module, as in layers.5.mlp"
        )
    return out
