"""SAELens folders: `cfg.json` and `sae_weights.safetensors`.

Layout: https://github.com/decoderesearch/SAELens (`SAE.save_model`). `W_enc` (d_in, d_sae), `W_dec` (d_sae, d_out), `b_enc`, `b_dec`,
and `threshold` (jumprelu), `b_gate`, `r_mag`, `b_mag` (gated), or `W_skip` (d_out, d_in) (skip transcoders). A batch-wise TopK is
exported as jumprelu; its checkpoints hold one `topk_threshold` for all features.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sae.dictionary import Dictionary
from sae.errors import DictionaryError
from sae.formats.folding import clamp_threshold, fold_decoder_norms, fold_gate
from sae.formats.location import DictionaryLocation
from sae.formats.readers import Tensors, check_sizes, get_tensor, read_config, read_safetensors
from sae.formats.saelens.config import CONFIG, RUNNER, SCALER, Settings, parse_config
from sae.formats.saelens.writer import WEIGHTS

PUBLISHER = "SAELens"
CHECKED = (
    "files written by sae-lens 6.54.12: every architecture and normalisation, encode and decode; and files written here, as sae-lens"
    " reads them"
)
FILES: tuple[str, ...] = (CONFIG, WEIGHTS, SCALER, RUNNER)


def matches(location: DictionaryLocation) -> bool:
    """Whether it is of this format."""
    return location.has_files(CONFIG, WEIGHTS)


def load(location: DictionaryLocation) -> Dictionary:
    """Read it. Raises `DictionaryError` if it is damaged, or if a part named in the message is not supported."""
    file = location.folder / WEIGHTS
    settings = parse_config(read_config(location.folder / CONFIG), location)
    tensors = read_safetensors(file)
    _check_tensors(settings, tensors, file)
    notes = list(settings.notes)
    W_enc, W_dec = get_tensor(tensors, "W_enc", 2, file).T, get_tensor(tensors, "W_dec", 2, file)
    b_dec = get_tensor(tensors, "b_dec", 1, file)
    threshold: Tensor | None
    if settings.family == "gated":
        W_enc, b_enc, threshold = _fold_gate(W_enc, tensors, file)
        notes.append("the gated encoder is read as the jumprelu that equals it")
    else:
        b_enc, threshold = get_tensor(tensors, "b_enc", 1, file), _threshold(settings, tensors, notes, file)
    _check_sizes(settings, W_enc, b_enc, W_dec, file)
    if threshold is not None:
        threshold = clamp_threshold(threshold, notes)
    W_dec = _fold_finetuning_scale(settings, tensors, W_dec, notes, file)
    if settings.rescale:
        W_enc, b_enc, W_dec = fold_decoder_norms(W_enc, b_enc, W_dec)
        notes.append("decoder norms are folded into the encoder (rescale_acts_by_decoder_norm)")
    if settings.centred:
        W_enc, b_enc = _fold_centring(W_enc, b_enc, b_dec if settings.subtracts_b_dec else torch.zeros_like(b_dec))
        notes.append("each token's mean over its dimensions is subtracted (center_writing_weights)")
    return Dictionary(
        W_enc=W_enc,
        b_enc=b_enc,
        W_dec=W_dec,
        b_dec=b_dec,
        activation="jumprelu" if threshold is not None else "topk" if settings.family == "topk" else "relu",
        threshold=threshold,
        k=settings.k,
        apply_b_dec_to_input=settings.subtracts_b_dec,
        input_norm=settings.norm,
        input_scale=settings.scale,
        hook_point=settings.hook_point,
        hook_point_out=settings.hook_point_out,
        trained_with_bos=settings.trained_with_bos,
        trained_context=settings.trained_context,
        W_skip=get_tensor(tensors, "W_skip", 2, file) if "skip" in settings.architecture else None,
        architecture=settings.architecture,
        path=str(location.folder),
        format="saelens",
        notes=tuple(notes),
    )


_DECIDING = {
    "threshold": ("jumprelu",),
    "log_threshold": (),
    "topk_threshold": ("batchtopk", "topk"),
    "b_gate": ("gated",),
    "r_mag": ("gated",),
    "b_mag": ("gated",),
}
"""Tensors that decide activations, with the families that have them."""


def _check_tensors(settings: Settings, tensors: Tensors, file: Path) -> None:
    """Raise `DictionaryError` if the weights decide activations in a way that is not the config's."""
    foreign = [name for name, families in _DECIDING.items() if name in tensors and settings.family not in families]
    if foreign:
        raise DictionaryError(
            f"{file} holds {', '.join(foreign)}, but {CONFIG} says architecture {settings.architecture!r}, which has none: the two do"
            " not belong together"
        )


def _threshold(settings: Settings, tensors: Tensors, notes: list[str], file: Path) -> Tensor | None:
    if settings.family == "jumprelu":
        return get_tensor(tensors, "threshold", 1, file)
    if settings.family == "batchtopk":
        notes.append("a checkpoint of batch-wise topk is read as jumprelu with its threshold so far")
        return (
            get_tensor(tensors, "topk_threshold", 0, file)
            .float()
            .expand(get_tensor(tensors, "W_enc", 2, file).shape[1])
        )
    return None


def _fold_gate(W_enc: Tensor, tensors: Tensors, file: Path) -> tuple[Tensor, Tensor, Tensor]:
    b_gate, r_mag, b_mag = (get_tensor(tensors, name, 1, file) for name in ("b_gate", "r_mag", "b_mag"))
    if not len(b_gate) == len(r_mag) == len(b_mag) == len(W_enc):
        raise DictionaryError(
            f"{file}: b_gate, r_mag and b_mag have {len(b_gate)}, {len(r_mag)}, {len(b_mag)} entries, not {len(W_enc)}"
        )
    return fold_gate(W_enc, b_gate, r_mag, b_mag)


def _fold_finetuning_scale(settings: Settings, tensors: Tensors, W_dec: Tensor, notes: list[str], file: Path) -> Tensor:
    """The decoder with the factor of older files folded in, by which these scale each feature before decoding."""
    name = next((name for name in ("finetuning_scaling_factor", "scaling_factor") if name in tensors), None)
    if name is None:
        return W_dec
    factor = get_tensor(tensors, name, 1, file).float()
    if bool((factor == 1).all()):
        return W_dec
    if len(factor) != len(W_dec):
        raise DictionaryError(f"{file}: {name} has {len(factor)} entries, not {len(W_dec)}")
    if name == "scaling_factor" and not settings.finetuned:
        raise DictionaryError(
            f"{file}: scaling_factor is not 1, but {CONFIG} does not say finetuning_scaling_factor = true: it is unclear whether the"
            " decoder uses it"
        )
    notes.append(f"{name} is folded into the decoder")
    return W_dec.float() * factor[:, None]


def _fold_centring(W_enc: Tensor, b_enc: Tensor, b_dec: Tensor) -> tuple[Tensor, Tensor]:
    """W_enc and b_enc that compute `(x - mean(x) - b_dec) @ W_enc + b_enc` from x - b_dec, without centring.

    Rows of zero mean ignore the mean of their input, also that of b_dec, which the bias has to restore.
    """
    W_enc = W_enc.float()
    return W_enc - W_enc.mean(dim=1, keepdim=True), b_enc.float() - b_dec.float().mean() * W_enc.sum(dim=1)


def _check_sizes(settings: Settings, W_enc: Tensor, b_enc: Tensor, W_dec: Tensor, file: Path) -> None:
    d_sae, d_in = W_enc.shape
    check_sizes(settings.sizes, {"d_sae": d_sae, "d_in": d_in, "d_out": W_dec.shape[1]}, file, CONFIG)
    for name, tensor in (("W_dec", W_dec), ("b_enc", b_enc)):
        if len(tensor) != d_sae:
            raise DictionaryError(
                f"{file}: {name} has shape {tuple(tensor.shape)}, but W_enc {tuple(W_enc.T.shape)} requires {d_sae} rows"
            )
