"""sparsify folders (EleutherAI): `<hook point>/cfg.json` and `<hook point>/sae.safetensors`.

`encoder.weight` and `W_dec` are both (d_sae, d_in); `f` is the k largest of `relu((x - b_dec) @ encoder.weight.T + encoder.bias)`, or
the largest of each of k groups. The folder is named after a module below the base model: `layers.5`, `layers.5.mlp`. An
autoencoder reads the module's output; a transcoder (`transcode`) reads its input, subtracts nothing, and predicts its output.
`num_latents = 0`, the default, means d_in times the expansion factor. Layout: https://github.com/EleutherAI/sparsify
(`sparse_coder.py`).
"""

from __future__ import annotations

from pathlib import Path

from sae.dictionary import Activation, Dictionary
from sae.errors import DictionaryError
from sae.formats.location import DictionaryLocation
from sae.formats.readers import check_sizes, get_int, get_tensor, read_config, read_safetensors
from sae.subject.hook_points import to_hook_point

CONFIG, WEIGHTS = "cfg.json", "sae.safetensors"
PUBLISHER = "sparsify (EleutherAI)"
CHECKED = "files written by eai-sparsify 1.3.3: topk and groupmax, transcoders and skip connections, encode and decode"
FILES: tuple[str, ...] = (CONFIG, WEIGHTS)
_DEFAULT_K = 32
_ACTIVATIONS: dict[str, Activation] = {"topk": "topk", "groupmax": "groupmax"}


def matches(location: DictionaryLocation) -> bool:
    """Whether it is of this format."""
    return location.has_files(CONFIG, WEIGHTS)


def load(location: DictionaryLocation) -> Dictionary:
    """Read it. Raises `DictionaryError` if it is damaged, or if a part named in the message is not supported."""
    folder = location.folder
    config_file, file = folder / CONFIG, folder / WEIGHTS
    config = read_config(config_file)
    activation = _ACTIVATIONS.get(str(config.get("activation", "topk")))
    if activation is None:
        raise DictionaryError(
            f"{config_file}: activation {config['activation']!r} is not supported: use {' or '.join(_ACTIVATIONS)}"
        )
    if config.get("signed"):
        raise DictionaryError(f"{config_file}: signed = true is not supported: use a dictionary of positive features")
    transcode = config.get("transcode") is True
    hook_point = location.choose_hook_point([folder.name + (".input" if transcode else "")], config_file)
    out = _output(hook_point, config_file) if transcode else None
    tensors = read_safetensors(file)
    skip = config.get("skip_connection") is True or "W_skip" in tensors
    W_enc = get_tensor(tensors, "encoder.weight", 2, file)
    check_sizes(config, {"d_in": W_enc.shape[1], "num_latents": W_enc.shape[0]}, file, CONFIG)
    return Dictionary(
        W_enc=W_enc,
        b_enc=get_tensor(tensors, "encoder.bias", 1, file),
        W_dec=get_tensor(tensors, "W_dec", 2, file),
        b_dec=get_tensor(tensors, "b_dec", 1, file),
        activation=activation,
        k=get_int({"k": _DEFAULT_K, **config}, "k", config_file),
        apply_b_dec_to_input=not transcode,
        hook_point=hook_point,
        hook_point_out=out,
        W_skip=get_tensor(tensors, "W_skip", 2, file) if skip else None,
        architecture=activation + ("_skip" if skip else "") + ("_transcoder" if transcode else ""),
        path=str(folder),
        format="sparsify",
        notes=(_RAW,) if (out or hook_point).startswith(("mlp_out", "attn_out")) else (),
    )


_RAW = "the module's own output was read: in a model with a norm after it (Gemma 2 and 3, OLMo 2), that is not this hook point"


def _output(hook_point: str, config_file: Path) -> str:
    """The hook point that a transcoder writes to: the output of the module after which the folder is named, or of the MLP whose
    input is read."""
    kind, _, layer = hook_point.partition(".")
    out = to_hook_point(config_file.parent.name) or (f"mlp_out.{layer}" if kind == "mlp_in" else None)
    if out is None:
        raise DictionaryError(
            f"{config_file} does not say what the transcoder writes: name its folder after the module, as in layers.5.mlp"
        )
    return out
