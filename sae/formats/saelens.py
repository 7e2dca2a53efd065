"""SAELens folders: `cfg.json` and `sae_weights.safetensors`, read and written.

The layout is that of https://github.com/decoderesearch/SAELens (`SAE.save_model`): `W_enc` (d_in, d_sae), `W_dec` (d_sae, d_in),
`b_enc`, `b_dec`, with `threshold` (jumprelu) or `b_gate`, `r_mag`, `b_mag` (gated). Batch-wise TopK is exported as jumprelu there.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sae.dictionary import Dictionary, InputNorm
from sae.errors import DictionaryError
from sae.formats.place import Place
from sae.formats.reading import read_config, read_safetensors, take

CONFIG, WEIGHTS, SCALER = "cfg.json", "sae_weights.safetensors", "activation_scaler.json"
PUBLISHER, CHECKED = "SAELens", ""
FILES: tuple[str, ...] = (CONFIG, WEIGHTS, SCALER)
ARCHITECTURES = ("standard", "topk", "jumprelu", "gated")
_NORMS: dict[str, InputNorm] = {"none": "none", "layer_norm": "layer_norm", "constant_norm_rescale": "per_token"}

_LAYER_NORM_MODELS = ("gpt2", "distilgpt2", "pythia", "gpt-neo", "gpt-j", "opt-")


def matches(place: Place) -> bool:
    """Whether it is of this format."""
    return place.has(CONFIG, WEIGHTS)


def load(place: Place) -> Dictionary:
    """Read it. Raises `DictionaryError` on what is damaged and, by name, on what is not supported."""
    folder = place.folder
    config_file, file = folder / CONFIG, folder / WEIGHTS
    config = read_config(config_file)
    architecture = config.get("architecture", "standard")
    if architecture not in ARCHITECTURES:
        raise DictionaryError(
            f"{config_file}: architecture {architecture!r} is not supported: use {', '.join(ARCHITECTURES)}"
        )
    where = place.where(_hook_names(config), config_file)
    tensors = read_safetensors(file)
    W_enc, W_dec = take(tensors, "W_enc", 2, file).T, take(tensors, "W_dec", 2, file)
    b_dec = take(tensors, "b_dec", 1, file)
    threshold: Tensor | None = None
    if architecture == "gated":
        W_enc, b_enc, threshold = _gated(W_enc, tensors, file)
    else:
        b_enc = take(tensors, "b_enc", 1, file)
    if architecture == "jumprelu":
        # SAELens gates relu(z), for which a negative threshold is the same as 0.
        threshold = take(tensors, "threshold", 1, file).clamp_min(0)
    _check_sizes(config, W_enc, W_dec, file)
    W_dec = _finetuning_scale(tensors, W_dec)
    if config.get("rescale_acts_by_decoder_norm"):
        W_enc, b_enc, W_dec = _fold_decoder_norm(W_enc, b_enc, W_dec)
    norm, scale = _input_norm(config, folder)
    c = config.get("apply_b_dec_to_input", True) is True
    if norm != "layer_norm" and _wants_centred(config):
        if norm == "per_token":
            raise DictionaryError(f"{config_file}: center_writing_weights with constant_norm_rescale is not supported")
        W_enc, b_enc = _fold_centring(W_enc, b_enc, b_dec if c else torch.zeros_like(b_dec))
    return Dictionary(
        W_enc=W_enc,
        b_enc=b_enc,
        W_dec=W_dec,
        b_dec=b_dec,
        activation="topk" if architecture == "topk" else "relu" if threshold is None else "jumprelu",
        threshold=threshold,
        k=_k(config, config_file) if architecture == "topk" else None,
        apply_b_dec_to_input=c,
        input_norm=norm,
        input_scale=scale,
        hook_point=where,
        architecture=architecture,
        path=str(folder),
        format="saelens",
    )


def save(folder: Path, dictionary: Dictionary, *, model_name: str, metadata: Mapping[str, Any] | None = None) -> None:
    """Write `dictionary` to `folder`, so that `load` and SAELens read it back equal.

    `model_name` is the subject's; `metadata` are further JSON values. Each file appears whole, the config last: a folder in which
    the writing was interrupted is not taken for a dictionary. Raises `DictionaryError` for an input scale, which belongs folded
    into the weights.
    """
    norm = next((name for name, ours in _NORMS.items() if ours == dictionary.input_norm), None)
    if norm is None:
        raise DictionaryError(
            f"{folder}: SAELens has no field for input_scale = {dictionary.input_scale:g}: fold it into the weights"
        )
    kind, _, layer = dictionary.hook_point.partition(".")
    lens_name = f"blocks.{layer}." + ("hook_resid_post" if kind == "resid_post" else "mlp.hook_post")
    own = {"model_name": model_name, "hook_name": lens_name, "hook_point": dictionary.hook_point}
    config: dict[str, Any] = {
        "architecture": {"relu": "standard"}.get(dictionary.activation, dictionary.activation),
        "d_in": dictionary.d_in,
        "d_sae": dictionary.d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": dictionary.apply_b_dec_to_input,
        "normalize_activations": norm,
        "reshape_activations": "none",
        "metadata": {**(metadata or {}), **own},
    }
    tensors = {
        "W_enc": dictionary.W_enc.T,
        "W_dec": dictionary.W_dec,
        "b_enc": dictionary.b_enc,
        "b_dec": dictionary.b_dec,
    }
    if dictionary.activation == "topk":
        config |= {"k": dictionary.k, "rescale_acts_by_decoder_norm": False}
    if dictionary.threshold is not None:
        tensors["threshold"] = dictionary.threshold
    _write(folder, config, {name: t.detach().to("cpu", torch.float32) for name, t in tensors.items()})


def _write(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    from safetensors.torch import save_file

    text = json.dumps(config, indent=2, allow_nan=False) + "\n"
    whole = {
        name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }  # none may share memory
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).unlink(missing_ok=True)
        _replace(folder / WEIGHTS, lambda partial: save_file(whole, partial))
        _replace(folder / CONFIG, lambda partial: partial.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise DictionaryError(f"{folder} cannot be written: {error.strerror or error}") from None


def _replace(file: Path, write: Callable[[Path], Any]) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    os.close(handle)
    partial = Path(name)
    try:
        write(partial)
        partial.chmod(0o644)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _hook_names(config: dict[str, Any]) -> list[str]:
    """Where it says that it reads: newer files under `metadata` in up to three notations, older ones at the top."""
    metadata = _metadata(config)
    names = [source.get(key) for key in ("hook_point", "hook_name", "hf_hook_name") for source in (metadata, config)]
    return [name for name in names if isinstance(name, str) and name]


def _metadata(config: dict[str, Any]) -> dict[str, Any]:
    metadata = config.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _gated(W_enc: Tensor, tensors: dict[str, Tensor], file: Path) -> tuple[Tensor, Tensor, Tensor]:
    """`[x W + b_gate > 0] * relu(x W exp(r_mag) + b_mag)` as jumprelu: the gate is a threshold on the magnitude."""
    b_gate, r_mag, b_mag = (take(tensors, name, 1, file) for name in ("b_gate", "r_mag", "b_mag"))
    if not len(b_gate) == len(r_mag) == len(b_mag) == len(W_enc):
        raise DictionaryError(
            f"{file}: b_gate, r_mag and b_mag have {len(b_gate)}, {len(r_mag)}, {len(b_mag)} entries, not {len(W_enc)}"
        )
    gain = r_mag.exp()
    return W_enc * gain[:, None], b_mag, (b_mag - gain * b_gate).clamp_min(0)


def _finetuning_scale(tensors: dict[str, Tensor], W_dec: Tensor) -> Tensor:
    """Older files scale each feature before decoding; the decoder's rows take that factor."""
    for name in ("finetuning_scaling_factor", "scaling_factor"):
        if name in tensors and tensors[name].shape == W_dec.shape[:1]:
            return W_dec * tensors[name][:, None]
    return W_dec


def _fold_decoder_norm(W_enc: Tensor, b_enc: Tensor, W_dec: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`f = act(z * ||W_dec||)`, decoded with unit rows, as plain weights. A row of zeros never fires."""
    norm = W_dec.norm(dim=1)
    safe = torch.where(norm > 0, norm, 1.0)
    return W_enc * norm[:, None], b_enc * norm, W_dec / safe[:, None]


def _wants_centred(config: dict[str, Any]) -> bool:
    """Whether TransformerLens fed it a residual stream minus its mean, which it does to models with LayerNorm only."""
    source = {**config, **_metadata(config)}
    kwargs = source.get("model_from_pretrained_kwargs")
    model = str(source.get("model_name", "")).rpartition("/")[2].lower()
    return (
        isinstance(kwargs, dict)
        and kwargs.get("center_writing_weights") is True
        and model.startswith(_LAYER_NORM_MODELS)
    )


def _fold_centring(W_enc: Tensor, b_enc: Tensor, b_dec: Tensor) -> tuple[Tensor, Tensor]:
    """`(x - mean(x) - b_dec) @ W` on the raw x: rows lose their mean, and the bias what b_dec's mean then contributes."""
    return W_enc - W_enc.mean(dim=1, keepdim=True), b_enc - b_dec.mean() * W_enc.sum(dim=1)


def _input_norm(config: dict[str, Any], folder: Path) -> tuple[InputNorm, float]:
    name = config.get("normalize_activations", "none")
    if name is None or name is False:
        name = "none"
    if name == "expected_average_only_in":
        # Folded into the weights when a training ends; only a checkpoint in mid-training has its factor beside it.
        scaler = folder / SCALER
        factor = read_config(scaler).get("scaling_factor") if scaler.is_file() else None
        if factor is None:
            return "none", 1.0
        if not isinstance(factor, (int, float)) or not math.isfinite(factor) or factor <= 0:
            raise DictionaryError(f"{scaler}: scaling_factor = {factor!r} is not a positive number")
        return "scale", float(factor)
    if name not in _NORMS:
        raise DictionaryError(
            f"{folder / CONFIG}: normalize_activations = {name!r} is not supported: use one of {', '.join(_NORMS)}"
        )
    return _NORMS[name], 1.0


def _k(config: dict[str, Any], file: Path) -> int:
    kwargs = config.get("activation_fn_kwargs")
    k = config.get("k", kwargs.get("k") if isinstance(kwargs, dict) else None)
    if not isinstance(k, int) or isinstance(k, bool):
        raise DictionaryError(f"{file}: a topk dictionary needs k, a whole number, not {k!r}")
    return k


def _check_sizes(config: dict[str, Any], W_enc: Tensor, W_dec: Tensor, file: Path) -> None:
    for name, size in (("d_sae", W_enc.shape[0]), ("d_in", W_enc.shape[1])):
        if config.get(name, size) != size:
            raise DictionaryError(
                f"{file}: W_enc says {name} = {size}, {CONFIG} says {config[name]!r}: the two do not belong together"
            )
    if W_dec.shape != W_enc.shape:
        raise DictionaryError(f"{file}: W_dec has shape {tuple(W_dec.shape)} where W_enc asks for {tuple(W_enc.shape)}")
